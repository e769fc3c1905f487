"""Log-mel spectrograms as vocoders want them: every constant in one record, since a vocoder hears any other one as noise.

Front ends differ in the rate, the window, the bands' edges, scale and area, magnitude or power, the padding of the ends, the
logarithm and its floor. `LogMel` names them all and computes with them in torch, with a gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from . import slaney_mel
from .errors import ModelError

__all__ = ["LogMel", "Mel"]


@dataclass(frozen=True)
class LogMel:
    """Every constant of a log-mel spectrogram, JSON-able; called with wav (B, T), it gives the spectrogram (B, M, F).

    Attributes:
        sample_rate: Hz.
        n_fft, hop, win: samples; a periodic Hann window of `win` is centred in `n_fft`.
        bands: M, mel bands from `fmin` to `fmax` Hz.
        scale: "slaney" (librosa's default) or "htk".
        unit_area: each band has area 1 over Hz (Slaney's norm), else peak 1.
        power: of the magnitudes that are summed: 1 or 2.
        inner: added to the power before its root (HiFi-GAN's 1e-9).
        floor: least value before the logarithm.
        base10: log10 rather than the natural logarithm.
        centred: frame n is centred on sample n hop, 1 + T // hop frames; else in the middle of the samples from n hop to
            (n + 1) hop, T // hop frames. Either way the ends are reflected.
    """

    sample_rate: int
    n_fft: int
    hop: int
    win: int
    bands: int = 80
    fmin: float = 0.0
    fmax: float = 8000.0
    scale: str = "slaney"
    unit_area: bool = True
    power: int = 1
    inner: float = 1e-9
    floor: float = 1e-5
    base10: bool = False
    centred: bool = False

    def to_dict(self) -> dict[str, Any]:
        """For a configuration."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises `ModelError` for keys it does not know, and for constants that make no sense."""
        unknown = set(data) - {field.name for field in fields(cls)}
        if unknown:
            raise ModelError(f"a mel front end has no {', '.join(sorted(unknown))}")
        try:
            mel = cls(**data)
            fine = 0 < mel.hop <= mel.win <= mel.n_fft and mel.bands > 0 and 0 <= mel.fmin < mel.fmax <= mel.sample_rate / 2
        except TypeError as error:
            raise ModelError(f"a mel front end's constants are not complete: {error}") from None
        if not fine or mel.scale not in ("slaney", "htk") or (not mel.centred and (mel.n_fft - mel.hop) % 2):
            raise ModelError(f"these constants make no mel front end: {mel}")
        return mel

    @property
    def silence(self) -> float:
        """The value of every band in digital silence."""
        least = np.sqrt(self.inner) * self.filters().sum(1).max() if self.power == 1 else 0.0
        return float((np.log10 if self.base10 else np.log)(max(self.floor, least)))

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop

    def frames(self, samples: int) -> int:
        """Length law."""
        return samples // self.hop + int(self.centred)

    def differences(self, other: LogMel) -> str:
        """Where another front end's constants are other ones: "hop 256, not 160"."""
        pairs = [(f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        return ", ".join(f"{name} {mine}, not {theirs}" for name, mine, theirs in pairs if mine != theirs)

    def filters(self) -> np.ndarray:
        """float32 (M, 1 + n_fft // 2)."""
        return _filters(self.sample_rate, self.n_fft, self.bands, self.fmin, self.fmax, self.scale, self.unit_area)

    def __call__(self, wav: Tensor) -> Tensor:
        """wav float32 (B, T) -> (B, M, F), F = `frames(T)`. A clip too short to be reflected is completed with zeros.

        Raises `ModelError` where T is too short for one frame.
        """
        count = self.frames(wav.shape[1])
        if count < 1:
            raise ModelError(f"{wav.shape[1]} samples make no mel frame; expected at least {self.hop}")
        edge = self.n_fft // 2 if self.centred else (self.n_fft - self.hop) // 2
        wav = F.pad(wav, (0, max(0, edge + 1 - wav.shape[1])))
        padded = F.pad(wav[:, None], (edge, edge), mode="reflect")[:, 0]
        window, filters = _constants(self, wav.device)
        spectrum = torch.stft(padded, self.n_fft, self.hop, self.win, window, center=False, return_complex=True)[..., :count]
        power = spectrum.real.square() + spectrum.imag.square()
        magnitude = (power + self.inner).sqrt() if self.power == 1 else power
        bands = (filters @ magnitude).clamp(min=self.floor)
        return bands.log10() if self.base10 else bands.log()


@cache
def _constants(mel: LogMel, device: torch.device) -> tuple[Tensor, Tensor]:
    """Window and filters."""
    return torch.hann_window(mel.win, device=device), torch.from_numpy(mel.filters()).to(device)


@cache
def _filters(rate: int, n_fft: int, bands: int, fmin: float, fmax: float, scale: str, unit_area: bool) -> np.ndarray:
    to_mel, to_hz = (slaney_mel.to_mel, slaney_mel.to_hz) if scale == "slaney" else (_htk_mel, _htk_hz)
    edges = to_hz(np.linspace(to_mel(fmin), to_mel(fmax), bands + 2))
    bins = np.fft.rfftfreq(n_fft, 1.0 / rate)
    widths, ramps = np.diff(edges), edges[:, None] - bins
    filters = np.maximum(0.0, np.minimum(-ramps[:-2] / widths[:-1, None], ramps[2:] / widths[1:, None]))
    if unit_area:
        filters *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return filters.astype(np.float32)


def _htk_mel(hz: float) -> float:
    return 2595.0 * float(np.log10(1.0 + hz / 700.0))


def _htk_hz(mel: np.ndarray) -> np.ndarray:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


@dataclass(frozen=True)
class Mel:
    """Log-mel frames and what they were made with.

    Attributes:
        frames: float32 (B, M, F).
        front: the constants.
    """

    frames: Tensor
    front: LogMel
