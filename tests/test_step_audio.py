"""Step-Audio's tokenizer against the published front end and chunk loop (a golden file), its files, its halves and its ids."""

from __future__ import annotations

import importlib.util
import math
import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import s3_files
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

import voxzoo
from voxzoo import Audio, ModelError, NotDecodableError, Tokens, TokensError, WeightsError
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model
from voxzoo.tokenizers import _step_audio as half
from voxzoo.tokenizers._step_audio_files import PARAFORMER
from voxzoo.tokenizers.step_audio import (
    OFFSET,
    StepAudio,
    StepAudioLinguistic,
    deinterleave,
    from_text,
    interleave,
    prepare,
    to_text,
)

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = load_file(ROOT / "tests" / "golden" / "paraformer.safetensors")
ONNX = s3_files.weights("v1-25hz", {"dim": 128, "hidden": 192, "codes": 300})
CUT = 480_000  # samples of 30 s


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """The script that made the golden file: its configuration, weights and sounds."""
    spec = importlib.util.spec_from_file_location("make_paraformer_golden", ROOT / "tools" / "make_paraformer_golden.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(maker: ModuleType, tmp_path: Path) -> Path:
    return write(tmp_path / "published", maker)


def write(folder: Path, maker: ModuleType) -> Path:
    """The published form, with what else a checkpoint of FunASR holds."""
    inner = folder / PARAFORMER
    inner.mkdir(parents=True)
    network = half.Linguistic(half.complete({"clusters": maker.CLUSTERS, **sizes(maker)}))
    state = {f"encoder.{key}": value for key, value in network.encoder.state_dict().items()}
    state = {key: maker.weight(key, list(value.shape)) for key, value in state.items()}
    state |= {"predictor.cif_conv1d.weight": torch.zeros(3), "decoder.embed.0.weight": torch.zeros(2, 2)}
    torch.save(state, inner / "model.pt")
    write_cmvn(inner / "am.mvn", *(maker.weight(name, [560]) for name in ("shift", "scale")))
    np.save(folder / "linguistic_tokenizer.npy", maker.weight("centres", [maker.CLUSTERS, 32]).numpy())
    s3_files.write(folder / "speech_tokenizer_v1.onnx", "v1-25hz", ONNX)
    return folder


def write_cmvn(path: Path, shift: Tensor, scale: Tensor) -> None:
    """As Kaldi's nnet1 writes a normalisation."""
    rows = [f"<LearnRateCoef> 0 [ {' '.join(repr(float(x)) for x in row)} ]" for row in (shift, scale)]
    n = len(shift)
    lines = ["<Nnet> ", f"<Splice> {n} {n}", "[ 0 ]", f"<AddShift> {n} {n} ", rows[0], f"<Rescale> {n} {n} ", rows[1]]
    path.write_text("\n".join([*lines, "</Nnet> "]) + "\n")


def sizes(maker: ModuleType) -> dict[str, int]:
    return {key: value for key, value in maker.ENCODER.items() if key != "input_size"}


def tiny(name: str = "step-audio", seed: int = 0) -> Model:
    item = voxzoo.entry(name)
    return random_model(item, {**item.config, **item.tiny}, seed)


def noise(samples: int, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    swell = np.abs(np.arange(samples) % 9000 - 4500) / 4500
    return Audio((0.2 * rng.standard_normal(samples) * swell).clip(-1, 1).astype(np.float32), 16000)


def streamed(model: Model, clip: Audio, step: int, streams: int | None = None) -> Tokens:
    with model.stream_encoder(streams=streams) as stream:
        return Tokens.concatenate(
            [stream.push(clip.samples[i : i + step]) for i in range(0, len(clip), step)] + [stream.finish()]
        )


def equal(a: Tokens, b: Tokens) -> bool:
    return len(a.codes) == len(b.codes) and all(torch.equal(x, y) for x, y in zip(a.codes, b.codes, strict=True))


# ---------------------------------------------------------------- against the published code
def test_linguistic_codes_are_the_published_ones(maker: ModuleType, folder: Path) -> None:
    (folder / "speech_tokenizer_v1.onnx").unlink()
    model = voxzoo.load("step-audio-linguistic", weights=folder)
    clips = [Audio(maker.sound(samples), 16000) for samples in maker.LENGTHS]
    together = model.encode(clips)
    for i, (clip, samples) in enumerate(zip(clips, maker.LENGTHS, strict=True)):
        wanted = GOLDEN[f"codes.{samples}"].long()[None]
        assert torch.equal(model.encode(clip).codes[0], wanted), samples
        assert torch.equal(together[i].codes[0], wanted), samples
        assert torch.equal(streamed(model, clip, 1000).codes[0], wanted), samples
    assert len(GOLDEN["codes.48001"].unique()) > 10


def test_vectors_are_the_published_ones(maker: ModuleType, folder: Path) -> None:
    network: Any = voxzoo.load("step-audio-linguistic", weights=folder).network
    stacks = network.whole(torch.from_numpy(maker.sound(20000))[None])
    with torch.no_grad():
        vectors, _ = network.encoder(stacks, torch.tensor([stacks.shape[1]]))
    assert (vectors[0] - GOLDEN["vectors.20000"]).abs().max() <= 1e-5


def published_count(samples: int) -> int:
    """Tokens that FunASR's streaming front end makes, by its own bookkeeping, chunk by chunk."""
    made, held, kept = 0, 0, None  # samples held, frames of 10 ms kept
    chunks = samples // 3840 + 1
    for i in range(chunks):
        part = min(3840, samples - 3840 * i)
        if i == chunks - 1 and not part:
            break
        held += part
        frames = 0 if held < 400 else (held - 400) // 160 + 1
        held -= 160 * frames
        kept = 3 if kept is None and frames else kept
        if not frames or frames + (kept or 0) < 7:
            break
        total = frames + (kept or 0)
        made += math.ceil((total - 3) / 6)
        kept = total - 24
    return made


def test_the_length_law_is_the_published_one_where_that_gives_a_token() -> None:
    for samples in [*range(1, 12_000), *range(CUT - 3000, CUT + 3000, 7), 57_600_000, 57_600_879, 57_600_880]:
        assert half.tokens(samples) == max(1, published_count(samples)), samples
    network = half.Linguistic(half.complete(voxzoo.entry("step-audio-linguistic").tiny))
    for samples in [1, 399, 400, 879, *range(880, 9000, 61), 3839, 3840, 4719, 4720]:
        assert network.whole(torch.zeros(1, samples)).shape[1] == half.tokens(samples), samples


def test_a_clip_too_short_for_a_token_is_completed_with_zeros() -> None:
    model = tiny("step-audio-linguistic")
    clip = noise(300)
    longer = Audio(np.pad(clip.samples, (0, 580)), 16000)
    assert equal(model.encode(clip), replaced(model.encode(longer), 300))
    assert equal(streamed(model, clip, 7), model.encode(clip))


def replaced(tokens: Tokens, samples: int) -> Tokens:
    return Tokens(tokens.codes, np.array([samples]), tokens.facts, tokens.fingerprint)


# ---------------------------------------------------------------- both halves
def test_both_streams_are_those_of_the_halves_alone(folder: Path) -> None:
    dual = voxzoo.load("step-audio", weights=folder)
    halves = voxzoo.load("step-audio-linguistic", weights=folder), voxzoo.load("s3-v1-25hz", weights=folder)
    assert dual.facts.kind == "dual"
    assert dual.facts.codebook_sizes == (256, 300)
    clips = [noise(samples, samples) for samples in (52_000, 1, 30_001, 50_007)]
    together = dual.encode(clips)
    for i, clip in enumerate(clips):
        assert equal(together[i], dual.encode(clip))
        for codes, model in zip(dual.encode(clip).codes, halves, strict=True):
            assert torch.equal(codes, model.encode(clip).codes[0])
    assert equal(dual.encode(clips[0], streams=1), halves[0].encode(clips[0]))
    assert min(len(codes.unique()) for codes in together.codes) > 10


def test_the_linguistic_stream_of_any_length_is_exact() -> None:
    model = tiny()
    model.window = 2.0  # type: ignore[misc]
    clip = noise(7 * 16000 + 4321)
    by_windows = model.encode(clip, streams=1)
    model.window = 30.0  # type: ignore[misc]
    assert torch.equal(by_windows.codes[0], model.encode(clip, streams=1).codes[0])
    for step in (333, 3840, 50_000):
        assert equal(streamed(model, clip, step, streams=1), by_windows), step


def test_its_tokens_come_with_the_last_sample_of_their_chunk() -> None:
    with tiny("step-audio-linguistic").stream_encoder() as stream:
        clip = noise(3 * 3840 + 100).samples
        counts = [stream.push(part).codes[0].shape[1] for part in (clip[:3839], clip[3839:3840], clip[3840 : 3 * 3840])]
        assert counts == [0, 4, 8]
        assert stream.push(clip[3 * 3840 :]).codes[0].shape[1] == 0
        assert stream.finish().codes[0].shape[1] == 0


def test_the_semantic_stream_of_a_long_clip_by_windows() -> None:
    model: Any = tiny()
    clip = noise(55 * 16000 + 77)
    tokens = model.encode(clip)
    assert tuple(codes.shape[1] for codes in tokens.codes) == model.frames(len(clip))
    assert torch.equal(tokens.codes[1], streamed(model.semantic, clip, 44_444).codes[0])
    assert equal(streamed(model, clip, 100_001), tokens)


@pytest.mark.parametrize("rest", [0, 1, 479, 480, 481, 17_003])
def test_the_semantic_stream_of_a_long_clip_by_cuts(rest: int) -> None:
    model: Any = tiny()
    model.long = "cuts"
    clip = noise(2 * CUT + rest, rest)
    tokens = model.encode(clip)
    parts = [clip.samples[i : i + CUT] for i in range(0, len(clip), CUT)]
    wanted = [model.semantic.encode(Audio(part, 16000)).codes[0] for part in parts if len(part) >= 480]
    assert torch.equal(tokens.codes[1], torch.cat(wanted, 1))
    assert tuple(codes.shape[1] for codes in tokens.codes) == model.frames(len(clip))
    assert equal(streamed(model, clip, CUT - 1), tokens)
    assert tokens.codes[1].shape[1] == 1500 + (math.ceil(rest // 160 / 4) if rest >= 480 else 0)


def test_a_short_clip_is_the_same_in_both_ways() -> None:
    windows, cuts = tiny(), tiny()
    cuts.long = "cuts"  # type: ignore[attr-defined]
    for samples in (1, 300, 50_000, CUT):
        assert cuts.frames(samples) == windows.frames(samples)
        assert equal(windows.encode(noise(samples)), cuts.encode(noise(samples)))
        assert equal(streamed(cuts, noise(samples), 33_333), cuts.encode(noise(samples)))
    with pytest.raises(ModelError, match="long='whole'; expected 'windows', or 'cuts'"):
        cuts.long = "whole"  # type: ignore[attr-defined]


def test_codes_follow_real_speech() -> None:
    tokens = tiny().encode(ROOT / "bundled" / "demo" / "speech.wav")
    first, second = (codes[0].tolist() for codes in tokens.codes)
    assert abs(len(second) / len(first) - 1.5) < 0.05
    assert len(set(first)) > 10
    assert len(set(second)) > 10
    ids = interleave(first, second)
    assert deinterleave(ids) == (first[: len(ids) // 5 * 2], second[: len(ids) // 5 * 3])


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("step-audio", "step-audio has no decoder of its own, and the weights of step-audio-flow and step-audio-hift"),
        ("step-audio-linguistic", "step-audio-linguistic has no decoder: .*flow-matching"),
    ],
)
def test_it_says_what_decoding_would_need(name: str, needed: str) -> None:
    model = tiny(name)
    with pytest.raises(NotDecodableError, match=needed):
        model.decode(model.encode(noise(3000)))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"acoustic": {}}, "no configuration 'acoustic'"),
        ({"linguistic": 4}, "got linguistic 4"),
        ({"linguistic": {"clusters": 0}}, "clusters 0"),
        ({"linguistic": {"width": 3}}, "no configuration 'width'"),
        ({"linguistic": {"mels": 9, "num_blocks": 0}}, "num_blocks 0"),
        ({"semantic": {"version": "v2"}}, "S3 v2, not v1-25hz"),
        ({"semantic": {"sample_rate": 8000, "n_fft": 200, "hop": 80}}, "differ in sample rate"),
    ],
)
def test_configurations_that_make_no_tokenizer_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        StepAudio.build(config)


