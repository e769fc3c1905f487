"""Bundles played without torch: equal to plain arithmetic whole, in batches, in windows, in streams; refused when changed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import voxzoo
from voxzoo import Audio, ModelError, Tokens, TokensError, WrongModelError
from voxzoo.core.weights import bundled_folder

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

import bundle_files  # noqa: E402

from voxzoo.cli.main import main  # noqa: E402
from voxzoo.export import runtime_session  # noqa: E402
from voxzoo.export.bundle import Manifest, sha256_of  # noqa: E402
from voxzoo.export.runtime_external import external_files  # noqa: E402

RATE, HOP = bundle_files.RATE, bundle_files.HOP
LENGTHS = (1, 3, 4, 5, 7, 399, 400, 401, 2003)  # the window is 400 samples


def sound(samples: int, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    return Audio((0.3 * rng.standard_normal(samples)).astype(np.float32), RATE)


def wanted(audio: Audio) -> tuple[list[np.ndarray], np.ndarray]:
    """Codes and decoded samples, by plain arithmetic."""
    codes = bundle_files.codes_of(np.pad(audio.samples, (0, -len(audio) % HOP)))
    level = np.pad(bundle_files.level_of(codes), 1)
    smooth = 0.25 * level[:-2] + 0.5 * level[1:-1] + 0.25 * level[2:]
    return codes, np.repeat(smooth, HOP)[: len(audio)]


def same(tokens: Tokens, codes: list[np.ndarray]) -> bool:
    return all(np.array_equal(found[0], stream) for found, stream in zip(tokens.codes, codes, strict=True))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same codec as a bundle of each kind."""
    root = tmp_path_factory.mktemp("bundles")
    blocks = {"encoder": {**bundle_files.BLOCKS, "fixed": True}, "decoder": {**bundle_files.BLOCKS, "fixed": True}}
    return {
        "windows": bundle_files.make(root / "windows"),
        "fixed": bundle_files.make(root / "fixed", long=blocks),
        "whole": bundle_files.make(root / "whole", long={}),
        "streams": bundle_files.make(root / "streams", streaming=True),
        "pad": bundle_files.make(root / "pad", batching="pad"),
    }


@pytest.mark.parametrize("kind", ["windows", "fixed", "whole", "streams"])
def test_every_length_is_what_arithmetic_gives(folders: dict[str, Path], kind: str) -> None:
    model = voxzoo.load(folders[kind])
    for n in LENGTHS:
        audio = sound(n)
        codes, samples = wanted(audio)
        tokens = model.encode(audio)
        assert isinstance(tokens.codes[0], np.ndarray)
        assert same(tokens, codes), n
        assert tokens.lengths.tolist() == [n]
        decoded = model.decode(tokens)
        assert len(decoded) == n
        assert np.abs(decoded.samples - samples).max() <= 1e-6, n
        part = model.encode(audio, streams=1)
        assert same(part, codes[:1])
        coarse = np.repeat(bundle_files.level_of(codes[:1]), HOP)[:n]
        assert np.abs(model.decode(part).samples - coarse).max() <= 1.0  # smoothed, but of the same stream


@pytest.mark.parametrize("kind", ["windows", "fixed", "whole", "streams"])
@pytest.mark.parametrize("step", [1, 5, 173, 5000])
def test_streams_equal_the_whole_clip(folders: dict[str, Path], kind: str, step: int) -> None:
    model, audio = voxzoo.load(folders[kind]), sound(1203)
    codes, samples = wanted(audio)
    with model.stream_encoder() as encoder:
        parts = [encoder.push(audio.samples[i : i + step]) for i in range(0, len(audio), step)] + [encoder.finish()]
    assert same(Tokens.concatenate(parts), codes)
    assert sum(int(part.lengths[0]) for part in parts) == len(audio)
    with model.stream_decoder() as decoder:
        heard = [decoder.push(part).samples for part in parts] + [decoder.finish().samples]
    joined = np.concatenate(heard)
    assert joined.shape == samples.shape
    assert np.abs(joined - samples).max() <= 1e-6
    if kind != "whole" and step < 1203:
        assert sum(map(len, heard[:-1])) > 0  # sound came before the end


