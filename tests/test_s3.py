"""The S3 tokenizers against s3tokenizer (a golden file) and ONNX Runtime; published files, batches, windows, precisions."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import s3_files
import torch
from safetensors.numpy import load_file

import voxzoo
from voxzoo import Audio, ModelError, NotDecodableError, Tokens, WeightsError
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model
from voxzoo.tokenizers import _s3
from voxzoo.tokenizers._s3 import Scalar
from voxzoo.tokenizers.s3 import S3V2, _Encoder

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = list(s3_files.VERSIONS)
PARAMETERS = {"v1": 130_629_120, "v1-25hz": 130_629_120, "v2": 123_714_568, "v3": 242_009_608}
every_version = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One of each version, of a tiny size, in files that tell nothing by their names."""
    found = {}
    for version in VERSIONS:
        folder = tmp_path_factory.mktemp(version)
        s3_files.write(folder / "speech_tokenizer.onnx", version, s3_files.weights(version, s3_files.TINY))
        found[version] = folder
    return found


@pytest.fixture(scope="module")
def models(folders: dict[str, Path]) -> dict[str, Model]:
    return {version: voxzoo.load(f"s3-{version}", weights=folder) for version, folder in folders.items()}


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_s3_golden", ROOT / "tools" / "make_s3_golden.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def clip(samples: int, level: float = 0.1) -> Audio:
    return Audio(s3_files.sound(samples, level), 16000)


def codes(model: Model, audio: Any) -> np.ndarray:
    return model.encode(audio).codes[0][0].numpy()


# ---------------------------------------------------------------- against s3tokenizer and ONNX Runtime
@every_version
def test_codes_are_those_of_s3tokenizer(version: str, models: dict[str, Model], maker: ModuleType) -> None:
    """Also of more than 30 s, where nothing lies 80 dB below the loudest place and the package loses nothing."""
    golden = load_file(ROOT / "tests" / "golden" / "s3.safetensors")
    for samples in maker.LENGTHS + maker.LONG:
        assert np.array_equal(codes(models[version], clip(samples)), golden[f"{version}.{samples}"]), samples
    speech = Audio.read(ROOT / "bundled" / "demo" / "speech.wav")
    assert np.array_equal(codes(models[version], speech), golden[f"{version}.speech"])
    assert len(np.unique(golden[f"{version}.speech"])) > 80


@every_version
def test_codes_are_what_the_file_says_when_it_is_run(version: str, models: dict[str, Model], folders: dict[str, Path]) -> None:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(folders[version] / "speech_tokenizer.onnx"), providers=["CPUExecutionProvider"])
    for samples in (100, 16000):
        mel = _s3_mel(models[version], samples)
        wanted = session.run(None, {"feats": mel, "feats_length": np.array([mel.shape[2]], np.int32)})[0]
        assert np.array_equal(codes(models[version], clip(samples)), wanted[0])


def _s3_mel(model: Any, samples: int) -> np.ndarray:
    from voxzoo.core.whisper_mel import normalise

    return normalise(model.log_mel(torch.from_numpy(clip(samples).samples)[None])).numpy()


@every_version
def test_it_has_as_many_parameters_as_is_published(version: str) -> None:
    item = voxzoo.entry(f"s3-{version}")
    with torch.device("meta"):
        network = _s3.Network(_s3.complete(item.config))
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[version] == item.facts.params
    assert set(network.state_dict()) == set(s3_files.shapes(version, 128, 512, 300))


