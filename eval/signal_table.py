"""The table of the signal metrics: what a codec did to the sound, by comparison with the original.

All are of two signals at one rate, aligned in time (`alignment.py`) and equally long.
"""

from __future__ import annotations

from .metric import Family, Metric

__all__ = ["SIGNAL"]

F0 = (
    "F0 by librosa's pYIN at 16 kHz: 65 to 600 Hz in steps of 20 cents, 64 ms windows every 10 ms, thresholds of mean 0.15; "
    "over 30 s in pieces"
)
BOTH = "frames voiced in both sounds (none where fewer than 10 are)"
STFT = "Hann windows, hop a quarter, centred, zeros beyond the ends, windows in samples at the rate compared"

PESQ = Family(
    "pesq",
    "reconstruction",
    (
        Metric(
            "pesq_wb",
            "PESQ-WB",
            "MOS-LQO, 1 to 4.64",
            "higher",
            "Wide-band PESQ at 16 kHz, ITU-T P.862.2; sounds over 20 s in equal pieces, averaged; none under 0.25 s or without "
            "an utterance",
        ),
        Metric(
            "pesq_nb",
            "PESQ-NB",
            "MOS-LQO, 1 to 4.55",
            "higher",
            "Narrow-band PESQ at 8 kHz, MOS-LQO of ITU-T P.862.1; otherwise as PESQ-WB",
        ),
    ),
    "perceptual:open_pesq",
    ("pesq",),
)

STOI = Family(
    "stoi",
    "reconstruction",
    (
        Metric(
            "stoi",
            "STOI",
            "up to 1",
            "higher",
            "Short-time objective intelligibility (Taal 2011) at 10 kHz, 15 third-octave bands from 150 Hz, segments of 30 "
            "frames, pauses 40 dB below the loudest frame left out; none where fewer than 30 frames (0.4 s) are left",
            digits=3,
        ),
        Metric(
            "estoi",
            "ESTOI",
            "up to 1",
            "higher",
            "Extended STOI (Jensen and Taal 2016); otherwise as STOI",
            digits=3,
        ),
    ),
    "perceptual:open_stoi",
    ("pystoi",),
)

SI_SDR = Family(
    "si_sdr",
    "reconstruction",
    (
        Metric(
            "si_sdr",
            "SI-SDR",
            "dB",
            "higher",
            "Scale-invariant signal-to-distortion ratio of the signals less their means: 10 log10(|a s|^2 / |a s - y|^2), "
            "a = <y, s> / |s|^2; asks for the waveform, so decoders that generate are not to be ranked by it",
            digits=1,
        ),
    ),
    "distances:open_si_sdr",
)

MRSTFT = Family(
    "stft",
    "reconstruction",
    (
        Metric(
            "mrstft_distance",
            "MR-STFT",
            "",
            "lower",
            "Multi-resolution STFT distance: mean over windows of 512, 1024 and 2048 of | |S| - |Y| | / |S| (Frobenius) plus "
            f"the mean of |ln |S| - ln |Y||, magnitudes clamped at 1e-4; {STFT}",
        ),
    ),
    "distances:open_mrstft",
)

MEL = Family(
    "mel_distance",
    "reconstruction",
    (
        Metric(
            "mel_distance",
            "Mel",
            "log10 of magnitude",
            "lower",
            "Mean absolute difference of log10 mel magnitudes clamped at 1e-5: 80 bands of area 1 on Slaney's scale, 0 Hz to "
            f"half the rate, mean over windows of 512, 1024 and 2048; {STFT}",
        ),
    ),
    "distances:open_mel",
)

LSD = Family(
    "lsd",
    "reconstruction",
    (
        Metric(
            "lsd",
            "LSD",
            "dB",
            "lower",
            "Log-spectral distance: mean over time of the root of the mean over frequency of (10 log10 |S|^2 - 10 log10 "
            f"|Y|^2)^2, window 2048, powers clamped at 1e-8; {STFT}",
        ),
    ),
    "distances:open_lsd",
)

MCD = Family(
    "mcd",
    "reconstruction",
    (
        Metric(
            "mcd",
            "MCD",
            "dB",
            "lower",
            "Mel-cepstral distortion (10 / ln 10) sqrt(2 sum_{d=1..24} dc_d^2), c0 left out, no time warping; alpha 0.42 at 16 "
            "kHz (0.31 at 8, 0.455 at 22.05, 0.466 at 24, 0.504 at 32, 0.544 at 44.1, 0.554 at 48); CheapTrick envelopes every "
            "5 ms, each with its own F0 (by DIO and StoneMask), flat in digital silence; frames within 40 dB of the original's "
            "loudest",
        ),
    ),
    "cepstrum:open_mcd",
    ("pyworld",),
)

VISQOL = Family(
    "visqol",
    "reconstruction",
    (
        Metric(
            "visqol",
            "ViSQOL",
            "MOS-LQO, 1 to 4.8",
            "higher",
            "ViSQOL v3, speech mode at 16 kHz, lattice mapper (the polynomial one gives up to 2 points more); equal sounds "
            "give 4.1 to 4.8, not one figure",
        ),
    ),
    "perceptual:open_visqol",
    ("visqol-python", "ai-edge-litert"),
)

PITCH = Family(
    "f0",
    "reconstruction",
    (
        Metric("f0_rmse_hz", "F0 RMSE", "Hz", "lower", f"Root mean square error of F0 over {BOTH}; {F0}", digits=1),
        Metric(
            "f0_rmse_cents",
            "F0 RMSE",
            "cents",
            "lower",
            f"Root mean square error of 1200 log2 F0 over {BOTH}; {F0}",
            digits=0,
        ),
        Metric(
            "f0_correlation",
            "F0 corr",
            "-1 to 1",
            "higher",
            f"Pearson's correlation of F0 in Hz over {BOTH}; {F0}",
            digits=3,
        ),
        Metric(
            "voicing_error",
            "V/UV error",
            "share",
            "lower",
            f"Share of all frames voiced in one sound and not in the other; {F0}",
            digits=3,
        ),
        Metric(
            "gross_pitch_error",
            "GPE",
            "share",
            "lower",
            f"Share whose F0 is more than 20 % off the original's, of {BOTH}; {F0}",
            digits=3,
        ),
    ),
    "pitch:open_f0",
    ("librosa",),
)

SIGNAL: tuple[Family, ...] = (PESQ, STOI, SI_SDR, MRSTFT, MEL, LSD, MCD, VISQOL, PITCH)
