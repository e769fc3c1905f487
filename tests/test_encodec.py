"""EnCodec against transformers' `EncodecModel` and the original package, on random weights in their published forms."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import voxzoo
from voxzoo import Audio, ModelError, Tokens, TokensError, WeightsError
from voxzoo.codecs import _seanet
from voxzoo.codecs.encodec import Encodec24, Encodec48
from voxzoo.core.loading import random_model

KIND_48 = {"use_causal_conv": False, "norm_type": "time_group_norm", "normalize": True, "audio_channels": 2, "overlap": 0.01}
SMALL = {"sampling_rate": 2400, "num_filters": 4, "hidden_size": 8, "upsampling_ratios": [4, 2], "codebook_size": 16}
SMALL_24 = {**SMALL, "target_bandwidths": [1.2, 2.4, 4.8]}
SMALL_48 = {**SMALL, **KIND_48, "target_bandwidths": [1.2, 2.4, 4.8], "chunk_length_s": 0.5}
REAL_48 = {**KIND_48, "sampling_rate": 48000, "target_bandwidths": [3.0, 6.0, 12.0, 24.0], "chunk_length_s": 1.0}


def reference(seed: int = 0, **config: Any) -> Any:
    """transformers' model; its biases, gains and codebooks (all zero there) filled so that it hears its input."""
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(seed)
    model = EncodecModel(EncodecConfig(**config)).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("bias"):
                value.uniform_(-0.05, 0.05)
            if name.endswith("original0"):
                value.mul_(1.5)
        for k, layer in enumerate(model.quantizer.layers):
            layer.codebook.embed.normal_(0, 2 ** (-2 - k / 4))
    return model


