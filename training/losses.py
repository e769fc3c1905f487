"""Losses of codecs and vocoders: log-mel and compressed spectra at a few resolutions, and Bark-band loudness.

Each resolution's STFT is taken once and shared by all terms. `LoudnessLoss` follows the perceptual model of ITU-T P.862
(Bark bands, Zwicker loudness with the threshold in quiet, added sound counted more than missing sound) in a form that
has a gradient; a codec trained with it is tuned to measures of that kind, which its model card says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SPEECH_DB = 79.0  # sound pressure level the active speech is brought to before loudness is taken, as in P.862
LOUDNESS_FFT = 512  # samples: 32 ms, as in P.862
Sizes = Sequence[tuple[int, int, int]]  # of each resolution: window and hop in samples, mel bands
SIZES: Sizes = ((1024, 256, 80), (512, 256, 64), (256, 128, 32))
SMALL = 1e-9  # added to powers before a root: -90 dBFS


def mel_filters(n_fft: int, mels: int, sample_rate: int) -> Tensor:
    """Triangles (F, mels), evenly spaced on the mel scale (O'Shaughnessy), each of unit sum."""
    edges = torch.linspace(0, 2595 * math.log10(1 + sample_rate / 1400), mels + 2, dtype=torch.float64)
    hz = 700 * (10 ** (edges / 2595) - 1)
    bins = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    rise = (bins - hz[:-2]) / (hz[1:-1] - hz[:-2])
    fall = (hz[2:] - bins) / (hz[2:] - hz[1:-1])
    filters = torch.minimum(rise, fall).clamp(min=0)
    return (filters / filters.sum(0).clamp(min=1e-3)).float()


def spectrum(wav: Tensor, window: Tensor, hop: int) -> Tensor:
    """wav (B, T) -> complex (B, M, F), scaled so that a sine's magnitude does not depend on the window's length."""
    frames = wav.unfold(-1, len(window), hop) * window
    return torch.fft.rfft(frames) / window.sum()


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; `loudness` is in units of the P.862 score (0 to 4.5)."""

    mel: float = 1.0
    magnitude: float = 5.0
    complex: float = 1.0
    loudness: float = 1.0
    commitment: float = 0.1  # more of it and the latent keeps to too few directions


class Resolution(nn.Module):
    """One STFT resolution: log-mel L1, and L1 of the spectrum with its magnitude raised to 0.3, with and without phase."""

    window: Tensor
    filters: Tensor

    def __init__(self, n_fft: int, hop: int, mels: int, sample_rate: int) -> None:
        super().__init__()
        self.hop = hop
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.register_buffer("filters", mel_filters(n_fft, mels, sample_rate), persistent=False)

    def mel(self, power: Tensor) -> Tensor:
        """Natural log of the mel magnitudes, floored at -90 dBFS."""
        return 0.5 * torch.log(power @ self.filters + 1e-9)

    def forward(self, got: Tensor, want: Tensor, phase: bool = True) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Sounds (B, T) -> the terms, that with phase if wanted, and both power spectra (B, M, F)."""
        bent, powers, mels = [], [], []
        for wav in (got, want):
            spec = spectrum(wav, self.window, self.hop)
            power = spec.real.square() + spec.imag.square()
            if phase:
                bent.append(torch.view_as_real(spec) * ((power + SMALL) ** -0.35)[..., None])
            powers.append(power)
            mels.append(self.mel(power))
        terms = {
            "mel": F.l1_loss(mels[0], mels[1]),
            "magnitude": F.l1_loss((powers[0] + SMALL) ** 0.15, (powers[1] + SMALL) ** 0.15),
        }
        if phase:
            terms["complex"] = F.l1_loss(bent[0], bent[1])
        return terms, powers[0], powers[1]


class LoudnessLoss(nn.Module):
    """Disturbance between two power spectra in units of the P.862 score (0 = none).

    Unlike P.862 it does not forgive slow changes of gain or colour, and takes power means over the whole segment.
    """

    bands: Tensor
    threshold: Tensor

    def __init__(self, n_fft: int, sample_rate: int, bands: int = 49) -> None:
        super().__init__()
        hz = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)
        bark = 6 * torch.asinh(hz / 600)  # Wang et al. 1992
        band = (bark / bark[-1] * bands).long().clamp(max=bands - 1)
        band[hz < 80] = -1
        used = sorted(set(band.tolist()) - {-1})
        members = torch.stack([(band == b) for b in used], dim=1).double()
        khz = ((members * hz[:, None]).sum(0) / members.sum(0) / 1000).clamp(min=0.05)
        quiet = 3.64 * khz**-0.8 - 6.5 * torch.exp(-0.6 * (khz - 3.3) ** 2) + 1e-3 * khz**4  # Terhardt 1979, dB
        self.register_buffer("bands", members.float(), persistent=False)
        self.register_buffer("threshold", (10 ** (quiet / 10)).float(), persistent=False)
        self.width = float(bark[-1])

    def loudness(self, power: Tensor) -> Tensor:
        """Band power (B, M, K) -> loudness in sone per Bark (Zwicker and Feldtkeller 1967)."""
        scale = 0.187 * (self.threshold / 0.5) ** 0.23
        return scale * ((0.5 + 0.5 * power / self.threshold) ** 0.23 - 1)

    def forward(self, got: Tensor, want: Tensor, level: Tensor) -> Tensor:
        """Power spectra (B, M, F) of sines' scale, level (B,) the RMS of active speech."""
        # on this scale a frame of RMS 1 has 0.75 as its power summed over the bins (Hann window, one-sided)
        gain = (10 ** (SPEECH_DB / 10) / (0.75 * level**2))[:, None, None]
        got, want = gain * (got @ self.bands), gain * (want @ self.bands)
        loud_got, loud_want = self.loudness(got), self.loudness(want)
        difference = loud_got - loud_want
        masked = F.relu(difference.abs() - 0.25 * torch.minimum(loud_got, loud_want).detach())
        ratio = ((got + 50) / (want + 50)) ** 1.2
        ratio = ratio.clamp(max=12.0)
        weight = ratio * ratio / (ratio + 3)  # P.862 drops ratios below 3; a smooth form keeps the gradient
        even = self.width * (masked.square().mean(-1) + 1e-6).sqrt()
        added = self.width * (masked * weight).mean(-1)
        return (0.1 * power_mean(even, 3) + 0.0309 * power_mean(added, 3)).mean()


