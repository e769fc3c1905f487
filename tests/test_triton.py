"""The model repository for Triton: configs are protobuf text and fit the graphs; a stream run by them equals the whole clip."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxzoo import ModelError

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

import bundle_files  # noqa: E402

from voxzoo.export.bundle import Manifest, sha256_of  # noqa: E402
from voxzoo.export.triton import write_repository  # noqa: E402

NUMPY = {"TYPE_FP32": "tensor(float)", "TYPE_INT64": "tensor(int64)"}


def parsed(text: str) -> dict[str, list[Any]]:
    """Protobuf text as nested dictionaries; every field is a list of its values."""
    tokens = iter(re.findall(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+', text))
    message = _message(tokens, "")
    assert next(tokens, None) is None
    return message


def _message(tokens: Iterator[str], end: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for key in tokens:
        if key == end:
            return found
        assert re.fullmatch(r"[a-z_0-9]+", key), key
        sign = next(tokens)
        if sign == "{":
            found.setdefault(key, []).append(_message(tokens, "}"))
            continue
        assert sign == ":", (key, sign)
        value = next(tokens)
        if value == "[":
            values = list(iter(lambda: next(tokens), "]"))
            found.setdefault(key, []).extend(_scalar(one) for one in values if one != ",")
        else:
            found.setdefault(key, []).append(_scalar(value))
    assert end == ""
    return found


def _scalar(text: str) -> Any:
    if text.startswith('"'):
        return text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return int(text) if re.fullmatch(r"-?\d+", text) else {"true": True, "false": False}.get(text, text)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, list[Any]], Path]]:
    root = tmp_path_factory.mktemp("triton")
    folders = write_repository(bundle_files.make(root / "bundle", streaming=True, external="taps.bin"), root / "out", batch=4)
    return {folder.name: (parsed((folder / "config.pbtxt").read_text()), folder) for folder in folders}


def test_every_graph_is_there_and_its_config_fits_it(repository: dict[str, Any]) -> None:
    assert set(repository) == {f"by-hand_{part}" for part in ("encoder", "decoder", "encoder_stream", "decoder_stream")}
    for name, (config, folder) in repository.items():
        assert config["name"] == [name]
        assert config["max_batch_size"] == [4]
        session = onnxruntime.InferenceSession(str(folder / "1" / "model.onnx"), providers=["CPUExecutionProvider"])
        states = config.get("sequence_batching", [{}])[0].get("state", [])
        told = {one["name"][0]: one for one in config["input"]} | {one["input_name"][0]: one for one in states}
        given = {one["name"][0]: one for one in config["output"]} | {one["output_name"][0]: one for one in states}
        for one, found in ((told, session.get_inputs()), (given, session.get_outputs())):
            assert set(one) == {port.name for port in found}
            for port in found:
                assert NUMPY[one[port.name]["data_type"][0]] == port.type
                assert one[port.name]["dims"] == [size if isinstance(size, int) else -1 for size in port.shape[1:]]
        assert ("sequence_batching" in config) == name.endswith("_stream")
        assert ("dynamic_batching" in config) != name.endswith("_stream")
        parameters = {one["key"][0]: one["value"][0]["string_value"][0] for one in config["parameters"]}
        assert parameters["sample_rate"] == "8000"
        assert parameters["fingerprint"] == "ab" * 32


def test_a_stream_run_by_its_config_equals_the_whole_clip(repository: dict[str, Any]) -> None:
    """What Triton does: the state of each sequence begins as `initial_state` says and goes on; two in a batch."""
    config, folder = repository["by-hand_encoder_stream"]
    session = onnxruntime.InferenceSession(str(folder / "1" / "model.onnx"), providers=["CPUExecutionProvider"])
    wav = (0.3 * np.random.default_rng(0).standard_normal((2, 44))).astype(np.float32)
    held = {}
    for state in config["sequence_batching"][0]["state"]:
        (start,) = state["initial_state"]
        assert start["zero_data"] == [True]
        held[state["input_name"][0]] = np.zeros((2, *start["dims"]), np.float32)
    names = [one.name for one in session.get_outputs()]
    codes: list[list[np.ndarray]] = [[], []]
    padded = np.pad(wav, ((0, 0), (0, 4)))  # the zeros ahead that `parameters` tell of
    for i in range(0, 44, 4):
        out = dict(zip(names, session.run(names, {"wav": padded[:, i : i + 8], **held}), strict=True))
        held = {name: out[f"next_{name}"] for name in held}
        for k in range(2):
            codes[k].append(out[f"codes_{k}"])
    for row in range(2):
        for k, wanted in enumerate(bundle_files.codes_of(wav[row])):
            assert np.array_equal(np.concatenate(codes[k], 1)[row], wanted)


def test_it_is_what_protobuf_reads(repository: dict[str, Any]) -> None:
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    from google.protobuf import text_format

    for name, (config, folder) in repository.items():
        read = text_format.Parse((folder / "config.pbtxt").read_text(), schema.ModelConfig())
        assert read.name == name
        assert [one.name for one in read.input] == [one["name"][0] for one in config["input"]]
        assert [list(one.dims) for one in read.input] == [one["dims"] for one in config["input"]]
        keys = {one["key"][0]: one["value"][0]["string_value"][0] for one in config["parameters"]}
        assert {key: value.string_value for key, value in read.parameters.items()} == keys


def test_lengths_are_one_number_a_request_and_states_that_grow_share_no_batch(tmp_path: Path) -> None:
    bundle = bundle_files.make(tmp_path / "bundle", streaming=True)
    manifest = Manifest.read(bundle)
    files = dict(manifest.files)
    lengths = {"name": "lengths", "type": "int64", "shape": ["batch"]}
    files["encoder.onnx"] = dataclasses.replace(files["encoder.onnx"], inputs=[*files["encoder.onnx"].inputs, lengths])
    keys = {"name": "keys", "type": "float16", "shape": ["batch", 8, "past", 64], "initial": 0}
    files["encoder_stream.onnx"] = dataclasses.replace(files["encoder_stream.onnx"], states=[keys])
    dataclasses.replace(manifest, files=files).write(bundle)
    folders = {folder.name: folder for folder in write_repository(bundle, tmp_path / "out", device="cuda", instances=2)}
    config = parsed((folders["by-hand_encoder"] / "config.pbtxt").read_text())
    assert config["input"][1] == {"name": ["lengths"], "data_type": ["TYPE_INT64"], "dims": [1], "reshape": [{"shape": []}]}
    assert config["instance_group"] == [{"count": [2], "kind": ["KIND_GPU"]}]
    (accelerator,) = config["optimization"][0]["execution_accelerators"][0]["gpu_execution_accelerator"]
    assert {one["key"][0]: one["value"][0] for one in accelerator["parameters"]}["use_tf32"] == "0"
    stream = parsed((folders["by-hand_encoder_stream"] / "config.pbtxt").read_text())
    assert stream["max_batch_size"] == [1]
    (state,) = stream["sequence_batching"][0]["state"]
    assert (state["data_type"], state["dims"]) == (["TYPE_FP16"], [8, -1, 64])
    assert state["initial_state"][0]["dims"] == [8, 0, 64]


def test_a_state_that_does_not_begin_with_zeros_is_a_file(tmp_path: Path) -> None:
    bundle = bundle_files.make(tmp_path / "bundle", streaming=True)
    manifest = Manifest.read(bundle)
    quiet = {"name": "tail", "type": "float32", "shape": ["batch", 4], "initial": -1e30}
    file = dataclasses.replace(manifest.files["encoder_stream.onnx"], states=[quiet])
    dataclasses.replace(manifest, files={**manifest.files, "encoder_stream.onnx": file}).write(bundle)
    write_repository(bundle, tmp_path / "out")
    folder = tmp_path / "out" / "by-hand_encoder_stream"
    (state,) = parsed((folder / "config.pbtxt").read_text())["sequence_batching"][0]["state"]
    assert state["initial_state"][0]["data_file"] == ["tail"]
    values = np.frombuffer((folder / "initial_state" / "tail").read_bytes(), np.float32)
    assert np.array_equal(values, np.full(4, -1e30, np.float32))


def test_an_input_of_all_clips_at_once_becomes_a_constant(tmp_path: Path) -> None:
    """`span`, which S3's encoder has: the graph in the repository takes the whole spectrogram."""
    import onnx
    from onnx import TensorProto, helper

    bundle = bundle_files.make(tmp_path / "bundle")
    path = bundle / "encoder.onnx"
    graph = onnx.load(str(path))
    graph.graph.input.append(helper.make_tensor_value_info("span", TensorProto.INT64, [2]))
    graph.graph.node.append(helper.make_node("Identity", ["span"], ["kept"]))
    graph.graph.output.append(helper.make_tensor_value_info("kept", TensorProto.INT64, [2]))
    onnx.save(graph, str(path))
    manifest = Manifest.read(bundle)
    span = {"name": "span", "type": "int64", "shape": [2]}
    file = manifest.files["encoder.onnx"]
    file = dataclasses.replace(file, inputs=[*file.inputs, span], sha256=sha256_of(path), bytes=path.stat().st_size)
    dataclasses.replace(manifest, files={**manifest.files, "encoder.onnx": file}).write(bundle)
    folder, _ = write_repository(bundle, tmp_path / "out")
    assert [one["name"] for one in parsed((folder / "config.pbtxt").read_text())["input"]] == [["wav"]]
    session = onnxruntime.InferenceSession(str(folder / "1" / "model.onnx"), providers=["CPUExecutionProvider"])
    assert session.run(["kept"], {"wav": np.zeros((1, 8), np.float32)})[0].tolist() == [0, 1 << 62]