def test_every_code_has_its_digits() -> None:
    quantizer = Scalar(8, 6561)
    with torch.no_grad():
        quantizer.project_down.weight.copy_(torch.eye(8))
        quantizer.project_down.bias.zero_()
    every = torch.arange(6561)
    digits = torch.stack([every // 3**j % 3 for j in range(8)], 1)
    assert torch.equal(quantizer(3.0 * (digits[None] - 1)), every[None])
    edge = torch.atanh(torch.tensor(0.5 / 0.9990000128746033))
    assert quantizer(torch.zeros(1, 1, 8) + edge - 1e-4).item() == 3280
    assert quantizer(torch.zeros(1, 1, 8) + edge + 1e-4).item() == 6560


# ---------------------------------------------------------------- lengths, batches, precision
@every_version
def test_clips_shorter_than_a_token_have_one(version: str, models: dict[str, Model]) -> None:
    model = models[version]
    for samples in (1, 159, 160, 200, 201, 479):
        tokens = model.encode(clip(samples))
        assert tokens.codes[0].shape == (1, max(1, -(-(samples // 160) // (2 if version == "v1" else 4))))
        assert tokens.lengths.tolist() == [samples]


@every_version
def test_clips_do_not_feel_each_other(version: str, models: dict[str, Model], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither loud ones nor long ones, whichever way attention goes."""
    model: Any = models[version]
    clips = [clip(n, level) for n, level in ((16000, 1e-3), (70_000, 0.6), (321, 0.1), (20_007, 0.01), (16000, 0.5))]
    alone = [codes(model, one) for one in clips]
    wavs = [torch.from_numpy(one.samples) for one in clips]
    for way in (_s3.clip_by_clip, _s3.masked):
        monkeypatch.setattr(_s3, "clip_by_clip", way)
        tokens = model._encode_group(wavs, 1)
        assert all(np.array_equal(one.codes[0][0].numpy(), right) for one, right in zip(tokens, alone, strict=True)), way
    together = model.encode(clips)
    assert all(np.array_equal(together[i].codes[0][0].numpy(), right) for i, right in enumerate(alone))


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(("dtype", "least"), [("bfloat16", 0.75), ("float16", 0.95)])
def test_lower_precision_agrees(
    version: str, dtype: str, least: float, folders: dict[str, Path], models: dict[str, Model]
) -> None:
    model = voxzoo.load(f"s3-{version}", weights=folders[version], dtype=dtype)
    speech = Audio.read(ROOT / "bundled" / "demo" / "speech.wav")
    found, wanted = codes(model, speech), codes(models[version], speech)
    assert least <= (found == wanted).mean()
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("version", ["v1-25hz", "v2"])
def test_overflow_in_half_precision_is_an_error(version: str, tmp_path: Path) -> None:
    state = s3_files.weights(version, s3_files.TINY)
    state["encoder.blocks.1.mlp.2.weight"] *= 1e5
    s3_files.write(tmp_path / "speech_tokenizer.onnx", version, state)
    model = voxzoo.load(f"s3-{version}", weights=tmp_path, dtype="float16")
    with pytest.raises(ModelError, match=r"overflowed in torch\.float16; load it with dtype='float32'"):
        model.encode(clip(16000))
    for dtype in ("bfloat16", "float32"):
        assert codes(voxzoo.load(f"s3-{version}", weights=tmp_path, dtype=dtype), clip(16000)).shape


# ---------------------------------------------------------------- more than 30 s
class Counting:
    """A model whose "codes" are the places of the tokens in the clip: samples hold the number of their frame."""

    def __init__(self, version: str) -> None:
        self.config = {"version": version, "sample_rate": 200, "hop": 2}
        self.device = torch.device("cpu")
        self.longest = 0

    def log_mel(self, wav: torch.Tensor) -> torch.Tensor:
        return wav[:, None, : max(1, wav.shape[1] // 2) * 2 : 2]

    def codes(self, logs: list[torch.Tensor]) -> torch.Tensor:
        frames = _s3.token_frames(self.config)
        self.longest = max(self.longest, logs[0].shape[2])
        return (logs[0][:, 0, ::frames] / frames).round().long()


def counted(version: str, frames: int, rest: int, step: int) -> None:
    model: Any = Counting(version)
    wav = torch.arange(2 * frames + rest, dtype=torch.float32)[None].div(2, rounding_mode="floor")
    encoder = _Encoder(model)
    parts = [encoder.push(wav[:, i : i + step]).codes[0] for i in range(0, wav.shape[1], step)]
    found = torch.cat([*parts, encoder.finish().codes[0]], 1)
    assert torch.equal(found[0], torch.arange(-(-frames // _s3.token_frames(model.config)))), (frames, rest, step)
    assert model.longest <= 3000


EDGES = [2600 * k + n for k in range(1, 4) for n in (*range(-3, 8), *range(395, 408))]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_windows_lose_nothing(version: str) -> None:
    """At the edges of every window and in steps between; frames of the spectrogram."""
    for frames in sorted({*range(1, 9000, 211), *EDGES}):
        counted(version, frames, rest=frames % 2, step=1999 if frames % 3 else 20_000)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_windows_lose_nothing_at_any_length(version: str) -> None:
    for frames in range(1, 12_001):
        counted(version, frames, rest=frames % 2, step=7001)


@pytest.mark.parametrize("seconds", [30.01, 52.5, 53, 54, 55, 79, 80])
def test_long_clips_have_all_their_tokens_however_they_are_pushed(seconds: float) -> None:
    """Lengths at which windows that run past the end lose up to 50 tokens."""
    item = voxzoo.entry("s3-v2")
    model = random_model(item, {**item.config, **item.tiny})
    samples = round(seconds * 1600) + 3
    wav = Audio(s3_files.sound(samples), 1600)
    tokens = model.encode(wav)
    assert tokens.codes[0].shape[1] == -(-(samples // 16) // 4) == model.frames(samples)[0]
    for step in (7777, 48_000, 100_000):
        with model.stream_encoder() as stream:
            parts = [stream.push(wav.samples[i : i + step]) for i in range(0, samples, step)] + [stream.finish()]
        joined = Tokens.concatenate(parts)
        assert torch.equal(joined.codes[0], tokens.codes[0]), step
        assert joined.lengths.tolist() == [samples]


def test_a_stream_holds_no_more_than_a_window() -> None:
    item = voxzoo.entry("s3-v2")
    model: Any = random_model(item, {**item.config, **item.tiny})
    encoder = model._open_encoder(1)
    with torch.no_grad():
        for _ in range(200):
            encoder.push(torch.randn(1, 1600))
            assert encoder.held.shape[1] <= 32 * 1600


# ---------------------------------------------------------------- published files
@every_version
def test_the_graph_tells_the_version(version: str, folders: dict[str, Path], models: dict[str, Model], tmp_path: Path) -> None:
    model = voxzoo.load(folders[version])
    assert model.facts.name == f"s3-{version}"
    assert model.fingerprint == models[version].fingerprint
    other = "v2" if version != "v2" else "v1"
    (tmp_path / f"speech_tokenizer_{other}.onnx").symlink_to(folders[version] / "speech_tokenizer.onnx")
    with pytest.raises(WeightsError, match=rf"{other}.onnx' holds S3 {version}: load it as 's3-{version}'"):
        voxzoo.load(f"s3-{other}", weights=tmp_path)
    model.save(tmp_path / "mine")
    with pytest.raises(ModelError, match=rf"this is S3 {version}, not {other}: load it as 's3-{version}'"):
        voxzoo.load(f"s3-{other}", weights=tmp_path / "mine")


def test_other_onnx_files_may_lie_beside_it(folders: dict[str, Path], models: dict[str, Model], tmp_path: Path) -> None:
    for name, version in (("speech_tokenizer_v2.onnx", "v2"), ("speech_tokenizer_v1.onnx", "v1")):
        (tmp_path / name).symlink_to(folders[version] / "speech_tokenizer.onnx")
    (tmp_path / "campplus.onnx").write_bytes(b"")
    (tmp_path / "a.onnx").write_bytes(b"\x08\x08")
    assert voxzoo.load("s3-v2", weights=tmp_path).fingerprint == models["v2"].fingerprint
    assert voxzoo.load("s3-v1", weights=tmp_path).fingerprint == models["v1"].fingerprint
    with pytest.raises(ModelError, match=r"may be of s3-v1 or s3-v2"):
        voxzoo.load(tmp_path)


def refused(folder: Path, version: str, words: str) -> None:
    with pytest.raises(WeightsError, match=words) as caught:
        voxzoo.load(f"s3-{version}", weights=folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("version", "tensor", "key"),
    [
        ("v1", "encoders.positional_embedding", "no positional_embedding"),
        ("v1", "/blocks.3/attn/out.w", r"encoder\.blocks\.3\.attn\.out\.weight"),
        ("v1-25hz", "/blocks.0/mlp_ln.b", r"encoder\.blocks\.0\.mlp_ln\.bias"),
        ("v1-25hz", "onnx::MatMul_1800", r"quantizer\._codebook\.embed"),
        ("v2", "onnx::MatMul_2280", r"encoder\.blocks\.1\.attn\.query\.weight"),  # 2228 + 52
        ("v2", "onnx::LayerNormalization_2268", r"encoder\.blocks\.0\.mlp_ln\."),
        ("v2", "blocks.5.attn.fsmn_block.weight", r"encoder\.blocks\.5\.attn\.fsmn_block\.weight"),
        ("v2", "onnx::Conv_2216", r"encoder\.conv1\."),
        ("v3", "quantizer.project_in.bias", r"quantizer\._codebook\.project_down\.bias"),
        ("v3", "/blocks.11/mlp/mlp.2.w", r"encoder\.blocks\.11\.mlp\.2\.weight"),
    ],
)
def test_a_missing_tensor_is_named(version: str, tensor: str, key: str, tmp_path: Path) -> None:
    s3_files.write(tmp_path / "x.onnx", version, s3_files.weights(version, s3_files.TINY), skip=tensor)
    refused(tmp_path, version, key)


def test_a_tensor_that_has_no_place_is_named(tmp_path: Path) -> None:
    state = s3_files.weights("v2", s3_files.TINY)
    s3_files.write(tmp_path / "x.onnx", "v2", state, more={"decoder.weight": np.zeros((20, 20), np.float32)})
    refused(tmp_path, "v2", r"'decoder\.weight' of shape \(20, 20\) that has no place in S3 v2")
    angles = _s3.angles(700, 64).numpy()
    s3_files.write(tmp_path / "x.onnx", "v2", state, more={"cos": np.cos(angles), "sin": np.sin(angles)[None, :, None]})
    assert voxzoo.load("s3-v2", weights=tmp_path).facts.name == "s3-v2"
    s3_files.write(tmp_path / "x.onnx", "v2", state, more={"cos": np.cos(1.01 * angles)})
    refused(tmp_path, "v2", "'cos' of shape")


def test_a_graph_that_is_of_no_version_is_described(tmp_path: Path) -> None:
    state = s3_files.weights("v3", s3_files.TINY)
    writer: dict[str, Any] = s3_files.VERSIONS  # type: ignore[assignment]
    before = writer["v3"]
    try:
        writer["v3"] = (7, 2)
        s3_files.write(tmp_path / "x.onnx", "v3", state)
    finally:
        writer["v3"] = before
    refused(tmp_path, "v3", r"7 blocks, convolutions of strides \[2, 2\], no positional_embedding and fsmn_block")
    nothing = s3_files.field(7, s3_files.field(2, "main_graph"))
    (tmp_path / "x.onnx").write_bytes(nothing)
    refused(tmp_path, "v3", "it has no blocks")


def test_data_elsewhere(tmp_path: Path, models: dict[str, Model]) -> None:
    """Beside the file they are read; outside its folder they are not."""
    state = s3_files.weights("v2", s3_files.TINY)
    key, name = "encoder.conv1.weight", "onnx::Conv_2216"
    folder = tmp_path / "model"
    folder.mkdir()
    for place in (folder / "conv1.data", tmp_path / "conv1.data"):
        place.write_bytes(state[key].tobytes())
    (folder / "link.data").symlink_to(tmp_path / "conv1.data")

    def written(location: str) -> Path:
        message = s3_files.outside(state[key], name, location)
        return s3_files.write(folder / "x.onnx", "v2", state, elsewhere={name: message}).parent

    assert voxzoo.load("s3-v2", weights=written("conv1.data")).fingerprint == models["v2"].fingerprint
    for location in ("../conv1.data", str(tmp_path / "conv1.data"), "link.data", "", "."):
        refused(written(location), "v2", "outside the folder of the model: refused")
    refused(written("none.data"), "v2", "cannot be read")
    (folder / "conv1.data").write_bytes(b"\0" * 40)
    refused(written("conv1.data"), "v2", "has 40 bytes of data, expected 196608")


def spoilt(whole: bytes) -> Iterator[bytes]:
    """Cut short at many places, and with bytes changed near the start and the end, where the graph is not only numbers."""
    rng = np.random.RandomState(0)
    yield from (whole[: len(whole) * i // 11] for i in range(11))
    yield from (whole[:size] for size in range(1, 60, 11))
    for _ in range(15):
        changed = bytearray(whole)
        for at in rng.randint(0, 40_000, 3):
            changed[at] = rng.randint(256)
        yield bytes(changed)


def test_damaged_files_are_refused_or_read(tmp_path: Path) -> None:
    """One clear error, or a network: never a traceback of another kind."""
    state = s3_files.weights("v2", {"dim": 64, "hidden": 64, "codes": 300})
    whole = s3_files.write(tmp_path / "whole", "v2", state).read_bytes()
    for data in spoilt(whole):
        (tmp_path / "x.onnx").write_bytes(data)
        try:
            S3V2.read(tmp_path)
        except WeightsError as error:
            assert "\n" not in str(error)  # noqa: PT017
        S3V2.recognises(tmp_path)


@pytest.mark.parametrize("kind", [np.float16, "bfloat16", "listed"])
def test_other_ways_to_write_a_tensor(kind: Any, tmp_path: Path) -> None:
    from voxzoo.tokenizers._s3_protobuf import read_graph

    values = np.array([[1.0, -2.5, 3e-3], [0.0, 7.0, -8.0]], np.float32)
    head = s3_files.field(1, 2) + s3_files.field(1, 3) + s3_files.field(8, "w")
    bits = values.view(np.uint32) >> 16
    body = {
        np.float16: s3_files.field(2, 10) + s3_files.field(9, values.astype(np.float16).tobytes()),
        "bfloat16": s3_files.field(2, 16) + s3_files.field(5, b"".join(s3_files.varint(int(b)) for b in bits.ravel())),
        "listed": s3_files.field(2, 1) + s3_files.field(4, values.tobytes()),
    }[kind]
    (tmp_path / "x.onnx").write_bytes(s3_files.field(7, s3_files.field(5, head + body)))
    found = read_graph(tmp_path / "x.onnx").tensors["w"].numpy()
    assert found.dtype == np.float32
    assert np.allclose(found, values, rtol=1e-2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 4}, "'width'"),
        ({"version": "v4"}, "version 'v4'"),
        ({"layers": 0}, "layers 0"),
        ({"heads": 3}, "for 3 heads"),
        ({"codes": 80}, "a power of three"),
        ({"kernel": 4}, "expected odd"),
        ({"hop": 7}, "for hop 7"),
        ({"mlp_eps": -1.0}, "mlp_eps"),
    ],
)
def test_configurations_that_make_no_tokenizer_are_refused(change: dict[str, Any], message: str) -> None:
    item = voxzoo.entry("s3-v2")
    with pytest.raises(ModelError, match=message):
        random_model(item, {**item.config, **item.tiny, **change})


def test_positions_must_last_for_a_window() -> None:
    item = voxzoo.entry("s3-v1")
    with pytest.raises(ModelError, match="1499 positions"):
        random_model(item, {**item.config, **item.tiny, "positions": 1499})


@every_version
def test_it_says_what_decoding_would_need(version: str, models: dict[str, Model]) -> None:
    with pytest.raises(NotDecodableError, match=rf"s3-{version} has no decoder.*flow"):
        models[version].decode(models[version].encode(clip(1000)))


# ---------------------------------------------------------------- real size
@pytest.mark.slow
@every_version
def test_codes_at_real_size_are_those_of_s3tokenizer(version: str, tmp_path: Path) -> None:
    """Needs `pip install --no-deps s3tokenizer==0.3.0 onnx`."""
    pytest.importorskip("onnx")
    pytest.importorskip("einops")
    if importlib.util.find_spec("s3tokenizer") is None:
        pytest.skip("s3tokenizer is not installed")
    path = s3_files.write(tmp_path / "speech_tokenizer.onnx", version, s3_files.weights(version, s3_files.REAL))
    speech = Audio.read(ROOT / "bundled" / "demo" / "speech.wav").samples
    clips = [speech, *(s3_files.sound(n) for n in (201, 5000, 79_999, 480_000))]
    reference = s3_files.reference(version, path, s3_files.REAL)
    wanted = [s3_files.reference_codes(reference, wav) for wav in clips]
    del reference
    model = voxzoo.load(f"s3-{version}", weights=tmp_path)
    path.unlink()
    assert model.facts == voxzoo.entry(f"s3-{version}").facts
    for wav, right in zip(clips, wanted, strict=True):
        assert np.array_equal(codes(model, Audio(wav, 16000)), right)
    assert len(np.unique(wanted[0])) > 40