def state_of(model: Any) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def old_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The names of the checkpoint on the hub."""
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    return {functools.reduce(lambda k, n: k.replace(*n), names.items(), key): value for key, value in state.items()}


def write(folder: Path, model: Any, state: dict[str, torch.Tensor]) -> Path:
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**model.config.to_dict(), "torch_dtype": "float32"}))
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "model.safetensors")
    return folder


def noise(samples: int, rate: int, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / rate
    level = 0.1 + 0.25 * np.abs(np.sin(2 * np.pi * 1.7 * t + seed))
    return Audio((level * (0.6 * rng.standard_normal(samples) + np.sin(2 * np.pi * rate / 50 * t))).astype(np.float32), rate)


@functools.cache
def tiny(name: str) -> Any:
    item = voxzoo.entry(name)
    return random_model(item, {**item.config, **item.tiny})


def stacked(tokens: Tokens) -> torch.Tensor:
    assert len(tokens) == 1
    return torch.cat(list(tokens.codes))


def equal(a: Tokens, b: Tokens) -> bool:
    return len(a.codes) == len(b.codes) and all(torch.equal(x, y) for x, y in zip(a.codes, b.codes, strict=True))


@torch.no_grad()
def agree_24(ours: Any, model: Any, lengths: list[int]) -> None:
    rate, highest = ours.facts.sample_rate, model.config.target_bandwidths[-1]
    seen = set()
    for n in lengths:
        clip = noise(n, rate, n)
        codes = model.encode(torch.from_numpy(clip.samples)[None, None], bandwidth=highest).audio_codes
        tokens = ours.encode(clip)
        assert torch.equal(stacked(tokens), codes[0, 0]), n
        wav = model.decode(codes, [None]).audio_values[0, 0, :n]
        assert np.abs(ours.decode(tokens).samples - wav.numpy()).max() <= 1e-4, n
        seen |= set(codes[0, 0, 0].tolist())
    assert len(seen) >= 8  # or equality would say little


@torch.no_grad()
def agree_48(ours: Any, model: Any, lengths: list[int]) -> None:
    rate, highest = ours.facts.sample_rate, model.config.target_bandwidths[-1]
    seen = set()
    for n in lengths:
        clip = noise(n, rate, n)
        found = model.encode(torch.from_numpy(clip.samples).expand(1, 2, -1), bandwidth=highest)
        pad = found.last_frame_pad_length
        codes = torch.cat([c[0] for c in found.audio_codes], dim=1)
        codes = codes[:, : codes.shape[1] - pad]
        tokens = ours.encode(clip)
        assert torch.equal(stacked(tokens), codes), n
        seen |= set(codes[0].tolist())
        wav = model.decode(found.audio_codes, found.audio_scales, last_frame_pad_length=pad).audio_values[0, :, :n]
        assert np.abs(ours.decode(tokens).samples - wav.mean(0).numpy()).max() <= 1e-4, n
    assert len(seen) >= 8


# ---------------------------------------------------------------------- parity
def test_24k_equals_transformers(tmp_path: Path) -> None:
    model = reference(**SMALL_24)
    ours = voxzoo.load("encodec-24k", weights=write(tmp_path / "w", model, old_names(state_of(model))))
    agree_24(ours, model, [*range(1, 20), 55, 56, 57, 63, 64, 801, 2405])


def test_48k_equals_transformers(tmp_path: Path) -> None:
    model = reference(**SMALL_48)
    ours = voxzoo.load("encodec-48k", weights=write(tmp_path / "w", model, state_of(model)))
    # segments of 1200 every 1188; lengths just past several steps with a short last segment are those transformers refuses
    agree_48(ours, model, [1, 2, 7, 8, 9, 100, 1187, 1188, 1189, 1190, 1200, 1201, 1300, 2376, 2400, 2405, 5000])


@pytest.mark.slow
def test_real_24k_equals_transformers(tmp_path: Path) -> None:
    model = reference()
    ours = voxzoo.load("encodec-24k", weights=write(tmp_path / "w", model, old_names(state_of(model))))
    agree_24(ours, model, [1, 6, 100, 319, 320, 321, 2239, 2241, 24001])


@pytest.mark.slow
def test_real_48k_equals_transformers(tmp_path: Path) -> None:
    model = reference(**REAL_48)
    ours = voxzoo.load("encodec-48k", weights=write(tmp_path / "w", model, state_of(model)))
    agree_48(ours, model, [1, 320, 1001, 47521, 47600, 48000, 100000])


@pytest.fixture
def original(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The `encodec` package; it imports torchaudio, of which nothing used here is needed."""
    if "torchaudio" not in sys.modules:
        monkeypatch.setitem(sys.modules, "torchaudio", types.ModuleType("torchaudio"))
    return pytest.importorskip("encodec.model")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["encodec-24k", "encodec-48k"])
@pytest.mark.filterwarnings("ignore::FutureWarning")  # the package uses the old weight norm
def test_the_original_checkpoint_loads_and_gives_the_original_codes(name: str, original: Any, tmp_path: Path) -> None:
    khz = name[-3:-1]
    torch.manual_seed(0)
    model = getattr(original.EncodecModel, f"encodec_model_{khz}khz")(pretrained=False).eval()
    with torch.no_grad():
        for k, layer in enumerate(model.quantizer.vq.layers):
            layer._codebook.embed.normal_(0, 2 ** (-3 - k / 4))
            layer._codebook.inited.fill_(1)
        for key, value in model.named_parameters():
            if key.endswith("weight_g"):
                value.mul_(1.5)
    file = tmp_path / "saved"
    torch.save(model.state_dict(), file)
    wrong = file.rename(tmp_path / f"encodec_{khz}khz-0123abcd.th")
    with pytest.raises(WeightsError, match=r"not the 0123abcd\.\.\. of its name"):
        voxzoo.load(name, weights=tmp_path)
    wrong.rename(tmp_path / f"encodec_{khz}khz-{hashlib.sha256(wrong.read_bytes()).hexdigest()[:8]}.th")
    ours = voxzoo.load(name, weights=tmp_path)
    model.set_target_bandwidth(24.0)
    rate = ours.facts.sample_rate
    for n in (1000, 2 * rate - 950 if name == "encodec-48k" else rate + 7):  # at 48 kHz: a length transformers cannot stack
        clip = noise(n, rate)
        with torch.no_grad():
            frames = model.encode(torch.from_numpy(clip.samples).expand(1, model.channels, -1))
            wav = model.decode(frames)[0, :, :n].mean(0)
        tokens = ours.encode(clip)
        assert torch.equal(stacked(tokens), torch.cat([codes[0] for codes, _ in frames], dim=1))
        assert np.abs(ours.decode(tokens).samples - wav.numpy()).max() <= 1e-4