# ---------------------------------------------------------------- files
def test_it_is_recognised(folder: Path, tmp_path: Path) -> None:
    assert StepAudio.recognises(folder)
    assert not StepAudioLinguistic.recognises(folder)
    model = voxzoo.load("step-audio", weights=folder)
    model.save(tmp_path / "mine")
    assert voxzoo.load(tmp_path / "mine").fingerprint == model.fingerprint
    (folder / "speech_tokenizer_v1.onnx").unlink()
    assert not StepAudio.recognises(folder)
    assert voxzoo.load(folder).facts.name == "step-audio-linguistic"
    assert not StepAudioLinguistic.recognises(tmp_path)


def test_files_that_lie_side_by_side_are_found(folder: Path) -> None:
    before = voxzoo.load("step-audio", weights=folder).fingerprint
    for name in ("model.pt", "am.mvn"):
        (folder / PARAFORMER / name).rename(folder / name)
    (folder / PARAFORMER).rmdir()
    assert voxzoo.load("step-audio", weights=folder).fingerprint == before


def test_a_checkpoint_of_something_else_is_refused(folder: Path) -> None:
    path = folder / PARAFORMER / "model.pt"
    state = torch.load(path, weights_only=True)

    def refused(changed: Any, message: str) -> None:
        torch.save(changed, path)
        with pytest.raises(WeightsError, match=message):
            voxzoo.load("step-audio-linguistic", weights=folder)

    key = "encoder.encoders.1.self_attn.fsmn_block.weight"
    refused({k: v for k, v in state.items() if k != key}, r"encoders\.1\.self_attn\.fsmn_block\.weight")
    refused({**state, "encoder.encoders.2.norm3.weight": torch.ones(32)}, r"encoders\.2\.norm3\.weight")
    refused({**state, key: torch.full((32, 1, 11), torch.nan)}, "NaN")
    refused({"decoder.embed.0.weight": torch.zeros(2)}, "holds no encoder of FunASR")
    refused({**state, "encoder.encoders0.0.norm1.weight": torch.ones(561)}, "561 channels; expected stacks of 7")
    path.write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(WeightsError, match=r"refused|damaged"):
        voxzoo.load("step-audio-linguistic", weights=folder)
    path.unlink()
    with pytest.raises(WeightsError, match=r"model\.pt' does not exist"):
        voxzoo.load("step-audio-linguistic", weights=folder)


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("code of the checkpoint was run",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no <AddShift>"),
        ("<AddShift> 560 560\n<LearnRateCoef> 0 [ 1 2 ]", "no <Rescale>"),
        ("<AddShift> 2 2\n<LearnRateCoef> 0 [ 1 2 ]\n<Rescale> 2 2\n<LearnRateCoef> 0 [ one ]", "no <Rescale>"),
        ("<AddShift> 2 2\n<LearnRateCoef> 0 [ 1 2 ]\n<Rescale> 2 2\n<LearnRateCoef> 0 [ 1 ]", "2 numbers to add and 1"),
        ("<AddShift> 2 2\n<LearnRateCoef> 0 [ 1 2 ]\n<Rescale> 2 2\n<LearnRateCoef> 0 [ 1 1 ]", "is for 2 channels"),
    ],
)
def test_a_normalisation_of_another_form_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / PARAFORMER / "am.mvn").write_text(text)
    with pytest.raises(WeightsError, match=message):
        voxzoo.load("step-audio-linguistic", weights=folder)


