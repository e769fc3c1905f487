"""FocalCodec against the published code (a file its maker wrote) in both forms of its checkpoints; its windows and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conformance import sound
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import voxzoo
from voxzoo import ModelError, Tokens, WeightsError
from voxzoo.codecs import _wavlm, focalcodec
from voxzoo.codecs._focalcodec import DEFAULTS, complete
from voxzoo.codecs._wavlm import Attention, Front, Transformer
from voxzoo.codecs.focalcodec import FocalCodec, renamed
from voxzoo.core.convs import fold
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model

GOLDEN = Path(__file__).parent / "golden" / "focalcodec.safetensors"  # tools/make_focalcodec_golden.py makes it
RATES = ("50hz", "25hz", "12.5hz")
LENGTHS = (1, 19, 29, 30, 31, 49, 50, 51, 613)


def golden(rate: str) -> tuple[dict[str, Any], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Published config, published tensors, and what came in and out."""
    with safe_open(GOLDEN, "pt") as file:
        config = json.loads(file.metadata()[rate])
    tensors = load_file(GOLDEN)
    here = {key.removeprefix(f"{rate}."): value for key, value in tensors.items() if key.startswith(f"{rate}.")}
    weights = {key.removeprefix("weights."): value for key, value in here.items() if key.startswith("weights.")}
    return config, weights, {"wav": tensors["wav"], **here}


