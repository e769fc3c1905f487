"""What a bundle holds, and the length law as data: written and read again, and every damage told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from export_checks import tiny

from voxzoo.core.errors import ExportError, ModelError
from voxzoo.core.registry import entry
from voxzoo.export.bundle import MANIFEST, GraphFile, Manifest, is_bundle, sha256_of
from voxzoo.export.length_law import fit_law, fit_padding, frames, padded, ratios


def manifest(**changes: Any) -> Manifest:
    file = GraphFile("0" * 64, 3, "encoder", [{"name": "wav", "type": "float32", "shape": ["batch", "samples"]}])
    values: dict[str, Any] = {
        "model": "vox-rvq-16k", "facts": entry("vox-rvq-16k").facts, "fingerprint": "f" * 64, "config": {"hop": 320},
        "resampler": "soxr-hq", "precision": "fp32", "device": "cpu", "opset": 20, "tools": {"torch": "2"}, "batching": "pad",
        "pad_multiple": 320, "padding": {"multiple": 320, "span": 1, "more": 0}, "window": 20.0, "stream_ratios": [1] * 8,
        "length_law": {"kind": "ceil", "hops": [320] * 8}, "files": {"encoder.onnx": file},
    }  # fmt: skip
    return Manifest(**{**values, **changes})


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert not is_bundle(tmp_path)
    written = manifest(long={"encoder": {"kind": "cuts", "samples": 5}}, partial_streams=False)
    written.write(tmp_path)
    assert is_bundle(tmp_path)
    assert Manifest.read(tmp_path) == written
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]
    data = json.loads((tmp_path / MANIFEST).read_text())
    assert data["format"] == 1
    assert data["facts"]["frame_rates"] == ["50"] * 8
    assert written.file("encoder") == "encoder.onnx"
    assert written.file("decoder") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(format=2), "is of format 2; this version of voxzoo plays format 1"),
        (lambda data: data.pop("fingerprint"), "is damaged: .*fingerprint"),
        (lambda data: data["facts"].pop("sample_rate"), "not complete"),
        (lambda data: data.update(files=[1]), "is damaged"),
        (lambda data: data["files"].update({"../encoder.onnx": data["files"]["encoder.onnx"]}), "lie in its own folder"),
        (lambda data: data["files"].update({"/etc/passwd": data["files"]["encoder.onnx"]}), "lie in its own folder"),
        (lambda data: data["files"].update({"a\\b": data["files"]["encoder.onnx"]}), "lie in its own folder"),
        (lambda data: data["files"]["encoder.onnx"].pop("sha256"), "is damaged"),
    ],
)
def test_a_damaged_manifest_says_how(tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str) -> None:
    manifest().write(tmp_path)
    data = json.loads((tmp_path / MANIFEST).read_text())
    change(data)
    (tmp_path / MANIFEST).write_text(json.dumps(data))
    with pytest.raises(ModelError, match=message):
        Manifest.read(tmp_path)


def test_a_folder_without_one_and_one_that_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is not a bundle: it holds no voxzoo\.json"):
        Manifest.read(tmp_path)
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        Manifest.read(tmp_path)
    (tmp_path / MANIFEST).write_text("[]")
    with pytest.raises(ModelError, match="is of format None"):
        Manifest.read(tmp_path)


def test_files_are_held_to_their_hashes(tmp_path: Path) -> None:
    path = tmp_path / "encoder.onnx"
    path.write_bytes(b"abc")
    good = manifest(files={"encoder.onnx": GraphFile(sha256_of(path), 3, "encoder")})
    good.verify(tmp_path)
    path.write_bytes(b"abd")
    with pytest.raises(ModelError, match=r"is not the file that voxzoo.json names \(3 bytes, expected 3 with sha256"):
        good.verify(tmp_path)
    path.unlink()
    with pytest.raises(ModelError, match=r"has no 'encoder.onnx', which its voxzoo.json names"):
        good.verify(tmp_path)


@pytest.mark.parametrize(
    "name", ["vox-rvq-16k", "vox-snac-16k", "snac-44k", "bigcodec", "neucodec", "focalcodec-25hz", "hubert-gslm-50", "s3-v2"]
)
def test_laws_found_from_code_hold_where_they_were_not_tried(name: str) -> None:
    model = tiny(name)
    law, padding = fit_law(model.frames, model.facts.sample_rate), fit_padding(model._padded, model.facts.sample_rate)
    for samples in [*range(1, 700), 98765, 1234567]:
        assert frames(law, samples) == model.frames(samples), samples
        assert padded(padding, samples) == model._padded(samples), samples
    rates = model.facts.frame_rates
    assert ratios(law) == [rate / min(rates) for rate in rates]


def test_a_law_by_segments_is_that_of_encodec_at_48_khz() -> None:
    model: Any = tiny("encodec-48k")
    c = model.settings
    law = {"kind": "segments", "segment": c.segment, "step": c.step, "hop": c.hop, "streams": model.facts.streams}
    for samples in [*range(1, 200), c.segment, c.segment + 1, c.step, c.step + 1, 7 * c.segment + 3]:
        assert frames(law, samples) == model.frames(samples)
    with pytest.raises(ExportError, match=r"length law at \d+ samples is none that a bundle can state"):
        fit_law(model.frames, model.facts.sample_rate)


def test_a_law_that_is_not_known_says_so() -> None:
    with pytest.raises(ModelError, match="length law 'spiral' is not known to this version of voxzoo"):
        frames({"kind": "spiral"}, 5)


def test_padding_never_gives_less_than_the_least() -> None:
    assert [padded({"multiple": 1, "least": 400}, n) for n in (1, 400, 401)] == [400, 400, 401]
