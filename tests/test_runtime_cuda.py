"""Bundles on a CUDA GPU give what they give on a CPU. Skipped where onnxruntime has no CUDA."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import voxzoo
from voxzoo import Tokens

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.skipif("CUDAExecutionProvider" not in onnxruntime.get_available_providers(), reason="no CUDA here")

import bundle_files  # noqa: E402

NEAR_TIES = 0.002  # share of codes that another order of sums may move


@pytest.mark.parametrize("streaming", [False, True])
def test_codes_and_sound_are_those_of_the_cpu(tmp_path: Path, streaming: bool) -> None:
    folder = bundle_files.make(tmp_path / "bundle", streaming=streaming)
    here, there = voxzoo.load(folder), voxzoo.load(folder, device="cuda")
    rng = np.random.default_rng(0)
    for samples in (1, 7, 399, 20_003):
        wav = (0.3 * rng.standard_normal(samples)).astype(np.float32)
        wanted, found = here.encode(wav, bundle_files.RATE), there.encode(wav, bundle_files.RATE)
        for a, b in zip(wanted.codes, found.codes, strict=True):
            assert (a != b).mean() <= NEAR_TIES
        assert np.abs(here.decode(wanted).samples - there.decode(wanted).samples).max() <= 1e-5


def test_a_stream_keeps_its_state_there(tmp_path: Path) -> None:
    model = voxzoo.load(bundle_files.make(tmp_path / "bundle", streaming=True), device="cuda")
    wav = (0.3 * np.random.default_rng(0).standard_normal(1203)).astype(np.float32)
    with model.stream_encoder() as encoder:
        parts = [encoder.push(wav[i : i + 100]) for i in range(0, len(wav), 100)]
        assert encoder.core.states.values["tail"].device_name() == "cuda"
        parts.append(encoder.finish())
    whole = model.encode(wav, bundle_files.RATE)
    for a, b in zip(Tokens.concatenate(parts).codes, whole.codes, strict=True):
        assert (a != b).mean() <= NEAR_TIES