def first_version(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors as version 0.0.1 of the package wrote them, and with them the published files."""
    out = {"quantizer.mask": 2 ** torch.arange(5, -1, -1)}
    for end in ("weight", "bias"):
        out[f"encoder.encoder.norm.{end}"] = torch.ones(8)
    for key, value in state.items():
        for part, order in (("compressor", ("downscale", "focal_block")), ("decompressor", ("focal_block", "upscale"))):
            for i, name in enumerate(order):
                for layer in range(3):
                    if key.startswith(start := f"{part}.layers.{layer}.{name}."):
                        key = f"{part}.layers.{layer}.{i}.{key.removeprefix(start)}"
        if "qkv_proj" in key:
            out |= {key.replace("qkv_", f"{letter}_"): third for letter, third in zip("qkv", value.chunk(3), strict=True)}
        else:
            out[key] = value
    return out


def folder(path: Path, config: dict[str, Any], state: dict[str, torch.Tensor]) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    save_file({key: value.clone() for key, value in state.items()}, path / "model.safetensors")
    return path


def tiny(rate: str = "50hz", seed: int = 0) -> Model:
    item = voxzoo.entry(f"focalcodec-{rate}")
    return random_model(item, {**item.config, **item.tiny}, seed)


# ---------------------------------------------------------------- against the published code
@pytest.mark.parametrize("rate", RATES)
def test_codes_and_sound_are_the_published_ones(rate: str, tmp_path: Path) -> None:
    config, state, held = golden(rate)
    model = voxzoo.load(f"focalcodec-{rate}", weights=folder(tmp_path, config, state))
    for length in LENGTHS:
        tokens = model.encode(held["wav"][:length], 16000)
        wanted = held[f"codes.{length}"].long()
        assert torch.equal(tokens.codes[0][0], wanted), length
        decoded, wav = model.decode(tokens).samples, held[f"sound.{length}"].numpy()[:length]
        assert np.abs(decoded[: len(wav)] - wav).max() <= 1e-6
        assert len(decoded) == length
        assert not decoded[len(wav) :].any()
    assert len(wanted.unique()) > 5


@pytest.mark.parametrize("rate", RATES)
def test_both_versions_of_a_checkpoint_are_one_model(rate: str, tmp_path: Path) -> None:
    config, state, _ = golden(rate)
    one = voxzoo.load(f"focalcodec-{rate}", weights=folder(tmp_path / "new", config, state))
    other = folder(tmp_path / "old", config, first_version(state))
    assert voxzoo.load(f"focalcodec-{rate}", weights=other).fingerprint == one.fingerprint
    assert FocalCodec.recognises(other)
    one.save(tmp_path / "mine")
    assert voxzoo.load(tmp_path / "mine").fingerprint == one.fingerprint
    assert not FocalCodec.recognises(tmp_path / "mine")


@pytest.mark.parametrize(("rate", "factors"), [("50hz", [1, 1, 1]), ("25hz", [2, 1, 1]), ("12.5hz", [2, 2, 1])])
def test_the_published_configuration_is_that_of_the_entry(rate: str, factors: list[int]) -> None:
    focal = {"focal_window": 7, "focal_level": 2, "focal_factor": 2, "dropout": 0.0, "use_post_norm": False,
             "use_layerscale": False, "layerscale_init": 1e-4, "normalize_modulator": False}  # fmt: skip
    published = {
        "encoder_name": "WavLM", "encoder_config": {**DEFAULTS["encoder"], "dropout": 0.0},
        "compressor_name": "FocalEncoder",
        "compressor_config": {"input_dim": 1024, "output_dim": 13, "hidden_dims": [1024, 512, 256],
                              "downscale_factors": factors, **focal},
        "quantizer_name": "BinarySphericalQuantizer", "quantizer_config": {"codebook_size": 8192},
        "decompressor_name": "FocalDecoder",
        "decompressor_config": {"input_dim": 13, "output_dim": 1024, "hidden_dims": [256, 512, 1024],
                                "upscale_factors": factors[::-1], **focal},
        "decoder_name": "Vocos",
        "decoder_config": {"input_channels": 1024, "num_layers": 8, "dim": 512, "ffn_dim": 1536, "kernel_size": 7, "padding": 3,
                           "layerscale_init": None, "n_fft": 1024, "hop_length": 320},
    }  # fmt: skip
    assert focalcodec.from_published(published) == complete(voxzoo.entry(f"focalcodec-{rate}").config)


def test_frames_are_those_that_fit_whole() -> None:
    c = DEFAULTS["encoder"]
    with torch.device("meta"):
        front = Front(c["hidden_dims"], c["kernel_sizes"], c["strides"])
    assert (front.hop, front.span) == (320, 400)
    wanted = {1: 1, 399: 1, 400: 1, 719: 1, 720: 2, 16000: 49, 16080: 50}
    assert {samples: front.frames(samples) for samples in wanted} == wanted


# ---------------------------------------------------------------- attention
def test_attention_in_parts_is_attention_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    attention, x, bias = Attention(8, 2), torch.randn(2, 37, 8), torch.randn(2, 73)
    with torch.no_grad():
        whole = attention(x, bias)
        monkeypatch.setattr(_wavlm, "SCORES", (2 * 2 * 37 * 5, 0))
        assert (attention(x, bias) - whole).abs().max() <= 1e-6


def test_the_convolutions_in_pieces_are_those_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    front, wav = Front([6, 6, 6], [10, 3, 2], [5, 2, 2]), torch.randn(2, 1013)
    fold(front)
    with torch.no_grad():
        whole = front(wav)
        monkeypatch.setattr(_wavlm, "PIECE", (1, 0))
        assert (front(wav) - whole).abs().max() <= 1e-5


def test_far_distances_share_buckets_and_sides_do_not() -> None:
    with torch.device("meta"):
        transformer = Transformer({**DEFAULTS["encoder"], "num_layers": 0})
    buckets = transformer.buckets(2000).tolist()
    behind, ahead = buckets[1999::-1], buckets[1999:]
    assert behind[:80] == list(range(80))  # one for each of the 80 nearest
    assert behind[80:] == sorted(behind[80:])
    assert behind[800] == behind[-1] == 159
    assert ahead[1:] == [bucket + 160 for bucket in behind[1:]]


# ---------------------------------------------------------------- windows
def test_windows_lie_at_fixed_places_however_the_clip_is_pushed() -> None:
    seen: list[tuple[int, int]] = []

    def run(items: torch.Tensor) -> torch.Tensor:
        seen.append((int(items[0, 0]), items.shape[1]))
        return items[:, ::3]

    clip = torch.arange(3 * 23 + 1)[None]
    for step in (1, 7, 30, 70):
        seen.clear()
        windows = focalcodec._Windows(run, (10, 2), 3, 1)
        parts = [part for i in range(0, 70, step) for part in windows.push(clip[:, i : i + step])] + windows.finish()
        assert torch.equal(torch.cat(parts, 1), clip[:, ::3])
        assert seen == [(0, 30), (18, 30), (36, 30), (54, 16)]


@pytest.mark.parametrize("rate", RATES)
def test_long_clips_are_windows_of_whole_clips(rate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FocalCodec, "window", 6.0)
    monkeypatch.setattr(focalcodec, "CONTEXT", 2.0)
    model = tiny(rate)
    clip, at = sound(model, 8123), [int(seconds * model.facts.frame_rates[0]) for seconds in (0, 2, 4)]
    windows = [torch.from_numpy(clip.samples[None, start : start + 6000]) for start in (0, 2000, 4000)]
    one, two, three = (model.network.encode(window) for window in windows)  # type: ignore[operator]
    wanted = torch.cat([one[:, at[0] : at[2]], two[:, at[1] : at[2]], three[:, at[1] :]], 1)
    assert torch.equal(model.encode(clip).codes[0], wanted)
    whole = model.encode(sound(model, 6000))
    with model.stream_encoder() as stream:
        parts = [stream.push(sound(model, 6000).samples), stream.finish()]
    assert torch.equal(Tokens.concatenate(parts).codes[0], whole.codes[0])


def test_everything_in_a_clip_moves_everything_else() -> None:
    """Or the exceptions of the entries would be idle."""
    model = tiny()
    clip = sound(model, 20000).samples
    other = np.concatenate([clip[:10000], clip[:10000]])
    first = slice(0, 400)
    assert not torch.equal(model.encode(clip, 1000).codes[0][:, first], model.encode(other, 1000).codes[0][:, first])


# ---------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decoder_name": "WaveNeXt"}, "decoder_name is 'WaveNeXt', expected 'Vocos'"),
        ({"encoder_config": {"causal": True}}, "its encoder is causal"),
        ({"encoder_config": ["dim"]}, r"encoder_config is \['dim'\], expected a table"),
        ({"encoder_config": {"layers": 3}}, "encoder has no configuration 'layers'"),
        ({"compressor_config": {"output_dim": 12}}, "compressor_config has output_dim 12, expected 13"),
        ({"decoder_config": {"kernel_size": 5}}, "decoder_config has kernel_size 5, expected 7"),
        ({"decoder_config": {"hop_length": 480}}, "hop_length is not the product"),
        ({"quantizer_config": {"codebook_size": 1000}}, "codebook_size is not a power of 2"),
        ({"quantizer_config": {"codebook_size": "8192"}}, "got codebook_size '8192'; expected a whole number"),
        ({"compressor_config": {"hidden_dims": [8, -8, 8]}}, r"got hidden_dims \[8, -8, 8\]"),
        ({"compressor_config": {"use_post_norm": 1}}, "got use_post_norm 1; expected true or false"),
        ({"encoder_config": {"num_heads": 7}}, "dim is no multiple of its num_heads"),
    ],
)
def test_another_network_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    published = {f"{part}_name": kind for part, kind in focalcodec.PARTS.items()}
    path = folder(tmp_path, published, {"x": torch.zeros(1)})
    assert FocalCodec.recognises(path)
    (path / "config.json").write_text(json.dumps({**published, **change}))
    assert not FocalCodec.recognises(path)
    with pytest.raises(WeightsError, match=message):
        voxzoo.load("focalcodec-50hz", weights=path)


def test_wrong_weights_are_refused_by_name(tmp_path: Path) -> None:
    config, state, _ = golden("50hz")
    state = first_version(state)
    missing = next(key for key in state if key.endswith("k_proj.weight"))
    with pytest.raises(WeightsError, match=r"q_proj\.weight', but no k_proj and v_proj"):
        renamed({key: value for key, value in state.items() if key != missing})
    path = folder(tmp_path, config, {**state, "decoder.extra": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"decoder\.extra"):
        voxzoo.load("focalcodec-50hz", weights=path)
    with pytest.raises(ModelError, match="FocalCodec has no configuration 'rate'"):
        complete({"rate": 50})
