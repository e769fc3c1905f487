"""Graphs in onnxruntime against the models: codes and sound at lengths that were not traced, and the forms of lower precision.

Tracing takes seconds even for tiny networks: one bundle is made for all of these, and every family is traced in the slow ones.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from export_checks import clip_sets, tiny

from voxzoo.core.audio import Audio
from voxzoo.core.errors import ExportError
from voxzoo.core.model import Model
from voxzoo.core.registry import models
from voxzoo.core.weights import bundled_folder
from voxzoo.export.bundle import Manifest
from voxzoo.export.graphs import FORMS, Options, export_model, plan_of
from voxzoo.export.length_law import frames, padded
from voxzoo.export.parity import check, compare, write
from voxzoo.export.plan import Function, Plan
from voxzoo.export.precision import kept_nodes, lowered
from voxzoo.export.runtime import open_bundle
from voxzoo.export.trace import Part, Port, write_graph


@pytest.fixture(scope="module")
def model() -> Model:
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "streams": 2, "codebook_size": 64}
    return tiny("vox-rvq-16k", **sizes)


@pytest.fixture(scope="module")
def bundle(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "made" / "tiny.bundle"
    export_model(model, folder)
    return folder


@pytest.fixture(scope="module")
def clips(model: Model) -> list[Audio]:
    speech = Audio.read(bundled_folder("demo") / "speech.wav")
    return [Audio(speech.samples[:40000], speech.sample_rate), Audio(speech.samples[20000:37000], speech.sample_rate)]


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options)


def check_against(model: Model, folder: Path) -> None:
    """Every set of clips through the bare graphs."""
    manifest = Manifest.read(folder)
    manifest.verify(folder)
    encoder, streams = session(folder / "encoder.onnx"), model.facts.streams
    decoder = session(folder / "decoder.onnx") if model.decodes else None
    hop = round(model.facts.sample_rate / min(model.facts.frame_rates))
    for group in clip_sets(model, hop):
        batch = np.zeros((len(group), max(padded(manifest.padding, len(clip)) for clip in group)), np.float32)
        for row, clip in zip(batch, group, strict=True):
            row[: len(clip)] = clip
        feeds = {"wav": batch, "lengths": np.array([len(clip) for clip in group]), "span": np.array([0, 1 << 62])}
        out = encoder.run(None, {value.name: feeds[value.name] for value in encoder.get_inputs()})
        tokens = model.encode(list(group), model.facts.sample_rate)
        for i, clip in enumerate(group):
            for k, count in enumerate(frames(manifest.length_law, len(clip))):
                assert np.array_equal(out[k][i, :count], np.asarray(tokens[i].codes[k])[0]), (len(clip), k)
        if decoder is not None:
            audios = model.decode(tokens)
            wav = decoder.run(None, {f"codes_{k}": np.asarray(code) for k, code in enumerate(tokens.codes)})[0]
            for row, audio in zip(wav, audios if isinstance(audios, list) else [audios], strict=True):
                assert np.abs(np.pad(row, (0, max(0, len(audio) - len(row))))[: len(audio)] - audio.samples).max() <= 1e-4
    assert len(out) == streams


def test_graphs_give_the_model_s_codes_and_sound_at_every_length(model: Model, bundle: Path) -> None:
    check_against(model, bundle)


def test_a_graph_is_sound_has_no_operators_of_its_own_and_names_what_varies(bundle: Path) -> None:
    manifest = Manifest.read(bundle)
    for name, file in manifest.files.items():
        graph = onnx.load(str(bundle / name))
        onnx.checker.check_model(graph, full_check=True)
        assert {node.domain for node in graph.graph.node} == {""}
        assert [opset.domain for opset in graph.opset_import] == [""]
        assert graph.opset_import[0].version == manifest.opset == 20
        assert not graph.functions
        for ports, values in ((file.inputs, graph.graph.input), (file.outputs, graph.graph.output)):
            shapes = [[d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] for value in values]
            assert [(port["name"], port["shape"]) for port in ports] == list(
                zip([value.name for value in values], shapes, strict=True)
            )
        assert not any("/" in prop.value for prop in graph.metadata_props)


def test_a_bundle_says_all_there_is_to_know(model: Model, bundle: Path) -> None:
    manifest = Manifest.read(bundle)
    assert manifest.fingerprint == model.fingerprint
    assert manifest.facts == model.facts
    assert {path.name for path in bundle.iterdir()} == {"encoder.onnx", "decoder.onnx", "voxzoo.json", "README.md"}
    assert set(manifest.tools) >= {"torch", "onnx", "onnxruntime"}
    readme = (bundle / "README.md").read_text()
    for text in ('voxzoo.load("tiny.bundle")', "#include <onnxruntime_cxx_api.h>", "onnxruntime-web", '"codes_0", "codes_1"'):
        assert text in readme


def test_parity_is_of_all_lengths_and_refused_below_what_is_asked_for(model: Model, bundle: Path, clips: list[Audio]) -> None:
    report = compare(model, bundle, clips, {"loudness": lambda a, b, rate: float(np.abs(b).mean()), "never": _fails})
    assert report["share"] == 1.0
    assert report["streams"] == [1.0, 1.0]
    assert report["sound"]["largest_error"] <= 1e-5
    assert report["clips"] > len(clips) + 5
    assert report["quality"]["loudness"]["clips"] == len(clips)
    assert report["quality"]["never"] == {"model": None, "bundle": None, "clips": 0}
    check(report)
    write(report, bundle.parent)
    assert json.loads((bundle.parent / "parity.json").read_text())["least"] == 0.9999
    with pytest.raises(ExportError, match=r"keep 99.000% of the codes, less than the 99.990% asked for \(by stream: 100.00%"):
        check({**report, "share": 0.99})
    with pytest.raises(ExportError, match=r"the decoder of vox-rvq-16k is off by 0\.01"):
        check({**report, "sound": {"largest_error": 0.01}})
    check({**report, "share": 0.99}, 0.98)


def _fails(a: np.ndarray, b: np.ndarray, rate: int) -> float:
    raise ValueError("nothing to measure")


@pytest.mark.parametrize(("precision", "least"), [("fp16", 0.97), ("bf16", 0.9), ("int8", 0.85)])
def test_lower_precision_keeps_most_codes_and_makes_smaller_files(
    model: Model, bundle: Path, clips: list[Audio], tmp_path: Path, precision: str, least: float
) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    fp32 = Manifest.read(copy)
    manifest = lowered(fp32, copy, precision, "cpu")
    manifest.write(copy)
    manifest.verify(copy)
    report = compare(model, copy, clips)
    assert (report["precision"], report["ran_on"]) == (precision, "cpu")
    assert least <= report["share"]
    if precision != "int8":  # whose scales outweigh what a matrix this small saves
        assert manifest.files["decoder.onnx"].bytes < 0.95 * fp32.files["decoder.onnx"].bytes
    weights = {t.data_type for t in onnx.load(str(copy / "decoder.onnx")).graph.initializer}
    wanted = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16, "int8": onnx.TensorProto.INT8}
    assert wanted[precision] in weights


def test_products_in_halves_for_cuda_lie_between_casts(model: Model, bundle: Path, clips: list[Audio], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    manifest = lowered(Manifest.read(copy), copy, "fp16", "cuda")
    manifest.write(copy)
    assert (manifest.device, manifest.precision) == ("cuda", "fp16")
    report = compare(model, copy, clips)  # on the CPU, which widens them again
    assert report["share"] >= 0.95
    graph = onnx.load(str(copy / "decoder.onnx")).graph
    halves = {value for node in graph.node if node.op_type == "Cast" for value in node.output if value.endswith(".half")}
    assert any(node.op_type == "MatMul" and node.input[0] in halves for node in graph.node)


def test_calibrated_int8_quantises_by_the_ranges_of_sound(bundle: Path, clips: list[Audio], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    lowered(Manifest.read(copy), copy, "int8", "cpu", clips)
    nodes = [node.op_type for node in onnx.load(str(copy / "encoder.onnx")).graph.node]
    assert "QuantizeLinear" in nodes
    assert "DynamicQuantizeLinear" not in nodes


def test_what_cannot_be_lowered_says_so(bundle: Path) -> None:
    with pytest.raises(ExportError, match="int8 graphs are for the CPU"):
        lowered(Manifest.read(bundle), bundle, "int8", "cuda")
    with pytest.raises(ExportError, match="precision='fp8'; expected fp32, fp16, bf16 or int8"):
        lowered(Manifest.read(bundle), bundle, "fp8", "cpu")


def test_what_decides_on_codes_is_kept() -> None:
    """x -> wide product -> narrow product -> rounded digits -> their sum: only the wide product may go down."""
    make, tensor = onnx.helper.make_node, onnx.numpy_helper.from_array
    weights = {"basis": (8, 8), "wide": (8, 300), "narrow": (300, 4), "places": (4, 1)}
    nodes = [
        make("MatMul", ["x", "front.basis"], ["a"], "transform"),
        make("MatMul", ["a", "wide"], ["b"], "wide"),
        make("MatMul", ["b", "narrow"], ["c"], "project"),
        make("Tanh", ["c"], ["d"], "bound"),
        make("Round", ["d"], ["e"], "digits"),
        make("MatMul", ["e", "places"], ["y"], "index"),
    ]
    ports = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xy"]
    names = {"basis": "front.basis"}
    initial = [tensor(np.ones(shape, np.float32), names.get(name, name)) for name, shape in weights.items()]
    graph = onnx.helper.make_graph(nodes, "g", ports[:1], ports[1:], initial)
    assert kept_nodes(graph) == {"transform", "project", "digits", "index"}


def test_a_length_that_is_baked_in_is_an_error_and_not_a_graph(tmp_path: Path) -> None:
    def baked(x: torch.Tensor) -> torch.Tensor:
        return x + torch.ones(1, int(x.shape[1]))

    network = torch.nn.Linear(2, 2)
    port = Port("x", ["batch", "samples"], torch.zeros(2, 11))
    bad = Part("encoder", Function(lambda x: baked(x) if x.shape[1] == 11 else x, network), [port], [Port("y", ["batch", "t"])])
    with pytest.raises(ExportError, match="the encoder cannot be traced: Constraints violated"):
        write_graph(bad, tmp_path)


def test_a_folder_in_use_is_left_alone(model: Model, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match="is in use; name a folder that is new or empty"):
        export_model(model, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_nothing_is_kept_of_a_bundle_that_is_refused(
    model: Model, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied(plan: Plan, folder: Path, options: Options) -> Manifest:
        shutil.copytree(bundle, folder, dirs_exist_ok=True)
        return Manifest.read(folder)

    def refuse(made: Path) -> None:
        assert open_bundle(made).fingerprint == model.fingerprint
        raise ExportError("not good enough")

    monkeypatch.setattr("voxzoo.export.graphs.write_plan", copied)
    with pytest.raises(ExportError, match="not good enough"):
        export_model(model, tmp_path / "new", check=refuse)
    assert list(tmp_path.iterdir()) == []
    export_model(model, tmp_path / "new")
    assert (tmp_path / "new" / "voxzoo.json").is_file()


SLOW = sorted({name for name in models() if not name.startswith(("rspin", "spin-", "xcodec-hubert", "hubert", "mhubert"))})


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SLOW, "hubert-gslm-100", "spin-wavlm-128", "xcodec-hubert-general"])
def test_every_family_in_onnxruntime(name: str, tmp_path: Path) -> None:
    model = tiny(name)
    family = [cls.__module__.rpartition(".")[2] for cls in type(model).__mro__]
    if not set(family) & set(FORMS):
        with pytest.raises(ExportError, match="cannot be exported"):
            plan_of(model)
        return
    try:
        plan_of(model)
    except ExportError:
        return  # the tests of forms say which these are
    export_model(model, tmp_path / "b")
    check_against(model, tmp_path / "b")


def _real(name: str) -> Any:
    import voxzoo

    return voxzoo.load(name, engine="torch", weights="random")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["snac-24k", "encodec-24k", "mimi", "dac-16k", "s3-v2", "glm4voice", "hubert-gslm-100"])
def test_real_sizes_on_real_speech(name: str, tmp_path: Path) -> None:
    model = _real(name)
    export_model(model, tmp_path / "b")
    check(compare(model, tmp_path / "b", [Audio.read(bundled_folder("demo") / "speech.wav")]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vox-rvq-16k", "vox-snac-16k", "vox-s3-16k"])
def test_bundled_models_with_streams(name: str, tmp_path: Path) -> None:
    import voxzoo

    model = voxzoo.load(name, engine="torch")
    export_model(model, tmp_path / "b", Options(streaming=True))
    speech = Audio.read(bundled_folder("demo") / "speech.wav")
    check(compare(model, tmp_path / "b", [speech]))
    played = open_bundle(tmp_path / "b")
    wav = speech.resample(model.facts.sample_rate).samples
    with played.stream_encoder() as stream:
        parts = [stream.push(wav[i : i + 1234]) for i in range(0, len(wav), 1234)] + [stream.finish()]
    whole = model.encode(wav, model.facts.sample_rate)
    for k, code in enumerate(whole.codes):
        assert np.array_equal(np.concatenate([part.codes[k] for part in parts], 1), np.asarray(code))