def test_what_triton_cannot_have_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    bundle, out = bundle_files.make(tmp_path / "bundle", streaming=True), tmp_path / "out"
    manifest = Manifest.read(bundle)
    for state, message in (
        ({"name": "tail", "type": "float32", "shape": [1, 4]}, "does not begin with the batch"),
        ({"name": "tail", "type": "float32", "shape": ["batch"]}, "no single numbers"),
        ({"name": "tail", "type": "bfloat16", "shape": ["batch", 4]}, "no name in Triton"),
    ):
        file = dataclasses.replace(manifest.files["encoder_stream.onnx"], states=[state])
        dataclasses.replace(manifest, files={**manifest.files, "encoder_stream.onnx": file}).write(bundle)
        with pytest.raises(ModelError, match=message):
            write_repository(bundle, out)
        assert not out.exists()
    manifest.write(bundle)
    with pytest.raises(ModelError, match="Triton has 'cpu' and 'cuda'"):
        write_repository(bundle, out, device="mps")
    with pytest.raises(ModelError, match="batch=0"):
        write_repository(bundle, out, batch=0)
    write_repository(bundle, out)
    with pytest.raises(ModelError, match="is there already"):
        write_repository(bundle, out)
    (bundle / "decoder.onnx").unlink()
    with pytest.raises(ModelError, match=r"no 'decoder.onnx'"):
        write_repository(bundle, tmp_path / "other")