def test_streams_wait_for_a_first_step_and_end_in_it(tmp_path: Path) -> None:
    folder = bundle_files.make(tmp_path / "bundle", streaming=True)
    manifest = Manifest.read(folder)
    law = {
        "encoder_stream.onnx": {"multiple": HOP, "first": 40, "ahead": 4},
        "decoder_stream.onnx": {"multiple": 3, "first": 6},
    }
    files = dict(manifest.files)
    for name, changed in law.items():
        files[name] = dataclasses.replace(files[name], stream={**files[name].stream, **changed})
    dataclasses.replace(manifest, files=files).write(folder)
    model = voxzoo.load(folder)
    for n in (5, 39, 203):
        audio = sound(n)
        codes, samples = wanted(audio)
        with model.stream_encoder() as encoder:
            parts = [encoder.push(audio.samples[i : i + 8]) for i in range(0, n, 8)] + [encoder.finish()]
        assert same(Tokens.concatenate(parts), codes), n
        assert all(part.codes[0].shape[1] == 0 for part in parts[:5][:-1])
        with model.stream_decoder() as decoder:
            heard = np.concatenate([decoder.push(part).samples for part in parts] + [decoder.finish().samples])
        assert np.abs(heard - samples).max() <= 1e-6


def test_many_clips_stream_side_by_side(folders: dict[str, Path]) -> None:
    model, clips = voxzoo.load(folders["streams"]), {0: sound(50, 1), 3: sound(81, 2)}
    with model.stream_encoders(4) as batch:
        begun = batch.push({slot: clip.samples[:41] for slot, clip in clips.items()})
        ends = {slot: Tokens.concatenate([begun[slot], *batch.push({slot: clip.samples[41:]}).values(), batch.finish(slot)])
                for slot, clip in clips.items()}  # fmt: skip
        for slot, clip in clips.items():
            assert same(ends[slot], wanted(clip)[0])
        with pytest.raises(ModelError, match="slot 3 carries no clip"):
            batch.finish(3)
        with pytest.raises(ModelError, match="no slot 4"):
            batch.push({4: clips[0].samples})


@pytest.mark.parametrize("kind", ["windows", "pad", "streams"])
def test_a_clip_is_the_same_in_any_batch(folders: dict[str, Path], kind: str) -> None:
    """The hand-made graph looks past a clip's end, so only "length" batching may mix nothing; "pad" is held to equal frames."""
    model = voxzoo.load(folders[kind])
    lengths = (37, 40, 38, 1000, 40, 1) if kind != "pad" else (37, 40, 38, 1000, 40)
    clips = [sound(n, seed) for seed, n in enumerate(lengths)]
    together = model.encode(clips)
    decoded = model.decode(together)
    for i, clip in enumerate(clips):
        codes, samples = wanted(clip)
        assert same(together[i], codes), i
        assert np.abs(decoded[i].samples - samples).max() <= 1e-6


def test_batches_hold_what_the_bundle_allows(folders: dict[str, Path]) -> None:
    for kind, most in (("windows", 3), ("pad", 2)):
        model = voxzoo.load(folders[kind])
        shapes = _watched(model.parts.graph("encoder"))
        model.encode([sound(n) for n in (100, 100, 104, 180)])
        assert len(shapes) == most, shapes
        model.parts.device = SimpleNamespace(kind="cuda")  # where padding costs nothing
        shapes.clear()
        model.encode([sound(n) for n in (100, 100, 104, 180)])
        assert len(shapes) == (1 if kind == "pad" else 3), shapes


def _watched(graph: Any) -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = []
    run = graph.run

    def watched(feeds: Any, keep: Any = ()) -> Any:
        shapes.append(feeds["wav"].shape)
        return run(feeds, keep)

    graph.run = watched
    return shapes


