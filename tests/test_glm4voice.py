"""GLM-4-Voice's tokenizer against a second implementation and transformers' parts; its published form; segments and blocks."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any
from unittest import mock

import conformance
import glm4voice_reference as reference
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import voxzoo
from voxzoo import Audio, ModelError, Tokens, WeightsError
from voxzoo.core.loading import random_model
from voxzoo.tokenizers._glm4voice import Network
from voxzoo.tokenizers.glm4voice import Glm4Voice

ITEM = voxzoo.entry("glm4voice")
TINY: dict[str, Any] = {**ITEM.config, **ITEM.tiny}
# Positions for two and a half blocks of four tokens, as the published ones are for seven and a half.
SHORT: dict[str, Any] = {**TINY, "max_source_positions": 40, "quantize_causal_block_size": 16}
TOKEN, BLOCK, SEGMENT = 128, 512, 1280  # samples, of SHORT
AHEAD = 4  # samples: half a window of 40, less a hop of 16
MODES = ["segment", "running"]
LENGTHS = [1, TOKEN - 1, TOKEN, TOKEN + 1, BLOCK - 1, BLOCK, BLOCK + AHEAD, 777, SEGMENT, SEGMENT + 1, 2 * SEGMENT + BLOCK + 99]


def made(config: dict[str, Any], mode: str = "segment") -> Glm4Voice:
    model = random_model(ITEM, config)
    assert isinstance(model, Glm4Voice)
    model.normalisation = mode
    return model


def sharp(mode: str = "segment") -> Glm4Voice:
    """One of SHORT whose codewords lie where sounds do, so that little is needed to change a code."""
    model = Glm4Voice(ITEM.facts, SHORT, sharp_network())
    model.normalisation = mode
    return model


@functools.cache
def sharp_network() -> Network:
    model = made(SHORT)
    network, seen = model.network, list[Tensor]()
    with mock.patch.object(network, "search", lambda x: seen.append(x) or torch.zeros(x.shape[:2], dtype=torch.int64)):
        for seed in range(80):
            model.encode(sound(SEGMENT, seed))
    found = torch.cat(seen, 1)[0]
    generator = torch.Generator().manual_seed(0)
    rows = found[torch.randperm(len(found), generator=generator)[: len(network.codebook.weight)]]
    network.codebook.weight.copy_(rows + 0.02 * torch.randn(rows.shape, generator=generator))
    return network


def sound(samples: int, seed: int = 0) -> Audio:
    """Noise that swells by 100 dB: every block is louder than those before it, and the first sound is lost below the last."""
    rng = np.random.default_rng(seed)
    return Audio((rng.standard_normal(samples) * 10 ** np.linspace(-5, 0, samples)).astype(np.float32), 1600)


def codes(model: Glm4Voice, clip: Audio | np.ndarray) -> list[int]:
    clip = clip if isinstance(clip, Audio) else Audio(clip, model.facts.sample_rate)
    return model.encode(clip).codes[0][0].tolist()


def weights(model: Glm4Voice) -> dict[str, np.ndarray]:
    return {key: value.numpy() for key, value in model.network.state_dict().items()}


# ---------------------------------------------------------------- against the specification, done plainly
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("samples", LENGTHS)
def test_codes_are_those_of_the_plain_implementation(samples: int, mode: str) -> None:
    model = sharp(mode)
    clip = sound(samples, samples)
    assert codes(model, clip) == reference.tokens(weights(model), SHORT, clip.samples, mode == "running")


def test_the_comparison_could_fail() -> None:
    model = sharp()
    clip = sound(SEGMENT)
    right = codes(model, clip)
    assert len(set(right)) > 7
    for change in ({"quantize_causal_block_size": 8}, {"pooling_kernel_size": 2}, {"quantize_position": 1}, {"n_fft": 32}):
        assert reference.tokens(weights(model), {**SHORT, **change}, clip.samples) != right, change
    assert reference.tokens(weights(model), SHORT, clip.samples, running=True) != right


def test_codes_are_those_of_transformers_parts(transformers: Any) -> None:
    """Its feature extractor, as the published script calls it, and its encoder layers under the specified mask."""
    config = {**ITEM.config, "d_model": 32, "encoder_attention_heads": 2, "encoder_ffn_dim": 64, "quantize_position": 3}
    config |= {"num_mel_bins": 80, "quantize_causal_block_size": 40, "quantize_vocab_size": 512}
    model = made(config)
    extractor = transformers.WhisperFeatureExtractor(feature_size=80)
    for samples in (1, 1280, 12_799, 40_001):
        wav = (0.1 * np.random.default_rng(samples).standard_normal(samples)).astype(np.float32)
        asked = {"sampling_rate": 16000, "return_attention_mask": True, "return_tensors": "pt"}
        found = extractor(wav, padding="longest", pad_to_multiple_of=1280, **asked)
        assert codes(model, wav) == theirs(model, found["input_features"], found["attention_mask"][:, ::2].bool()), samples


def theirs(model: Glm4Voice, mel: Tensor, valid: Tensor) -> list[int]:
    from transformers.models.whisper.configuration_whisper import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoderLayer

    state, block = model.network.state_dict(), model.config["quantize_causal_block_size"]
    config = WhisperConfig(
        d_model=model.config["d_model"],
        encoder_attention_heads=model.config["encoder_attention_heads"],
        encoder_ffn_dim=model.config["encoder_ffn_dim"],
        attn_implementation="eager",
    )
    x = mel
    for name, stride in (("conv1", 1), ("conv2", 2)):
        x = torch.nn.functional.pad(x, (2, 0))
        x = torch.nn.functional.gelu(torch.nn.functional.conv1d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride))
    x = x.transpose(1, 2)
    x = x + state["embed_positions.weight"][: x.shape[1]]
    i, j = torch.meshgrid(torch.arange(x.shape[1]), torch.arange(x.shape[1]), indexing="ij")
    mask = ((j <= i) | (j // block == i // block)) & valid[0]
    mask = torch.where(mask, 0.0, torch.finfo(torch.float32).min)[None, None]
    for n in range(model.config["quantize_position"]):
        layer = WhisperEncoderLayer(config).eval()
        prefix = f"layers.{n}."
        layer.load_state_dict({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
        with torch.no_grad():
            out = layer(x, mask)
        x = out[0] if isinstance(out, tuple) else out
    pooled = x[0].unflatten(0, (-1, 4)).mean(1)
    return torch.cdist(pooled, state["codebook.weight"], compute_mode="donot_use_mm_for_euclid_dist").argmin(1).tolist()


# ---------------------------------------------------------------- lengths and batches
def test_every_length_has_as_many_tokens_as_it_takes() -> None:
    model = sharp()
    for n in [*range(1, TOKEN + 2), 2 * TOKEN, 2 * TOKEN + 1, *range(SEGMENT - 1, SEGMENT + 3), 5 * SEGMENT - 1]:
        assert len(codes(model, sound(n))) == -(-n // TOKEN) == model.frames(n)[0], n


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_of_any_lengths_gives_what_each_clip_gives(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = sharp(mode)
    clips = [sound(n, n) for n in (1, 5 * TOKEN, 3 * SEGMENT + 700, 5 * TOKEN - 3, SEGMENT, 900, 2 * SEGMENT + 1)]
    alone = [codes(model, clip) for clip in clips]
    monkeypatch.setattr("voxzoo.core.batches.PADDED", 1000.0)  # all in one batch, as on a GPU
    for limit in (1, 50, 12_000):  # frames at once
        monkeypatch.setattr("voxzoo.tokenizers.glm4voice.AT_ONCE", limit)
        together = model.encode(clips)
        assert [together[i].codes[0][0].tolist() for i in range(len(clips))] == alone
    assert len({tuple(row) for row in alone}) == len(alone)


def test_batches_are_bounded() -> None:
    model = made(ITEM.config | ITEM.tiny)
    lengths = [48_000] * 20 + [100] * 3
    batches = model._batches(lengths)
    assert sorted(i for batch in batches for i in batch) == list(range(23))
    assert [len(batch) for batch in batches] == [3, 8, 8, 4]


# ---------------------------------------------------------------- segments and blocks
@pytest.mark.parametrize("mode", MODES)
def test_segments_know_nothing_of_each_other(mode: str) -> None:
    model = sharp(mode)
    clip = sound(2 * SEGMENT + 300)
    parts = [codes(model, clip.samples[i : i + SEGMENT]) for i in range(0, len(clip), SEGMENT)]
    assert codes(model, clip) == [code for part in parts for code in part]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("samples", LENGTHS)
def test_a_stream_gives_the_tokens_of_the_whole_clip_however_it_is_pushed(samples: int, mode: str) -> None:
    model = sharp(mode)
    clip = sound(samples, samples)
    right = codes(model, clip)
    for step in (1, 17, AHEAD, BLOCK - 1, BLOCK, SEGMENT + 1, samples):
        if samples // step > 500:
            continue
        joined = Tokens.concatenate(conformance.streamed(model, clip, step))
        assert joined.codes[0][0].tolist() == right, step
        assert joined.lengths.tolist() == [samples]


def test_a_block_comes_as_soon_as_its_last_window_is_full() -> None:
    model = sharp("running")
    clip = sound(SEGMENT + 2 * BLOCK).samples
    with model.stream_encoder() as stream:
        given = [stream.push(clip[i : i + 1]).codes[0].shape[1] for i in range(len(clip))]
    arrivals = {i + 1: n for i, n in enumerate(given) if n}
    ends = {BLOCK + AHEAD: 4, 2 * BLOCK + AHEAD: 4, SEGMENT: 2, SEGMENT + BLOCK + AHEAD: 4}  # a segment's end needs no more
    assert arrivals == ends
    assert model.facts.latency == (BLOCK + AHEAD) / 1600


def test_no_sound_is_encoded_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    model = sharp("running")
    seen = []
    inner = model.network.layers[0].forward
    monkeypatch.setattr(model.network.layers[0], "forward", lambda x, attend: seen.append(x.shape[1]) or inner(x, attend))
    conformance.streamed(model, sound(2 * SEGMENT), 100)
    assert seen == [16, 16, 8] * 2  # frames


def test_what_comes_later_moves_earlier_tokens_as_published_but_not_running() -> None:
    clip = sound(2 * BLOCK).samples
    for mode, moved in (("segment", True), ("running", False)):
        model = sharp(mode)
        first = codes(model, clip[: BLOCK + AHEAD])[:4]
        assert (codes(model, clip)[:4] != first) == moved, mode


def test_both_ways_are_one_where_the_first_block_is_the_loudest() -> None:
    clip = np.ascontiguousarray(sound(SEGMENT).samples[::-1])
    assert codes(sharp("segment"), clip) == codes(sharp("running"), clip)


@pytest.mark.parametrize("law", conformance.CHECKS)
def test_laws_when_running(law: str) -> None:
    conformance.CHECKS[law](made(TINY, "running"))


def test_a_way_to_normalise_that_is_none_is_refused() -> None:
    model = sharp()
    with pytest.raises(ModelError, match="normalisation='block'; expected 'segment', as published, or 'running'"):
        model.normalisation = "block"
    assert model.normalisation == "segment"
    assert model.facts.latency == SEGMENT / 1600


# ---------------------------------------------------------------- published form
def publish(folder: Path, model: Glm4Voice, prefix: str = "", **changes: Any) -> Path:
    """As the weights are published, alone or within a whole Whisper."""
    folder.mkdir(exist_ok=True)
    front = ("sampling_rate", "n_fft", "hop_length")
    config = {key: value for key, value in model.config.items() if key not in front}
    config |= {"model_type": "whisper", "architectures": ["WhisperVQEncoder"], "encoder_layers": 4, "quantize_ema_decay": 0.99}
    config |= {"encoder_causal_convolution": True, "encoder_causal_attention": False, "quantize_causal_encoder": False}
    config |= {"pooling_position": config["quantize_position"], "pooling_type": "avg", "activation_function": "gelu", **changes}
    (folder / "config.json").write_text(json.dumps(config))
    extractor = {key: model.config[key] for key in front} | {"feature_size": model.config["num_mel_bins"], "chunk_length": 30}
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor))
    state = {key: value.clone() for key, value in model.network.state_dict().items()}
    state |= {"ema_count": torch.ones(256), "ema_weight": state["codebook.weight"].clone()}
    if prefix:
        state |= {"layer_norm.weight": torch.ones(16), "layers.2.fc1.weight": torch.ones(3)}
    state = {f"{prefix}{key}": value for key, value in state.items()}
    if prefix:
        state |= {"model.decoder.embed_tokens.weight": torch.ones(2), "proj_out.weight": torch.ones(2)}
    save_file(state, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("prefix", ["", "model.encoder."])
def test_the_published_folder_is_recognised_and_read(prefix: str, tmp_path: Path) -> None:
    model = made(TINY)
    folder = publish(tmp_path / "theirs", model, prefix)
    assert Glm4Voice.recognises(folder)
    assert not Glm4Voice.recognises(tmp_path)
    for again in (voxzoo.load(folder), voxzoo.load("glm4voice", weights=folder)):
        assert again.fingerprint == model.fingerprint
        assert again.config == TINY
        assert again.facts.name == "glm4voice"
    model.save(tmp_path / "mine")
    assert voxzoo.load(tmp_path / "mine").fingerprint == model.fingerprint


def test_files_in_parts_and_half_precision_are_read(tmp_path: Path) -> None:
    folder = publish(tmp_path, made(TINY))
    state = {key: value.bfloat16() for key, value in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    files = {key: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, key in enumerate(sorted(state))}
    for name in set(files.values()):
        save_file({key: state[key] for key, file in files.items() if file == name}, folder / name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    model = voxzoo.load(folder)
    assert all(value.dtype == torch.float32 for value in model.network.state_dict().values())
    assert model.encode(sound(1000)).codes[0].shape == (1, 8)


@pytest.mark.parametrize("prefix", ["", "model.encoder."])
def test_weights_that_do_not_fit_are_refused(prefix: str, tmp_path: Path) -> None:
    file = publish(tmp_path, made(TINY), prefix) / "model.safetensors"
    state = load_file(file)
    save_file({key: value for key, value in state.items() if not key.endswith("layers.1.fc2.bias")}, file)
    with pytest.raises(WeightsError, match=r'Missing key.*"layers\.1\.fc2\.bias"'):
        voxzoo.load(tmp_path)
    save_file({**state, f"{prefix}layers.0.adapter.weight": torch.ones(2)}, file)
    with pytest.raises(WeightsError, match=r'Unexpected key.*"layers\.0\.adapter\.weight"'):
        voxzoo.load(tmp_path)
    save_file({**state, "classifier.weight": torch.ones(2)}, file)
    with pytest.raises(WeightsError, match=r'Unexpected key.*"classifier\.weight"'):
        voxzoo.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder_causal_convolution": False}, "encoder_causal_convolution False; GLM-4-Voice has True"),
        ({"encoder_causal_attention": True}, "encoder_causal_attention True"),
        ({"pooling_type": "max"}, "pooling_type 'max'"),
        ({"pooling_position": 1}, "pooling_position 1; GLM-4-Voice has 2"),
        ({"num_mel_bins": 12}, "feature_size 10, config.json 12"),
        ({"quantize_causal_block_size": None}, "quantize_causal_block_size None; expected a whole number"),
        ({"quantize_causal_block_size": 198}, "quantize_causal_block_size 198; expected whole tokens of 4"),
        ({"d_model": 15}, "d_model 15 for 2 heads"),
    ],
)
def test_configurations_of_another_network_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = publish(tmp_path, made(TINY), **change)
    with pytest.raises(ModelError, match=message):
        voxzoo.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"width": 4}, "'width'"), ({"n_fft": 400}, "too short for its windows"), ({"hop_length": True}, "hop_length True")],
)
def test_configurations_that_make_no_tokenizer_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        made({**TINY, **change})


# ---------------------------------------------------------------- real size
@pytest.mark.slow
def test_real_size() -> None:
    """On speech: the plain implementation's codes, and streams by blocks with the codes of the whole clip."""
    model = made(dict(ITEM.config))
    assert model.facts == ITEM.facts
    demo = Path(voxzoo.__file__).parent / "bundled" / "demo" / "speech.wav"
    speech = Audio.read(demo, 16000)
    short = Audio(speech.samples[: 4 * 16000 + 9000], 16000)
    right = codes(model, short)
    assert len(set(right)) > 15
    assert right == reference.tokens(weights(model), ITEM.config, short.samples)
    clip = Audio(np.concatenate([speech.samples] * 4)[: 31 * 16000], 16000)
    model.normalisation = "running"
    joined = Tokens.concatenate(conformance.streamed(model, clip, 24_000))
    assert joined.codes[0][0].tolist() == codes(model, clip)
    assert joined.codes[0].shape == (1, 388)