def power_mean(x: Tensor, p: float) -> Tensor:
    """(B, M) -> (B,): bad moments count more than their share, as listeners hear them."""
    return ((x + 1e-4) ** p).mean(-1) ** (1 / p)


class CodecLoss(nn.Module):
    """The reconstruction terms that have a weight, on (B, T) sounds; gives their weighted sum and each term's value."""

    def __init__(self, weights: LossWeights, sample_rate: int = 16000, sizes: Sizes = SIZES) -> None:
        super().__init__()
        self.weights = weights
        self.resolutions = nn.ModuleList(Resolution(n, hop, mels, sample_rate) for n, hop, mels in sizes)
        self.loudness = LoudnessLoss(LOUDNESS_FFT, sample_rate)

    def forward(self, got: Tensor, want: Tensor, level: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """got, want (B, T), level (B,) the active speech's RMS -> the weighted sum, and each term."""
        w = self.weights
        parts = {"mel": w.mel, "magnitude": w.magnitude, "complex": w.complex, "loudness": w.loudness}
        parts = {name: weight for name, weight in parts.items() if weight}
        terms = {name: got.new_zeros(()) for name in parts}
        for resolution in self.resolutions:
            found, power_got, power_want = resolution(got, want, w.complex > 0)
            for name, value in found.items():
                if name in parts:
                    terms[name] = terms[name] + value
            if w.loudness and power_got.shape[-1] == LOUDNESS_FFT // 2 + 1:
                terms["loudness"] = self.loudness(power_got, power_want, level)
        total = torch.stack([weight * terms[name] for name, weight in parts.items()]).sum()
        return total, terms