def test_all_that_can_be_encoded(folders: dict[str, Path], tmp_path: Path) -> None:
    model, audio = voxzoo.load(folders["windows"]), sound(900)
    codes, _ = wanted(audio)
    path = tmp_path / "clip.wav"
    audio.write(path, subtype="FLOAT")
    for given in (str(path), path, path.read_bytes(), audio):
        assert same(model.encode(given), codes)
    assert same(model.encode(audio.samples, RATE), codes)
    assert same(model.encode(audio.samples[None], RATE), codes)
    import torch

    assert same(model.encode(torch.from_numpy(audio.samples), RATE), codes)
    assert len(model.encode(np.stack([audio.samples] * 2), RATE)) == 2
    doubled = model.encode(audio.resample(2 * RATE))
    assert doubled.codes[0].shape == (1, len(codes[0]))
    for given, rate, message in (
        (audio.samples, None, "arrays need sample_rate"),
        ((audio.samples * 30000).astype(np.int16), RATE, "divide int16"),
        (np.zeros((2, 3, 4), np.float32), RATE, "shape"),
        (np.zeros(0, np.float32), RATE, "no samples"),
        ([], None, "no clips"),
        (3, None, "cannot encode a int"),
    ):
        with pytest.raises(voxzoo.AudioError, match=message):
            model.encode(given, rate)


def test_tokens_that_do_not_fit_are_refused(folders: dict[str, Path]) -> None:
    model = voxzoo.load(folders["windows"])
    tokens = model.encode(sound(100))
    with pytest.raises(WrongModelError, match="by-hand"):
        model.decode(dataclasses.replace(tokens, fingerprint="0" * 64))
    with pytest.raises(TokensError, match="damaged"):
        model.decode(dataclasses.replace(tokens, lengths=np.array([200])))
    with pytest.raises(TokensError, match="expected Tokens"):
        model.decode("tokens")
    with pytest.raises(ModelError, match="has 1 to 2"):
        model.encode(sound(100), streams=3)
    with pytest.raises(ModelError, match="voice"):
        model.decode(tokens, voice="me.wav")


def test_a_decoder_that_needs_all_streams_says_so(tmp_path: Path) -> None:
    model = voxzoo.load(bundle_files.make(tmp_path / "bundle", partial_streams=False))
    with pytest.raises(TokensError, match="hold 1 streams"):
        model.decode(model.encode(sound(100), streams=1))


def test_a_bundle_without_a_decoder_says_what_it_would_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bundle_files.make(tmp_path / "bundle", decodes=False, undecodable="that would need a flow")
    tokens = voxzoo.load(folder).encode(sound(100))
    for there in (True, False):
        if not there:
            monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        model = voxzoo.load(folder)
        for attempt in (
            partial(model.decode, tokens),
            model.stream_decoder,
            partial(model.stream_decoders, 2),
            model.check_decodes,
        ):
            with pytest.raises(voxzoo.NotDecodableError, match=r"by-hand.*that would need a flow"):
                attempt()


def test_tokens_without_a_decoder_go_to_what_speaks_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = voxzoo.load(bundle_files.make(tmp_path / "bundle", decodes=False))
    said = SimpleNamespace(decode=lambda tokens, voice: ("spoken", voice), stream=lambda voice: ("streamed", voice))
    monkeypatch.setattr("voxzoo.core.pairing.paired", lambda given: said if given is model else None)
    assert model.decode(model.encode(sound(100)), voice="me") == ("spoken", "me")
    assert model.stream_decoder(voice="me") == ("streamed", "me")
    model.check_decodes()
    with pytest.raises(ModelError, match="one clip at a time"):
        model.stream_decoders(2)