def test_centres_of_another_form_are_refused(folder: Path) -> None:
    path = folder / "linguistic_tokenizer.npy"
    np.save(path, np.zeros((256, 31), np.float32))
    with pytest.raises(WeightsError, match="centres of 31 channels; the encoder beside them has 32"):
        voxzoo.load("step-audio-linguistic", weights=folder)
    for wrong in (np.zeros(32, np.float32), np.zeros((256, 32), np.int64), np.zeros((0, 32), np.float32)):
        np.save(path, wrong)
        with pytest.raises(WeightsError, match="does not hold a table of centres"):
            voxzoo.load("step-audio-linguistic", weights=folder)
    np.save(path, np.array([Hostile()]), allow_pickle=True)
    with pytest.raises(WeightsError, match=r"no readable \.npy file"):
        voxzoo.load("step-audio-linguistic", weights=folder)
    path.write_bytes(b"\x93NUMPY")
    with pytest.raises(WeightsError, match=r"no readable \.npy file"):
        voxzoo.load("step-audio-linguistic", weights=folder)


def test_the_other_file_of_the_same_name_is_refused(folder: Path) -> None:
    path = folder / "speech_tokenizer_v1.onnx"
    s3_files.write(path, "v1", s3_files.weights("v1", {"dim": 128, "hidden": 192, "codes": 300}))
    with pytest.raises(WeightsError, match="holds S3 v1; Step-Audio has v1 at 25 Hz"):
        voxzoo.load("step-audio", weights=folder)
    path.unlink()
    with pytest.raises(WeightsError, match=r"lacks speech_tokenizer_v1\.onnx"):
        voxzoo.load("step-audio", weights=folder)


