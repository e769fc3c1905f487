"""DNSMOS, the quality a crowd would hear, predicted by the networks that lie in the `speechmos` wheel.

    P.835  C. K. A. Reddy et al., "DNSMOS P.835", ICASSP 2022: signal, background and overall quality.
    P.808  C. K. A. Reddy et al., "DNSMOS", ICASSP 2021: overall quality.

The values are those of `speechmos.dnsmos.run`, windows and all; its own loop computes both networks at a time and imports
librosa, this one computes what is asked for, and a window that tiling repeats only once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.slaney_mel import mel_spectrogram
from .listening import check_audible, decoded_at
from .metric import Measure, MetricError, Pair
from .onnx_session import installed_file, session

__all__ = ["RATE", "dnsmos_p808", "dnsmos_p835", "open_p808", "open_p835"]

RATE = 16000
SECONDS = 9.01
P835, P808 = "sig_bak_ovr.onnx", "model_v8.onnx"
# Raw outputs to MOS, highest power first; the networks were fitted with them.
PLAIN = {
    "sig": (-0.08397278, 1.22083953, 0.0052439),
    "bak": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl": (-0.06766283, 1.11546468, 0.04602535),
}
PERSONALISED = {
    "sig": (-0.01019296, 0.02751166, 1.19576786, -0.24348726),
    "bak": (-0.04976499, 0.44276479, -0.1644611, 0.96883132),
    "ovrl": (-0.00533021, 0.005101, 1.18058466, -0.11236046),
}


def dnsmos_p835(samples: np.ndarray, personalised: bool = False) -> dict[str, float]:
    """DNSMOS P.835: `{"sig", "bak", "ovrl"}`, each about 1 to 5.

    A clip under 9.01 s is doubled until it is longer; windows of 9.01 s start every second, each gives three raw scores, a
    polynomial maps them to MOS, and the mean over windows is the value.

    Args:
        samples: float (T,) at 16 kHz in [-1, 1].
        personalised: the network and polynomials for personalised enhancement, to which other talkers are noise.

    Raises:
        MetricError: sound that is not finite, silent, under 0.25 s or outside [-1, 1].
        MissingExtraError: speechmos or onnxruntime is not installed.
    """
    graph = _graph("pdnsmos_models" if personalised else "dnsmos_models", P835)
    raw = _over_windows(samples, lambda window: graph.run(None, {"input_1": window[None]})[0][0])
    curves = PERSONALISED if personalised else PLAIN
    return {name: float(np.polyval(curve, raw[:, i]).mean()) for i, (name, curve) in enumerate(curves.items())}


def dnsmos_p808(samples: np.ndarray) -> float:
    """DNSMOS P.808, about 1 to 5: the mean over the windows of `dnsmos_p835`, each as a mel spectrogram in dB of its peak.

    Args, Raises: as `dnsmos_p835`.
    """
    graph = _graph("dnsmos_models", P808)
    raw = _over_windows(samples, lambda window: graph.run(None, {"input_1": _mel(window)[None]})[0][0])
    return float(raw.mean())


def open_p835(checkpoint: str | None) -> Measure:
    """The P.835 family of the benchmark."""
    _graph("dnsmos_models", P835)

    def measure(pair: Pair) -> dict[str, float]:
        return {f"dnsmos_{name}": value for name, value in dnsmos_p835(decoded_at(pair, RATE)).items()}

    return measure


def open_p808(checkpoint: str | None) -> Measure:
    """The P.808 family of the benchmark."""
    _graph("dnsmos_models", P808)
    return lambda pair: {"dnsmos_p808": dnsmos_p808(decoded_at(pair, RATE))}


def _graph(folder: str, file: str) -> Any:
    return session(str(installed_file("speechmos", folder, file)))


def _over_windows(samples: np.ndarray, network: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What `network` gives for each window: (windows, outputs); where tiling repeats a window it is computed once."""
    check_audible(samples, RATE)
    if np.abs(samples).max() > 1.0:
        raise MetricError("the sound is outside [-1, 1]")
    period, length = len(samples), int(SECONDS * RATE)
    tiled = np.asarray(samples, np.float32)
    while len(tiled) < length:
        tiled = np.concatenate([tiled, tiled])
    count = int(len(tiled) // RATE - SECONDS) + 1
    # The end is rounded as the reference rounds it, and a window that comes out a sample short is dropped as there.
    starts = [i * RATE for i in range(count) if int((i + SECONDS) * RATE) - i * RATE == length]
    known: dict[int, np.ndarray] = {}
    for start in starts:
        if start % period not in known:
            known[start % period] = network(tiled[start : start + length])
    return np.stack([known[start % period] for start in starts]).astype(np.float64)


def _mel(window: np.ndarray) -> np.ndarray:
    """float32 (900, 120): 0 to 8 kHz in 120 bands, dB under the window's peak, from -80..0 to -1..1."""
    power = mel_spectrogram(window[:-160], RATE, n_fft=321, hop=160, mels=120)
    level = 10.0 * np.log10(np.maximum(1e-10, power)) - 10.0 * np.log10(max(1e-10, float(power.max())))
    return ((np.maximum(level, level.max() - 80.0) + 40.0) / 40.0).T.astype(np.float32)