@pytest.mark.slow
@pytest.mark.skipif(not (bundled_folder("vox-flow-16k") / "config.json").is_file(), reason="no flow is bundled")
def test_tokens_of_a_bundle_without_a_decoder_are_spoken_by_the_flow(tmp_path: Path) -> None:
    """As the torch model's are: the bundle has its name, its fingerprint and its length law."""
    model = voxzoo.load("vox-s3-16k")
    hop = model.facts.sample_rate // int(model.facts.frame_rates[0])
    folder = bundle_files.make(
        tmp_path / "bundle", decodes=False, model=model.facts.name, facts=model.facts, fingerprint=model.fingerprint,
        length_law={"kind": "ceil", "hops": [hop]}, stream_ratios=[1], undecodable=model.undecodable,
    )  # fmt: skip
    bundle = voxzoo.load(folder)
    tokens = model.encode(bundled_folder("demo") / "speech.wav").numpy()
    tokens = dataclasses.replace(tokens, codes=[tokens.codes[0][:, :50]], lengths=np.array([50 * hop]))
    wanted = model.decode(tokens)
    assert np.array_equal(bundle.decode(tokens).samples, wanted.samples)
    with bundle.stream_decoder() as decoder:
        heard = np.concatenate([decoder.push(tokens).samples, decoder.finish().samples])
    assert len(heard) == len(wanted)


# ------------------------------------------------------------------ without torch
SCRIPT = """
import sys
sys.modules["torch"] = None  # whatever imports it fails
import numpy as np
import voxzoo
from voxzoo.cli.main import main
bundle, streams, folder = sys.argv[1:]
for name in (bundle, streams):
    model = voxzoo.load(name)
    tokens = model.encode([folder + "/a.wav", voxzoo.Audio(np.zeros(900, np.float32), 8000)])
    assert len(model.decode(tokens)) == 2
    with model.stream_encoder() as encoder, model.stream_decoder() as decoder:
        decoder.push(encoder.push(np.zeros(900, np.float32)))
        decoder.push(encoder.finish())
        decoder.finish()
assert main(["encode", folder + "/a.wav", "-m", bundle, "-o", folder + "/a.safetensors"]) == 0
assert main(["decode", folder + "/a.safetensors", "-m", bundle, "-o", folder + "/b.wav"]) == 0
assert main(["tokenize", folder, "-m", bundle, "-o", folder + "/shards", "--workers", "0"]) == 0
assert main(["decode", folder + "/shards", "-m", streams, "-o", folder + "/back"]) == 0
import voxzoo.export.serve
assert not [name for name in sys.modules if name.split(".")[0] == "torch" and sys.modules[name] is not None]
"""


def test_no_part_of_it_needs_torch(folders: dict[str, Path], tmp_path: Path) -> None:
    sound(1500).write(tmp_path / "a.wav")
    line = [sys.executable, "-c", SCRIPT, str(folders["windows"]), str(folders["streams"]), str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "back" / "a.wav").is_file()


# ------------------------------------------------------------------ bundles that are not what they say
def _lacks(folder: Path) -> None:
    (folder / "decoder.onnx").unlink()


def _changed(folder: Path) -> None:
    data = bytearray((folder / "encoder.onnx").read_bytes())
    data[-20] ^= 1
    (folder / "encoder.onnx").write_bytes(data)


def _shorter(folder: Path) -> None:
    (folder / "encoder.onnx").write_bytes((folder / "encoder.onnx").read_bytes()[:-5])