# ---------------------------------------------------------------- ids
FIRST = st.lists(st.integers(0, 1023), max_size=40)
SECOND = st.lists(st.integers(0, 4095), max_size=60)


@given(FIRST, SECOND, st.booleans(), st.sampled_from([0, OFFSET, 12345]))
def test_ids_go_there_and_back(first: list[int], second: list[int], rest: bool, offset: int) -> None:
    ids = interleave(first, second, offset, rest)
    groups = min(len(first) // 2, len(second) // 3)
    kept = (first, second) if rest else (first[: 2 * groups], second[: 3 * groups])
    assert len(ids) == len(kept[0]) + len(kept[1])
    assert deinterleave(ids, offset) == kept
    assert from_text(to_text(first, second, rest)) == kept
    for i in range(5 * groups):
        assert (ids[i] - offset < 1024) == (i % 5 < 2)


@given(st.lists(st.integers(OFFSET, OFFSET + 5119), max_size=12))
def test_a_sequence_is_taken_apart_or_refused(ids: list[int]) -> None:
    try:
        streams = deinterleave(ids)
    except TokensError:
        return
    assert interleave(*streams, rest=True) == ids


def test_ids_are_the_published_ones() -> None:
    assert interleave([5, 7, 1023], [0, 4095, 6, 9]) == [65541, 65543, 66560, 70655, 66566]
    assert interleave(torch.tensor([5, 7]), np.array([1, 2, 3])) == [65541, 65543, 66561, 66562, 66563]  # type: ignore[arg-type]
    assert to_text([5, 7, 9], [0, 4095, 6]) == "<audio_5><audio_7><audio_1024><audio_5119><audio_1030>"
    assert interleave([], []) == []
    assert from_text("") == ([], [])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interleave([1024, 0], [0, 0, 0]), "linguistic code 1024 is none; expected 0 to 1023"),
        (lambda: interleave([0, 0], [0, 0, -1]), "semantic code -1"),
        (lambda: deinterleave([OFFSET - 1]), "id 65535 at place 0 is no audio token of Step-Audio; expected 65536 to 70655"),
        (lambda: deinterleave([OFFSET + 5120]), "id 70656"),
        (lambda: deinterleave([OFFSET, OFFSET + 1024, OFFSET, OFFSET + 1024, OFFSET + 1024]), "not in groups of 2"),
        (lambda: from_text("<audio_1> <audio_2>"), "nothing between"),
        (lambda: from_text("<audio_9999>"), "id 9999"),
    ],
)
def test_ids_that_are_none_are_refused(call: Any, message: str) -> None:
    with pytest.raises(TokensError, match=message):
        call()


