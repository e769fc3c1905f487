"""Speaker embeddings: GE2E, whose weights lie in the `resemblyzer` wheel, and encoders in ONNX files.

GE2E: L. Wan et al., "Generalized end-to-end loss for speaker verification", ICASSP 2018, as trained by Resemblyzer. Its
weights are read from the wheel without importing the package, whose imports fail next to a recent setuptools; the network,
the mel bands, the levelling and the cutting of silence are the package's own, step for step.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import numpy as np

from ..core.errors import MissingExtraError
from ..core.slaney_mel import mel_spectrogram
from .listening import check_audible
from .metric import MetricError
from .onnx_session import installed_file, run_waveform, session

__all__ = ["RATE", "embed_ge2e", "embed_onnx", "embed_utterance", "open_vad", "preprocess"]

RATE = 16000
MELS, HOP, PART = 40, 160, 160  # bands; samples of a frame; frames of a partial utterance, 1.6 s
PARTS_PER_SECOND, LEAST_COVERED = 1.3, 0.75
LEVEL = -30.0  # dBFS RMS that quieter clips are raised to
VAD_WINDOW, VAD_MODE, SMOOTHED, SPARED = 480, 3, 8, 7  # samples; aggressiveness; windows averaged; windows around speech kept


def embed_ge2e(samples: np.ndarray) -> np.ndarray:
    """The speaker of a clip: float32 (256,) of length 1, no element negative.

    `preprocess`, then `embed_utterance`: what Resemblyzer's `preprocess_wav` and `embed_utterance` give.

    Args:
        samples: float (T,) at 16 kHz in [-1, 1].

    Raises:
        MetricError: sound that is not finite, silent, under 0.25 s, or without speech.
        MissingExtraError: resemblyzer or webrtcvad is not installed.
    """
    check_audible(samples, RATE)
    speech = preprocess(samples)
    if not len(speech):
        raise MetricError("no speech is found in the sound")
    return embed_utterance(speech)


def preprocess(samples: np.ndarray) -> np.ndarray:
    """float32 (T',): raised to -30 dBFS RMS if it is quieter, long silences cut out by WebRTC's voice detector (mode 3)."""
    samples = np.asarray(samples, np.float32)
    level = 20.0 * np.log10(np.sqrt(np.mean((samples * 32767) ** 2)) / 32767)
    if level < LEVEL:
        samples = samples * np.float32(10 ** ((LEVEL - level) / 20))
    samples = samples[: len(samples) // VAD_WINDOW * VAD_WINDOW]
    if not len(samples):
        return samples
    return samples[np.repeat(_speech_windows(samples), VAD_WINDOW)]


def embed_utterance(speech: np.ndarray) -> np.ndarray:
    """float32 (256,): the mean embedding of partial utterances of 1.6 s, 1.3 per second, scaled to length 1.

    The last part is padded with zeros, and left out where speech covers less than three quarters of it.
    """
    import torch

    starts = _part_starts(len(speech))
    padded = np.pad(speech, (0, max(0, (starts[-1] + PART) * HOP - len(speech))))
    mel = mel_spectrogram(padded, RATE, n_fft=400, hop=HOP, mels=MELS).T
    parts = np.stack([mel[start : start + PART] for start in starts])
    lstm, linear = _ge2e()
    with torch.inference_mode():
        _, (hidden, _) = lstm(torch.from_numpy(parts))
        raw = linear(hidden[-1]).relu()
        mean = (raw / raw.norm(dim=1, keepdim=True)).numpy().mean(axis=0)
    return _unit(mean)


def embed_onnx(path: str, samples: np.ndarray) -> np.ndarray:
    """float32 (D,) of length 1, by an ONNX model that takes a waveform float32 (1, T) at 16 kHz and gives (1, D), nothing else.

    Raises `MetricError` for sound as in `embed_ge2e` (speech is not looked for), or a file that is no such model.
    """
    check_audible(samples, RATE)
    outputs = [output.name for output in session(path).get_outputs()]
    if len(outputs) != 1:
        raise MetricError(f"{path!r} gives {', '.join(outputs)}; expected one output, an embedding (1, D)")
    return _unit(run_waveform(path, samples))


def _unit(vector: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vector)
    if not np.isfinite(length) or length == 0:
        raise MetricError("the speaker encoder gives no direction")
    return (vector / length).astype(np.float32)


def _part_starts(samples: int) -> list[int]:
    """First frames of the partial utterances."""
    frames = -(-(samples + 1) // HOP)
    step = round(RATE / PARTS_PER_SECOND / HOP)
    starts = list(range(0, max(1, frames - PART + step + 1), step))
    if len(starts) > 1 and (samples - starts[-1] * HOP) / (PART * HOP) < LEAST_COVERED:
        starts.pop()
    return starts


def _speech_windows(samples: np.ndarray) -> np.ndarray:
    """bool per window of 30 ms: near speech, after averaging over 8 windows."""
    vad = open_vad()
    detector = vad.create()
    vad.init(detector)
    vad.set_mode(detector, VAD_MODE)
    pcm = np.round(samples * 32767).astype("<i2").tobytes()
    size = 2 * VAD_WINDOW
    flags = [bool(vad.process(detector, RATE, pcm[i : i + size], VAD_WINDOW)) for i in range(0, len(pcm), size)]
    padded = np.pad(np.array(flags, float), ((SMOOTHED - 1) // 2, SMOOTHED // 2))
    near = np.round(np.convolve(padded, np.ones(SMOOTHED), "valid") / SMOOTHED)  # half a window of speech is not
    return np.convolve(np.pad(near, SPARED // 2), np.ones(SPARED), "valid") > 0


@cache
def _ge2e() -> tuple[Any, Any]:
    """(LSTM, linear layer) with the weights of the wheel."""
    import torch
    from torch import nn

    path = installed_file("resemblyzer", "pretrained.pt")
    state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
    lstm, linear = nn.LSTM(MELS, 256, 3, batch_first=True), nn.Linear(256, 256)
    for name, layer in (("lstm", lstm), ("linear", linear)):
        layer.load_state_dict({k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")})
    return lstm.eval(), linear.eval()


@cache
def open_vad() -> Any:
    """The C module under `webrtcvad`, which itself needs a `pkg_resources` that setuptools no longer has.

    Raises `MissingExtraError`.
    """
    try:
        return importlib.import_module("_webrtcvad")
    except ImportError:
        raise MissingExtraError("webrtcvad", "eval") from None