# ---------------------------------------------------------------------- checkpoints
def test_every_published_form_is_the_same_model(tmp_path: Path) -> None:
    model = reference(**SMALL_24)
    state = state_of(model)
    new = voxzoo.load("encodec-24k", weights=write(tmp_path / "new", model, state))
    old = voxzoo.load("encodec-24k", weights=write(tmp_path / "old", model, old_names(state)))
    folder = write(tmp_path / "bin", model, state)
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    pickled = voxzoo.load("encodec-24k", weights=folder)
    new.save(tmp_path / "own")
    assert new.fingerprint == old.fingerprint == pickled.fingerprint == voxzoo.load(tmp_path / "own").fingerprint


def test_a_missing_and_a_strange_key_are_named(tmp_path: Path) -> None:
    model = reference(**SMALL_24)
    state = old_names(state_of(model))
    value = state.pop("encoder.layers.0.conv.weight_g")
    with pytest.raises(WeightsError, match=r"encoder\.layers\.0\.conv\.weight_g"):
        voxzoo.load("encodec-24k", weights=write(tmp_path / "missing", model, state))
    state |= {"encoder.layers.0.conv.weight_g": value, "encoder.extra": value.clone()}
    with pytest.raises(WeightsError, match=r"encoder\.extra"):
        voxzoo.load("encodec-24k", weights=write(tmp_path / "extra", model, state))


def test_folders_that_are_not_this_model_are_refused(tmp_path: Path) -> None:
    small = reference(**SMALL_24)
    folder = write(tmp_path / "w", small, state_of(small))
    with pytest.raises(ModelError, match="encodec-24k"):
        voxzoo.load("encodec-48k", weights=folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"no config\.json and 0"):
        voxzoo.load("encodec-24k", weights=tmp_path / "empty")
    (folder / "config.json").write_text(json.dumps({**small.config.to_dict(), "pad_mode": "constant"}))
    with pytest.raises(WeightsError, match="pad_mode='constant'"):
        voxzoo.load("encodec-24k", weights=folder)
    with pytest.raises(ModelError, match="no setting depth"):
        Encodec24.build({**SMALL_24, "depth": 3})


# ---------------------------------------------------------------------- streams and bandwidths
@pytest.mark.parametrize(
    ("name", "wanted"),
    [("encodec-24k", {1.5: 2, 3.0: 4, 6.0: 8, 12.0: 16, 24.0: 32}), ("encodec-48k", {3.0: 2, 6.0: 4, 12.0: 8, 24.0: 16})],
)
def test_bandwidths_are_those_published(name: str, wanted: dict[float, int]) -> None:
    item = voxzoo.entry(name)
    model = random_model(item, {**item.config, "num_filters": 2, "hidden_size": 4})
    assert model.bandwidths == wanted
    for kbps, streams in wanted.items():
        assert model.facts.bitrate_of(streams) == kbps * 1000


def test_bandwidth_names_a_number_of_streams() -> None:
    model = tiny("encodec-24k")
    clip = noise(200, 2400)
    assert model.bandwidths == {1.2: 1, 2.4: 2, 4.8: 4}
    assert equal(model.encode(clip, bandwidth=2.4), model.encode(clip, streams=2))
    assert equal(model.encode(clip), model.encode(clip, streams=4))
    with pytest.raises(ModelError, match=r"bandwidth=6; encodec-24k has 1\.2, 2\.4, 4\.8 \(kbit/s\)"):
        model.encode(clip, bandwidth=6)
    with pytest.raises(ModelError, match="both given"):
        model.encode(clip, streams=2, bandwidth=2.4)


