"""Resamplers: against a plain reading of their definition, and the same however the sound is cut."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import voxzoo
from voxzoo import Audio
from voxzoo.core.resampling import RESAMPLERS, SINC, SOXR, resample_blocks

RATES = [(44100, 16000), (48000, 24000), (16000, 24000), (22050, 16000), (8000, 48000)]


def noise(samples: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)


def joined(wav: np.ndarray, block: int, rates: tuple[int, int], resampler: str) -> np.ndarray:
    return np.concatenate(list(resample_blocks((wav[i : i + block] for i in range(0, len(wav), block)), *rates, resampler)))


def sinc_sum(wav: np.ndarray, from_rate: int, to_rate: int, n: int) -> float:
    """Output sample n from its definition: a sum of sincs under Hann windows, one term per input sample."""
    band = 0.99 * min(from_rate, to_rate)
    total = 0.0
    for i, value in enumerate(wav.tolist()):
        x = (i / from_rate - n / to_rate) * band
        if abs(x) < 6:
            total += value * float(np.sinc(x)) * math.cos(x * math.pi / 12) ** 2 * band / from_rate
    return total


@pytest.mark.parametrize("rates", RATES)
def test_sinc_is_its_definition(rates: tuple[int, int]) -> None:
    wav = noise(700)
    out = joined(wav, len(wav), rates, SINC)
    assert len(out) == math.ceil(700 * rates[1] / rates[0])
    for n in (0, 1, 2, len(out) // 2, len(out) - 1):
        assert abs(out[n] - sinc_sum(wav, *rates, n)) < 1e-6


@pytest.mark.parametrize("resampler", RESAMPLERS)
@pytest.mark.parametrize("rates", RATES)
def test_cut_anywhere(rates: tuple[int, int], resampler: str) -> None:
    wav = noise(5003)
    whole = joined(wav, len(wav), rates, resampler)
    for block in (1, 17, 1000):
        assert np.array_equal(joined(wav, block, rates, resampler), whole)


@pytest.mark.parametrize("resampler", RESAMPLERS)
def test_a_sample_stays_a_sample(resampler: str) -> None:
    assert len(joined(noise(1), 1, (192000, 8000), resampler)) == 1
    assert len(np.concatenate(list(resample_blocks([], 44100, 16000, resampler)))) == 0


def test_tokens_record_it(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    Audio(noise(44100), 44100).write(path, "FLOAT")
    for name in RESAMPLERS:
        model = voxzoo.load("vox-rvq-16k", weights="random", resampler=name)
        tokens = model.encode(path)
        assert tokens.resampler == name
        assert tokens.lengths.tolist() == [len(Audio.read(path, 16000, name))]
        same = model.encode(Audio.read(path, 16000, name))
        assert all(bool((a == b).all()) for a, b in zip(tokens.codes, same.codes, strict=True))
    assert not np.array_equal(Audio.read(path, 16000, SINC).samples, Audio.read(path, 16000, SOXR).samples)
    with pytest.raises(voxzoo.ModelError, match="soxr-hq, torchaudio-sinc"):
        voxzoo.load("vox-rvq-16k", weights="random", resampler="linear")


def test_entries_name_the_reference() -> None:
    assert voxzoo.entry("encodec-24k").reference_resampler == SINC
    assert voxzoo.entry("vox-rvq-16k").reference_resampler == SOXR
