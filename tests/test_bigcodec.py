"""BigCodec against the published repository (a golden file), on random weights; its checkpoint, streams and laws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

import voxzoo
from voxzoo import Audio, ModelError, Tokens, WeightsError
from voxzoo.codecs._bigcodec import Activation, kaiser_sinc
from voxzoo.codecs.bigcodec import BigCodec, Contexts
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model

ITEM = voxzoo.entry("bigcodec")
TINY: dict[str, Any] = {**ITEM.config, **ITEM.tiny}
GOLDEN = Path(__file__).parent / "golden" / "bigcodec.safetensors"
LENGTHS = (1, 19, 20, 21, 613)


def sound(samples: int, rate: int = 1600, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / rate
    wav = 0.2 * np.sin(2 * np.pi * rng.uniform(80, rate / 8) * t) + 0.1 * rng.standard_normal(samples)
    return Audio((wav * (0.6 + 0.4 * np.sin(9 * t))).astype(np.float32), rate)


def golden() -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    """The checkpoint, as it is published, and what the published code made of clips."""
    parts: dict[str, dict[str, torch.Tensor]] = {"CodecEnc": {}, "generator": {}}
    data = {}
    for key, value in load_file(GOLDEN).items():
        part, _, rest = key.partition(".")
        if part in parts:
            parts[part][rest] = value
        else:
            data[key] = value
    return parts, data


def published(folder: Path, checkpoint: Any) -> Path:
    folder.mkdir(exist_ok=True)
    torch.save(checkpoint, folder / "bigcodec.pt")
    return folder


# ---------------------------------------------------------------- against the published model
def test_codes_and_sound_are_the_published_ones(tmp_path: Path) -> None:
    checkpoint, data = golden()
    model = voxzoo.load("bigcodec", weights=published(tmp_path, checkpoint))
    for samples in LENGTHS:
        tokens = model.encode(data[f"wav.{samples}"].numpy(), 16000)
        assert torch.equal(tokens.codes[0][0], data[f"codes.{samples}"].long()), samples
        assert np.abs(model.decode(tokens).samples - data[f"sound.{samples}"].numpy()[:samples]).max() <= 1e-5
    assert len(data["codes.613"].unique()) > 8


@pytest.mark.parametrize("size", [1, 2, 3, 5, 40])
def test_the_activation_is_snake_between_two_filters(size: int) -> None:
    """As it reads: doubled by the filter, bent, filtered and halved, the ends going on."""
    torch.manual_seed(size)
    layer = Activation(6)
    torch.nn.init.normal_(layer.alpha, std=0.5)
    torch.nn.init.normal_(layer.beta, std=0.5)
    layer.fold()
    x = torch.randn(2, size, 6)
    taps = kaiser_sinc().expand(6, 1, -1)
    channels_first = F.pad(x.transpose(1, 2), (5, 5), mode="replicate")
    doubled = 2 * F.conv_transpose1d(channels_first, taps, stride=2, groups=6)[..., 15:-15]
    bent = doubled + (doubled * layer.alpha.exp()[:, None]).sin() ** 2 / layer.beta.exp()[:, None]
    halved = F.conv1d(F.pad(bent, (5, 6), mode="replicate"), taps, stride=2, groups=6)
    got = layer(x, 2)
    assert torch.allclose(got[:, 2:-2], halved.transpose(1, 2), atol=2e-6)
    assert not got[:, :2].any()
    assert not got[:, -2:].any()


# ---------------------------------------------------------------- checkpoints
def test_weight_norm_of_either_kind_loads(tmp_path: Path) -> None:
    checkpoint, _ = golden()
    old = voxzoo.load("bigcodec", weights=published(tmp_path / "old", checkpoint))
    old.save(tmp_path / "ours")
    assert voxzoo.load(tmp_path / "ours").fingerprint == old.fingerprint
    assert old.config["encoder_rates"] == [2, 5, 2]
    assert (old.config["latent_dim"], old.config["codebook_size"], old.config["lstm_layers"]) == (16, 64, 2)


def test_a_published_folder_is_recognised(tmp_path: Path) -> None:
    folder = published(tmp_path / "model", golden()[0])
    assert BigCodec.recognises(folder)
    assert not BigCodec.recognises(tmp_path)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    checkpoint, _ = golden()
    with pytest.raises(WeightsError, match=r"bigcodec\.pt.*does not exist"):
        voxzoo.load("bigcodec", weights=tmp_path)
    with pytest.raises(WeightsError, match="no checkpoint of BigCodec: KeyError 'generator'"):
        voxzoo.load("bigcodec", weights=published(tmp_path, {"CodecEnc": checkpoint["CodecEnc"]}))
    with pytest.raises(WeightsError, match="no checkpoint of BigCodec"):
        voxzoo.load("bigcodec", weights=published(tmp_path, [1]))
    part = {**checkpoint, "generator": dict(checkpoint["generator"])}
    del part["generator"]["model.1.lstm.bias_hh_l0"]
    with pytest.raises(WeightsError, match=r"decoder\.model\.1\.lstm\.bias_hh_l0"):
        voxzoo.load("bigcodec", weights=published(tmp_path, part))
    key = "block.1.block.0.block.0.upsample.filter"
    other = {**checkpoint, "CodecEnc": {**checkpoint["CodecEnc"], key: torch.ones(1, 1, 12)}}
    with pytest.raises(WeightsError, match=f"another filter than BigCodec's in 'encoder.{key}'"):
        voxzoo.load("bigcodec", weights=published(tmp_path, other))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 4}, "'width'"),
        ({"lstm_layers": 0}, "lstm_layers 0"),
        ({"encoder_rates": [2, 5]}, "same product"),
        ({"encoder_rates": 20}, "encoder_rates 20"),
        ({"decoder_dim": 12}, "multiple of 8"),
    ],
)
def test_configurations_that_make_no_codec_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        random_model(ITEM, {**TINY, **change})


# ---------------------------------------------------------------- laws
def test_facts_at_real_size() -> None:
    assert round(ITEM.facts.bitrate) == 1040
    with torch.device("meta"):
        network = BigCodec.build(ITEM.config)
    contexts = Contexts.of(network)
    assert ITEM.facts.latency == contexts.waits * 200 / 16000
    assert (contexts.encoder_before.before, contexts.encoder_before.after) == (24, 23)
    assert (contexts.decoder_after.before, contexts.decoder_after.after) == (29, 30)


def whole(model: Model, clip: Audio) -> tuple[torch.Tensor, np.ndarray]:
    """Codes and sound of the network run over a clip at once, however long it is."""
    wav = torch.zeros(1, model._padded(len(clip)))
    wav[0, : len(clip)] = torch.from_numpy(clip.samples)
    with torch.no_grad():
        encoded = model._encode(wav, 1)
        return encoded.codes[0], model._decode(encoded)[0, : len(clip)].numpy()


@pytest.mark.parametrize(("samples", "step"), [(3, 1), (3, 7), (40, 7), (40, 40), (1217, 61), (1217, 700)])
def test_streams_equal_the_whole_clip(samples: int, step: int) -> None:
    model = random_model(ITEM, TINY)
    clip = sound(samples)
    codes, wav = whole(model, clip)
    with model.stream_encoder() as encoder:
        parts = [encoder.push(clip.samples[i : i + step]) for i in range(0, len(clip), step)] + [encoder.finish()]
    with model.stream_decoder() as decoder:
        sounds = [decoder.push(part).samples for part in parts] + [decoder.finish().samples]
    assert torch.equal(Tokens.concatenate(parts).codes[0], codes)
    assert np.abs(np.concatenate(sounds) - wav).max() <= 1e-6
    assert samples < 100 or len(codes.unique()) > 5


def test_a_long_clip_equals_the_network_run_over_all_of_it() -> None:
    model = random_model(ITEM, TINY)
    clip = sound(37 * 1600 + 1)
    codes, wav = whole(model, clip)
    tokens = model.encode(clip)
    assert torch.equal(tokens.codes[0], codes)
    assert np.abs(model.decode(tokens).samples - wav).max() <= 1e-6