# ---------------------------------------------------------------------- streaming
def parts_of(model: Any, clip: Audio, step: int, streams: int | None = None) -> list[Tokens]:
    with model.stream_encoder(streams=streams) as stream:
        return [*(stream.push(clip.samples[i : i + step]) for i in range(0, len(clip), step)), stream.finish()]


def sound_of(model: Any, parts: list[Tokens]) -> list[np.ndarray]:
    with model.stream_decoder() as stream:
        return [*(stream.push(part).samples for part in parts), stream.finish().samples]


@pytest.mark.parametrize("samples", [1, 3, 8, 9, 40, 55, 56, 57, 64, 71, 120, 403])
@pytest.mark.parametrize("step", [1, 5, 8, 56, 1000])
def test_24k_streams_give_what_clips_give(samples: int, step: int) -> None:
    model = tiny("encodec-24k")
    clip = noise(samples, 2400, samples)
    whole = model.encode(clip)
    parts = parts_of(model, clip, step)
    assert equal(Tokens.concatenate(parts), whole)
    sound = np.concatenate(sound_of(model, parts))
    assert len(sound) == samples
    assert np.abs(sound - model.decode(whole).samples).max() <= 1e-6


@pytest.mark.parametrize("samples", [[1], [57], [403], [403, 400, 377]])
def test_24k_pieces_change_nothing(samples: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("encodec-24k")
    clips = [noise(n, 2400, n) for n in samples]
    whole = model.encode(clips)
    sounds = model.decode(whole)
    monkeypatch.setattr(_seanet, "PIECE", 1)
    pieces = model.encode(clips)
    assert equal(pieces, whole)
    for a, b in zip(model.decode(pieces), sounds, strict=True):
        assert np.abs(a.samples - b.samples).max() <= 1e-6


def test_24k_starts_after_seven_frames_then_goes_frame_by_frame() -> None:
    model = tiny("encodec-24k")
    clip = noise(10 * 8 + 3, 2400)
    parts = parts_of(model, clip, 8)
    assert [p.codes[0].shape[1] for p in parts] == [0] * 6 + [7, 1, 1, 1, 0, 1]
    assert [len(s) for s in sound_of(model, parts)] == [0] * 6 + [56, 8, 8, 8, 0, 3, 0]


def test_24k_only_prefixes_under_seven_frames_differ() -> None:
    model = tiny("encodec-24k")
    clip = noise(20 * 8, 2400, 3)
    full = stacked(model.encode(clip))
    same = [torch.equal(stacked(model.encode(Audio(clip.samples[: 8 * n], 2400))), full[:, :n]) for n in range(1, 20)]
    assert all(same[6:])
    assert not all(same[:6])


@pytest.mark.parametrize("samples", [1, 1188, 1189, 1200, 1201, 2376, 2377, 2385, 4000])
@pytest.mark.parametrize("step", [97, 1200, 5000])
def test_48k_streams_give_what_clips_give(samples: int, step: int) -> None:
    model = tiny("encodec-48k")
    clip = noise(samples, 2400, samples)
    whole = model.encode(clip)
    parts = parts_of(model, clip, step)
    joined = Tokens.concatenate(parts)
    assert equal(joined, whole)
    assert torch.equal(joined.extras["scales"], whole.extras["scales"])
    assert sum(int(p.lengths[0]) for p in parts) == samples
    sound = np.concatenate(sound_of(model, parts))
    assert len(sound) == samples
    assert np.abs(sound - model.decode(whole).samples).max() <= 1e-6


def test_48k_gives_a_segment_as_soon_as_it_is_whole() -> None:
    model = tiny("encodec-48k")
    parts = parts_of(model, noise(3000, 2400), 600)
    assert [p.codes[0].shape[1] for p in parts] == [0, 150, 0, 150, 0, 78]
    assert [int(p.lengths[0]) for p in parts] == [0, 1200, 0, 1188, 0, 612]
    assert [len(s) for s in sound_of(model, parts)] == [0, 1188, 0, 1188, 0, 0, 624]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["encodec-24k", "encodec-48k"])
