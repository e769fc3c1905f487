"""What a user can get wrong, of every family: one clear error each, and nothing lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import conformance
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_conformance import tiny

import voxzoo
from voxzoo import Audio, AudioError, ModelError, TokensError, VoxzooError, WeightsError
from voxzoo.core.model import Model
from voxzoo.core.registry import entry, model_class

FAMILIES = {model_class(entry(name)): name for name in reversed(voxzoo.models())}  # the first entry of each class
every_family = pytest.mark.parametrize("name", sorted(FAMILIES.values()))


def refused(error: type[VoxzooError], words: str, call: Callable[[], Any]) -> None:
    with pytest.raises(error, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


@every_family
def test_sound_that_is_none(name: str) -> None:
    model = tiny(name)
    rate = model.facts.sample_rate
    wav = conformance.sound(model, conformance.hop(model)).samples
    refused(AudioError, "sample_rate=", lambda: model.encode(wav))
    refused(AudioError, "no samples", lambda: model.encode(wav[:0], rate))
    refused(AudioError, "sample 3 is nan", lambda: model.encode(np.where(np.arange(len(wav)) == 3, np.nan, wav), rate))
    refused(AudioError, r"expected \(T,\)", lambda: model.encode(np.zeros((2, 3, 4), np.float32), rate))
    refused(AudioError, "the peak is", lambda: model.encode(wav * 1e4, rate))
    refused(ModelError, "1 to ", lambda: model.encode(wav, rate, streams=model.facts.streams + 1))
    refused(ModelError, "1 to ", lambda: model.encode(wav, rate, streams=0))


@every_family
def test_another_sample_rate_is_resampled_and_recorded(name: str) -> None:
    model = tiny(name)
    tokens = model.encode(Audio(np.zeros(8000, np.float32), 8 * model.facts.sample_rate))
    assert tokens.lengths.tolist() == [1000]
    assert tokens.resampler == model.resampler


@every_family
def test_codes_that_are_none(name: str) -> None:
    model = tiny(name)
    tokens = model.encode(conformance.sound(model, 2 * conformance.hop(model)))
    for bad in (model.facts.codebook_sizes[0], -2):
        codes = [tokens.codes[0].clone(), *tokens.codes[1:]]
        codes[0][0, 0] = bad
        refused(TokensError, str(bad), lambda codes=codes: replace(tokens, codes=codes))  # type: ignore[misc]
    if model.decodes:
        rows = tokens.codes[0].shape[1] - 1
        extras = {key: value[:, :rows] for key, value in tokens.extras.items()}
        cut = replace(tokens, codes=[c[:, :-1] for c in tokens.codes], extras=extras)
        refused(TokensError, "frames", lambda: model.decode(cut))


@every_family
def test_streams_that_are_over(name: str) -> None:
    model = tiny(name)
    clip = conformance.sound(model, 2 * conformance.hop(model) + 1)
    with model.stream_encoder() as encoder:
        refused(AudioError, "expected float", lambda: encoder.push(np.zeros(7, np.int16)))
        refused(AudioError, "expected float", lambda: encoder.push(np.zeros((2, 7), np.float32)))
        parts = [encoder.push(clip.samples), encoder.finish()]
        refused(ModelError, "finished", lambda: encoder.push(clip.samples))
        refused(ModelError, "finished", encoder.finish)
    if model.decodes:
        with model.stream_decoder() as decoder:
            sounds = [decoder.push(part) for part in parts] + [decoder.finish()]
            refused(ModelError, "finished", lambda: decoder.push(parts[0]))
        assert sum(map(len, sounds)) == model.facts.decoded_length(len(clip))
    with model.stream_encoder() as encoder:
        refused(AudioError, "no samples", encoder.finish)


def _own(name: str, folder: Path) -> tuple[Model, dict[str, torch.Tensor]]:
    model = tiny(name)
    model.save(folder)
    return model, load_file(folder / "model.safetensors")


@every_family
def test_weights_that_do_not_fit(name: str, tmp_path: Path) -> None:
    _, state = _own(name, tmp_path)
    file = tmp_path / "model.safetensors"
    first = next(key for key, value in sorted(state.items()) if value.ndim > 1)

    def written(changed: dict[str, torch.Tensor]) -> Callable[[], Model]:
        save_file(changed, file)
        return lambda: voxzoo.load(tmp_path)

    refused(WeightsError, first.replace(".", r"\."), written({key: value for key, value in state.items() if key != first}))
    refused(WeightsError, "surplus", written({**state, "surplus": torch.zeros(1)}))
    refused(WeightsError, first.replace(".", r"\."), written({**state, first: state[first][..., :-1].contiguous()}))
    bad = state[first].clone()
    bad.view(-1)[0] = float("nan") if bad.is_floating_point() else 0
    if bad.is_floating_point():
        refused(WeightsError, "NaN", written({**state, first: bad}))
    save_file(state, file)
    whole = file.read_bytes()
    for size in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        refused(WeightsError, "damaged", lambda: voxzoo.load(tmp_path))
    file.unlink()
    refused(WeightsError, "does not exist", lambda: voxzoo.load(tmp_path))


@every_family
def test_weights_of_another_family(name: str, tmp_path: Path) -> None:
    """A folder of another model in our own form, and whatever stands in a config.json, given by hand."""
    others = [other for other in voxzoo.models() if model_class(entry(other)) is not model_class(entry(name))]
    other = "vox-rvq-16k" if name != "vox-rvq-16k" else others[0]
    tiny(other).save(tmp_path)
    refused(ModelError, ".", lambda: voxzoo.load(name, weights=tmp_path))
    for content in ("{}", "[]", "{", '{"model_type": 7}', json.dumps({"format": 1, "config": {"steam": 1}})):
        (tmp_path / "config.json").write_text(content)
        refused(ModelError, ".", lambda: voxzoo.load(name, weights=tmp_path))


@every_family
def test_an_empty_folder(name: str, tmp_path: Path) -> None:
    refused(ModelError, str(tmp_path), lambda: voxzoo.load(name, weights=tmp_path))


@every_family
@pytest.mark.parametrize("value", [None, "many", -1, 0, [0]])
def test_settings_that_make_no_network(name: str, value: Any, tmp_path: Path) -> None:
    """A config.json with one value spoilt: an error of ours, or a network; never a traceback of torch's."""
    model, _ = _own(name, tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    for key in model.config:
        (tmp_path / "config.json").write_text(json.dumps({**saved, "config": {**model.config, key: value}}))
        with suppress(VoxzooError):
            voxzoo.load(tmp_path)
