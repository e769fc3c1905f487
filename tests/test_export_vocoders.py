"""Vocoders as graphs: their plain forms in torch, and in the slow tests in onnxruntime."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from voxzoo.core.decoder import load_decoder, random_decoder
from voxzoo.core.decoders import decoder_entry
from voxzoo.core.errors import ExportError
from voxzoo.export.vocoders import export_vocoder, plain_vocoder


def tiny(name: str) -> Any:
    item = decoder_entry(name)
    return random_decoder(item, {**item.config, **item.tiny})


@pytest.mark.parametrize("name", ["vox-hifigan-16k", "hifigan-v1", "hifigan-v3"])
def test_forms_equal_the_network(name: str) -> None:
    vocoder = tiny(name)
    form = plain_vocoder(vocoder)
    for frames in (1, 2, 3, 50):
        mel = torch.randn(2, vocoder.front.bands, frames)
        with torch.no_grad():
            wanted, found = vocoder.network(mel), form(mel)
        assert found.shape == wanted.shape == (2, frames * vocoder.front.hop)
        assert (found - wanted).abs().max() <= 2e-5 * max(1.0, float(wanted.abs().max()))


def test_what_has_no_graph_says_why(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="vocos-mel-24k cannot be exported: only HiFi-GAN's generators"):
        export_vocoder(tiny("vocos-mel-24k"), tmp_path / "v")
    with pytest.raises(ExportError, match="vox-flow-16k cannot be exported by itself: it takes tokens, not log-mel frames"):
        export_vocoder(tiny("vox-flow-16k"), tmp_path / "v")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vox-hifigan-16k", "hifigan-v1"])
def test_real_sizes_in_onnxruntime(name: str, tmp_path: Path) -> None:
    item = decoder_entry(name)
    told = export_vocoder(load_decoder(name, weights=None if item.bundled else "random"), tmp_path / "v")
    assert told["largest_error"] <= 1e-4
    data = json.loads((tmp_path / "v" / "vocoder.json").read_text())
    assert data["mel"]["bands"] == 80
    assert data["files"]["vocoder.onnx"]["inputs"] == [{"name": "mel", "type": "float32", "shape": ["batch", 80, "frames"]}]