def test_real_size_streams_give_what_clips_give(name: str) -> None:
    model = voxzoo.load(name, weights="random")
    clip = noise(int(1.1 * model.facts.sample_rate) + 7, model.facts.sample_rate)
    whole = model.encode(clip, streams=4)
    parts = parts_of(model, clip, 320, streams=4)
    assert equal(Tokens.concatenate(parts), whole)
    assert np.abs(np.concatenate(sound_of(model, parts)) - model.decode(whole).samples).max() <= 1e-5


# ---------------------------------------------------------------------- 48 kHz segments
def test_48k_length_law() -> None:
    model = Encodec48(voxzoo.entry("encodec-48k").facts, SMALL_48, Encodec48.build(SMALL_48))
    for samples, frames in (
        (1, 1),
        (8, 1),
        (9, 2),
        (1188, 149),
        (1189, 150),
        (1192, 150),
        (1200, 152),
        (2376, 299),
        (2377, 300),
    ):
        assert model.frames(samples) == (frames,) * 4, samples
        assert model.encode(noise(samples, 2400)).codes[0].shape[1] == frames


def test_48k_scales_are_the_levels_of_segments() -> None:
    model = tiny("encodec-48k")
    clip = Audio(np.repeat([0.5, 0.25, 0.125], [1188, 1188, 500]).astype(np.float32), 2400)
    scales = model.encode(clip).extras["scales"]
    assert scales.shape == (1, 150 + 150 + 63)
    levels = [float(np.sqrt(np.mean(clip.samples[i : i + 1200] ** 2))) for i in (0, 1188, 2376)]
    assert scales[0].unique_consecutive().tolist() == pytest.approx(levels, abs=1e-6)


def test_48k_tokens_without_their_scales_or_some_frames_are_refused() -> None:
    model = tiny("encodec-48k")
    tokens = model.encode(noise(2500, 2400))
    bare = Tokens(tokens.codes, tokens.lengths, tokens.facts, tokens.fingerprint)
    with pytest.raises(TokensError, match="scales"):
        model.decode(bare)
    short = Tokens([c[:, :150] for c in tokens.codes], tokens.lengths, tokens.facts, tokens.fingerprint,
                   extras={"scales": tokens.extras["scales"][:, :150]})  # fmt: skip
    with model.stream_decoder() as stream:
        stream.push(short)
        with pytest.raises(TokensError, match="damaged"):
            stream.finish()


def test_48k_batches_and_files_keep_each_clips_scales() -> None:
    model = tiny("encodec-48k")
    clips = [noise(n, 2400, n) for n in (3001, 5, 1200, 3001)]
    together = model.encode(clips)
    again = Tokens.load(io.BytesIO(together.to_bytes()))
    for i, (clip, sound) in enumerate(zip(clips, model.decode(again), strict=True)):
        alone = model.encode(clip)
        assert equal(together[i], alone)
        assert torch.equal(together[i].extras["scales"], alone.extras["scales"])
        assert np.array_equal(sound.samples, model.decode(alone).samples)


# ---------------------------------------------------------------------- batches
def test_24k_batches_of_very_unequal_clips() -> None:
    model = tiny("encodec-24k")
    clips = [noise(n, 2400, n) for n in (403, 1, 2, 9, 57, 400, 31)]
    together = model.encode(clips)
    sounds = model.decode(together)
    for i, clip in enumerate(clips):
        alone = model.encode(clip)
        assert equal(together[i], alone), len(clip)
        assert np.abs(sounds[i].samples - model.decode(alone).samples).max() <= 1e-6, len(clip)


def test_long_clips_do_not_depend_on_the_windows() -> None:
    for name in ("encodec-24k", "encodec-48k"):
        model = tiny(name)
        clip = noise(2400 * 21 + 5, 2400)
        tokens = model.encode(clip)
        assert equal(Tokens.concatenate(parts_of(model, clip, 7001)), tokens)
        sound = np.concatenate(sound_of(model, [tokens]))
        assert np.abs(model.decode(tokens).samples - sound).max() <= 1e-6