def _told(**changed: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "voxzoo.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))

    return change


def _swapped(folder: Path) -> None:
    """Another graph, of which the manifest even tells the hash."""
    shutil.copy(folder / "decoder.onnx", folder / "encoder.onnx")
    _rehashed(folder, "encoder.onnx")


def _rehashed(folder: Path, name: str) -> None:
    manifest = Manifest.read(folder)
    size = (folder / name).stat().st_size
    file = dataclasses.replace(manifest.files[name], sha256=sha256_of(folder / name), bytes=size)
    dataclasses.replace(manifest, files={**manifest.files, name: file}).write(folder)


def _no_graph(folder: Path) -> None:
    (folder / "encoder.onnx").write_bytes(b"not a graph at all")
    _rehashed(folder, "encoder.onnx")


def _other_shape(folder: Path) -> None:
    manifest = Manifest.read(folder)
    file = manifest.files["encoder.onnx"]
    file = dataclasses.replace(file, inputs=[{**file.inputs[0], "type": "float16"}])
    dataclasses.replace(manifest, files={**manifest.files, "encoder.onnx": file}).write(folder)


def _out_of_the_folder(folder: Path) -> None:
    path = folder / "voxzoo.json"
    data = json.loads(path.read_text())
    data["files"]["../encoder.onnx"] = data["files"].pop("encoder.onnx")
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_lacks, "no 'decoder.onnx'"),
        (_changed, "encoder.onnx' is not the file"),
        (_shorter, "encoder.onnx' is not the file"),
        (_told(format=2), "format 2"),
        (_told(files=7), "damaged"),
        (_told(facts={}), "not complete"),
        (_swapped, "codes_0.*is not the one|inputs"),
        (_no_graph, "no ONNX graph"),
        (_other_shape, "float32.*says float16"),
        (_out_of_the_folder, "plain names"),
        (_told(length_law={"kind": "golden"}), "golden"),
    ],
)
def test_a_bundle_that_was_tampered_with_is_refused(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    folder = bundle_files.make(tmp_path / "bundle")
    spoil(folder)
    with pytest.raises(ModelError, match=message) as found:
        voxzoo.load(folder).encode(sound(100))
    assert "\n" not in str(found.value)


def test_weights_beside_the_graph(tmp_path: Path) -> None:
    model = voxzoo.load(bundle_files.make(tmp_path / "inside", external="taps.bin"))
    assert same(model.encode(sound(100)), wanted(sound(100))[0])
    (tmp_path / "inside" / "taps.bin").write_bytes(bytes(48))
    with pytest.raises(ModelError, match=r"taps.bin' is not the file"):
        voxzoo.load(tmp_path / "inside")


@pytest.mark.parametrize("place", ["../taps.bin", "{root}/taps.bin", "deeper/../../taps.bin"])
def test_weights_outside_the_folder_are_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "bundle" / "deeper").mkdir(parents=True)
    folder = bundle_files.make(tmp_path / "bundle", external=place.format(root=tmp_path))
    assert external_files(folder / "encoder.onnx") == {place.format(root=tmp_path)}
    with pytest.raises(ModelError, match="no file of this bundle: it is refused"):
        voxzoo.load(folder)


def test_external_files_are_found_wherever_tensors_lie(tmp_path: Path) -> None:
    """In initialisers, attributes, graphs of branches, functions and sparse tensors, as onnx itself writes them."""
    from onnx import TensorProto, helper

    def tensor(place: str) -> TensorProto:
        made = helper.make_tensor(place, TensorProto.FLOAT, [1], b"\0\0\0\0", raw=True)
        made.ClearField("raw_data")
        made.data_location = TensorProto.EXTERNAL
        made.external_data.add(key="location", value=place)
        made.external_data.add(key="offset", value="0")
        return made

    branch = helper.make_graph([helper.make_node("Constant", [], ["b"], value=tensor("branch"))], "branch", [], [])
    node = helper.make_node("If", ["c"], ["o"], then_branch=branch, else_branch=branch)
    several = helper.make_node("Odd", [], ["p"], tensors=[tensor("one"), tensor("two")])
    sparse = helper.make_sparse_tensor(tensor("values"), tensor("indices"), [4])
    graph = helper.make_graph([node, several], "g", [], [], [tensor("initialiser")], sparse_initializer=[sparse])
    inner = helper.make_node("Constant", [], ["y"], value=tensor("function"))
    function = helper.make_function("own", "F", [], ["y"], [inner], [helper.make_opsetid("", 18)])
    model = helper.make_model(graph, functions=[function])
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    assert external_files(path) == {"branch", "one", "two", "values", "indices", "initialiser", "function"}
    data = path.read_bytes()
    for cut in range(1, len(data), 7):
        path.write_bytes(data[:cut])
        with contextlib.suppress(ModelError):  # and nothing else, wherever it ends
            external_files(path)
    path.write_bytes(b"")
    with pytest.raises(ModelError, match="no ONNX graph"):
        external_files(path)


