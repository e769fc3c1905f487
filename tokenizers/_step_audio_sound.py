"""What Step-Audio's script does to sound before it makes tokens: bring the peak to 0.999 and, where asked, trim silence.

Both need the whole clip, and trimming changes its length, so that neither is done unless asked for: give what `prepare` returns
to `encode`.
"""

from __future__ import annotations

import numpy as np

from ..core.audio import Audio
from ..core.resampling import SOXR
from ._funasr import RATE

__all__ = ["prepare"]

PEAK, QUIETEST = 0.999, 0.01  # what the peak is brought to; sound with a lower one is treated as if it had this
FRAME, HOP = 512, 128  # samples, of the loudness
SILENCE = 20.0  # dB below the loudest frame
BEFORE, AFTER = 800, 3520  # samples that are kept, or made of zeros, around what is not silent: 0.05 and 0.22 s
UNIT = 240  # samples; what is not silent is counted in these


def prepare(audio: Audio, trim: bool = False, resampler: str = SOXR) -> Audio:
    """Sound at 16 kHz as the published script gives it to its two encoders.

    Args:
        audio: of any rate. The script takes none below 16 kHz, and resamples by torchaudio's sinc.
        trim: leave out silence at both ends, as its `wav2token` does by default; its `__call__` does not.
        resampler: as for `voxzoo.load`.

    Raises `AudioError` as resampling does.
    """
    wav = audio.resample(RATE, resampler).samples
    peak = float(np.abs(wav).max()) if len(wav) else 0.0
    wav = (wav / max(peak, QUIETEST) * PEAK).astype(np.float32)
    return Audio(_trimmed(wav) if trim and len(wav) else wav, RATE)


def _trimmed(wav: np.ndarray) -> np.ndarray:
    start, stop = _sounding(wav)
    length = -(-(stop - start) // UNIT) * UNIT + BEFORE + AFTER
    wav = wav[start - BEFORE :] if start > BEFORE else np.pad(wav, (BEFORE - start, 0))
    return wav[:length] if len(wav) >= length else np.pad(wav, (0, length - len(wav)))


def _sounding(wav: np.ndarray) -> tuple[int, int]:
    """Samples from where to where it is not silent, as `librosa.effects.trim` finds them."""
    padded = np.pad(wav, FRAME // 2)
    power = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP].astype(np.float32)
    loudness = np.sqrt((power**2).mean(1))
    level = 20.0 * np.log10(np.maximum(loudness, 1e-5) / max(float(loudness.max()), 1e-5))
    loud = np.flatnonzero(level > -SILENCE)
    return int(loud[0]) * HOP, min(len(wav), (int(loud[-1]) + 1) * HOP)