# ---------------------------------------------------------------- what the script does to sound
def trimmed(wav: np.ndarray) -> np.ndarray:
    """The published recipe, on librosa."""
    librosa = pytest.importorskip("librosa")
    _, (start, stop) = librosa.effects.trim(wav, top_db=20, frame_length=512, hop_length=128)
    out = np.pad(wav, (800, 6000))[start:]  # from 0.05 s before
    length = math.ceil((stop - start) / 240) * 240 + int(0.27 * 16000)
    end = len(wav) + 800 - start  # in `out`, of the clip
    return np.pad(out[: min(length, end)], (0, max(0, length - end)))


@pytest.mark.parametrize(("before", "after"), [(0, 0), (300, 100), (800, 3520), (5000, 9000)])
def test_silence_is_trimmed_as_published(before: int, after: int) -> None:
    rng = np.random.default_rng(before)
    levels = [(1e-4, before), (0.1, 20_111), (1e-4, after)]
    wav = np.concatenate([level * rng.standard_normal(samples) for level, samples in levels])
    audio = Audio(wav.astype(np.float32), 16000)
    plain, short = prepare(audio), prepare(audio, trim=True)
    assert np.abs(plain.samples).max() == pytest.approx(0.999, abs=1e-6)
    assert len(plain) == len(audio)
    assert np.array_equal(short.samples, trimmed(plain.samples))


def test_sound_is_prepared_at_any_rate_and_level() -> None:
    assert len(prepare(Audio(noise(4800).samples, 48000))) == 1600
    assert np.abs(prepare(Audio(np.full(100, 1e-3, np.float32), 16000)).samples - 0.0999).max() < 1e-6
    silent = prepare(Audio(np.zeros(1000, np.float32), 16000), trim=True)
    assert not silent.samples.any()
    assert prepare(Audio(np.ones(1, np.float32), 16000), trim=True).samples.max() == pytest.approx(0.999)
    assert tiny().encode(prepare(Audio.read(ROOT / "bundled" / "demo" / "speech.wav"), trim=True)).codes[0].shape[1] > 50


# ---------------------------------------------------------------- at real size
@pytest.mark.slow
def test_it_works_at_real_size() -> None:
    model = voxzoo.load("step-audio-linguistic", weights="random")
    assert model.facts == voxzoo.entry("step-audio-linguistic").facts
    clip = Audio.read(ROOT / "bundled" / "demo" / "speech.wav", 16000)
    tokens = model.encode(clip)
    assert len(tokens.codes[0].unique()) > 20
    assert equal(model.encode([clip, noise(4000)])[0], tokens)
    assert equal(streamed(model, clip, 30_000), tokens)