# ------------------------------------------------------------------ how it is asked for
def test_options_that_do_not_fit_a_bundle(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folders["windows"]
    for options, message in (
        ({"weights": "random"}, "is a bundle, which holds its weights"),
        ({"engine": "torch"}, "torch does not play"),
        ({"engine": "quick"}, "expected 'auto', 'torch' or 'onnx'"),
        ({"dtype": "float16"}, "exported with"),
        ({"device": "cuda"}, "onnxruntime has cpu.*onnxruntime-gpu"),
        ({"device": "cuda:x"}, "onnxruntime has cpu"),
        ({"device": "cpu:1"}, "onnxruntime has cpu"),
        ({"device": "azure"}, "onnxruntime has cpu"),
        ({"threads": 0}, "threads=0"),
        ({"resampler": "quick"}, "resampler"),
    ):
        with pytest.raises(ModelError, match=message):
            voxzoo.load(folder, **options)
    with pytest.raises(ModelError, match="threads=2 is for bundles"):
        voxzoo.load("vox-rvq-16k", threads=2, engine="torch")
    monkeypatch.chdir(folder.parent)
    shutil.copytree(folder, "vox-rvq-16k")
    with pytest.raises(ModelError, match=r"write './vox-rvq-16k'"):
        voxzoo.load("vox-rvq-16k")
    assert voxzoo.load("./vox-rvq-16k").facts.name == "by-hand"


def test_threads_are_those_asked_for(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def threads(**options: Any) -> int:
        graph = voxzoo.load(folders["windows"], **options).parts.graph("encoder")
        count: int = graph.session.get_session_options().intra_op_num_threads
        return count

    assert threads(threads=2) == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads() == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads() == 0  # onnxruntime's own choice: all cores


def test_engine_onnx_exports_once_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from voxzoo.core.loading import random_model

    item = voxzoo.entry("vox-rvq-16k")
    torch_model = random_model(item, {**item.config, **item.tiny})
    torch_model.save(tmp_path / "model")
    monkeypatch.setenv("VOXZOO_CACHE", str(tmp_path / "cache"))
    exported: list[str] = []

    def export(model: Any, folder: Path) -> None:
        exported.append(model.fingerprint)
        bundle_files.make(folder, fingerprint=model.fingerprint)

    graphs = ModuleType("voxzoo.export.graphs")  # the exporter's own tests are in test_export_*.py
    graphs.export_model = export  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, graphs.__name__, graphs)
    for _ in range(2):
        assert voxzoo.load(tmp_path / "model", engine="onnx").fingerprint == torch_model.fingerprint
    assert exported == [torch_model.fingerprint]
    loads: list[str] = []
    monkeypatch.setattr("voxzoo.export.runtime_cache.load", lambda *a, **o: loads.append("torch") or torch_model)
    voxzoo.load(tmp_path / "model", engine="onnx")
    assert loads == []  # the weights are where and what they were: torch is not needed to tell
    os.utime(tmp_path / "model" / "model.safetensors", (1, 1))
    voxzoo.load(tmp_path / "model", engine="onnx")
    assert loads == ["torch"]
    assert len(exported) == 1
    with pytest.raises(ModelError, match="onnxruntime has cpu"):
        voxzoo.load(tmp_path / "model", engine="onnx", device="cuda")


def test_engine_auto_takes_what_the_entry_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from voxzoo.core import loading

    item = voxzoo.entry("vox-rvq-16k")
    folder = bundle_files.make(tmp_path / "bundle")
    monkeypatch.setattr("voxzoo.export.runtime_cache.cached_bundle", lambda *a: folder)
    assert not hasattr(voxzoo.load("vox-rvq-16k"), "precision")
    monkeypatch.setattr(loading, "entry", lambda name: dataclasses.replace(item, engine="onnx"))
    assert voxzoo.load("vox-rvq-16k").precision == "fp32"
    assert not hasattr(voxzoo.load("vox-rvq-16k", dtype="bfloat16"), "precision")
    assert not hasattr(voxzoo.load("vox-rvq-16k", engine="torch"), "precision")


# ------------------------------------------------------------------ a GPU that is not there
class FakeValue:
    def __init__(self, array: np.ndarray, device: str) -> None:
        self.array, self.device = array, device

    def numpy(self) -> np.ndarray:
        return self.array

    def shape(self) -> tuple[int, ...]:
        return self.array.shape


class FakeBinding:
    def __init__(self) -> None:
        self.inputs: dict[str, Any] = {}
        self.devices: dict[str, tuple[str, int]] = {}

    def bind_cpu_input(self, name: str, array: np.ndarray) -> None:
        assert array.flags.c_contiguous
        self.inputs[name] = array

    def bind_ortvalue_input(self, name: str, value: FakeValue) -> None:
        assert value.device == "cuda"
        self.inputs[name] = value.array

    def bind_output(self, name: str, device: str, number: int) -> None:
        self.devices[name] = (device, number)

    def get_outputs(self) -> list[FakeValue]:
        return self.outputs

    outputs: list[FakeValue]


class FakeSession:
    """A session of the real onnxruntime that says it is on a GPU."""

    made: list[FakeSession] = []  # noqa: RUF012
    starts = True

    def __init__(self, path: str, options: Any, providers: list[Any]) -> None:
        self.real = REAL(path, options, providers=["CPUExecutionProvider"])
        self.providers = providers
        self.bindings: list[FakeBinding] = []
        self.made.append(self)

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"] if self.starts else ["CPUExecutionProvider"]

    def __getattr__(self, name: str) -> Any:
        assert name != "run", "on a GPU runs are bound"
        return getattr(self.real, name)

    def io_binding(self) -> FakeBinding:
        self.bindings.append(FakeBinding())
        return self.bindings[-1]

    def run_with_iobinding(self, binding: FakeBinding) -> None:
        names = [output.name for output in self.real.get_outputs()]
        values = self.real.run(names, binding.inputs)
        binding.outputs = [FakeValue(value, binding.devices[name][0]) for name, value in zip(names, values, strict=True)]


REAL = onnxruntime.InferenceSession


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> type[FakeSession]:
    fake = SimpleNamespace(
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
        InferenceSession=FakeSession,
        SessionOptions=onnxruntime.SessionOptions,
    )
    monkeypatch.setattr(runtime_session, "onnxruntime", lambda: fake)
    monkeypatch.setattr(FakeSession, "made", [])
    return FakeSession


def test_cuda_binds_inputs_and_keeps_the_state_there(folders: dict[str, Path], cuda: type[FakeSession]) -> None:
    model, audio = voxzoo.load(folders["streams"], device="cuda:1"), sound(1203)
    codes, samples = wanted(audio)
    tokens = model.encode(audio)  # through the stream: it is longer than a window
    assert same(tokens, codes)
    assert np.abs(model.decode(tokens).samples - samples).max() <= 1e-6
    encoder = cuda.made[0]
    provider, options = encoder.providers[0]
    assert (provider, options["device_id"], options["use_tf32"]) == ("CUDAExecutionProvider", "1", "0")
    assert len(encoder.bindings) > 1
    assert all(binding.devices["next_tail"] == ("cuda", 1) for binding in encoder.bindings)
    assert all(binding.devices["codes_0"] == ("cpu", 0) for binding in encoder.bindings)


def test_runs_are_bound_as_onnxruntime_has_it(folders: dict[str, Path]) -> None:
    """The calls of the real library, with the CPU's memory in place of a GPU's: what is kept is fed again as it is."""
    graph = voxzoo.load(folders["streams"]).parts.graph("encoder_stream")
    wav, tail = sound(24).samples[None], np.zeros((1, 4), np.float32)
    first = graph._bound({"wav": wav[:, :12], "tail": tail}, ["next_tail"])
    assert isinstance(first["next_tail"], onnxruntime.OrtValue)
    second = graph._bound({"wav": wav[:, 8:20], "tail": first["next_tail"]}, ["next_tail"])
    codes = [np.concatenate([first[f"codes_{k}"], second[f"codes_{k}"]], 1)[0] for k in range(2)]
    assert all(np.array_equal(a, b[:4]) for a, b in zip(codes, bundle_files.codes_of(wav[0]), strict=True))


def test_tensorrt_falls_back_on_cuda(cuda: type[FakeSession]) -> None:
    fake = runtime_session.onnxruntime()
    fake.get_available_providers = lambda: [f"{name}ExecutionProvider" for name in ("Tensorrt", "CUDA", "CPU")]
    found = runtime_session.device_named("tensorrt:2")
    (first, one), (second, two), third = found.providers
    assert (first, second, third) == tuple(f"{name}ExecutionProvider" for name in ("Tensorrt", "CUDA", "CPU"))
    assert (one["device_id"], two["device_id"], two["use_tf32"], found.memory) == ("2", "2", "0", "cuda")


def test_cuda_that_does_not_start_is_no_silent_run_on_the_cpu(
    folders: dict[str, Path], cuda: type[FakeSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "starts", False)
    with pytest.raises(ModelError, match="could not start CUDAExecutionProvider and would run on CPUExecutionProvider"):
        voxzoo.load(folders["windows"], device="cuda").encode(sound(100))


# ------------------------------------------------------------------ verbs
def test_info_tells_of_a_bundle(folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(folders["streams"])]) == 0
    told = capsys.readouterr().out
    assert "by-hand as ONNX graphs" in told
    assert all(word in told for word in ("2 x 32", "fp32, for cpu", "with their state", "encoder_stream.onnx", "ab" * 32))
    assert main(["info", str(folders["windows"]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stream_ratios"] == [1, 1]
    spoilt = bundle_files.make(tmp_path / "bundle")
    _changed(spoilt)
    assert main(["info", str(spoilt)]) == 2
    assert "encoder.onnx' is not the file" in capsys.readouterr().err


def test_the_benchmark_tells_bundles_from_each_other(folders: dict[str, Path], tmp_path: Path) -> None:
    from voxzoo.eval.entrants import entrants
    from voxzoo.eval.playing import Players

    lower = bundle_files.make(tmp_path / "fp16", precision="fp16")
    names = [str(folders["windows"]), f"{lower}:1"]
    about = Players(entrants(names, {}, RATE), RATE).about()
    assert [about[name]["engine"] for name in names] == ["onnx fp32", "onnx fp16"]
    assert [about[name]["streams"] for name in names] == [2, 1]


# ------------------------------------------------------------------ windows of a spectrogram
def test_windows_of_a_spectrogram_are_those_of_s3() -> None:
    """The same codes as the torch tokenizer's own stream, from its network in place of a graph that keeps a span of frames."""
    import torch

    from voxzoo.core.loading import random_model
    from voxzoo.export.runtime_coded import Coded
    from voxzoo.export.runtime_windows import encoder_core
    from voxzoo.tokenizers import s3

    item = voxzoo.entry("s3-v2")
    model: Any = random_model(item, {**item.config, **item.tiny})
    rate = model.facts.sample_rate
    per, second = s3.token_frames(model.config), rate // model.config["hop"]

    def encode(wav: np.ndarray, span: tuple[int, int]) -> Coded:
        with torch.no_grad():
            log = model.log_mel(torch.from_numpy(wav))[:, :, span[0] : span[1]]
            return Coded([model.codes([log]).numpy()])

    law = {"kind": "spectrogram", "hop": model.config["hop"], "size": s3.WINDOW * second, "lead": s3.LEAD, "per": per,
           "step": (s3.WINDOW - 2 * s3.MARGIN) * second, "margin": s3.MARGIN * second // per}  # fmt: skip
    for seconds, step in ((70.013, rate + 1), (30.05, 20 * rate), (29.0, 1 << 20)):
        wav = (0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate))).astype(np.float32)
        core, theirs = encoder_core(law, encode, 1), model._open_encoder(1)
        ours = [core.push(wav[None, i : i + step]).codes[0] for i in range(0, len(wav), step)] + [core.finish().codes[0]]
        with torch.no_grad():
            wanted = [theirs.push(torch.from_numpy(wav)[None]).codes[0], theirs.finish().codes[0]]
        assert np.array_equal(np.concatenate(ours, 1), torch.cat(wanted, 1).numpy())
