"""What the tests of exporting share: a model's plain forms, run in torch, against the model itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from voxzoo.core.loading import random_model
from voxzoo.core.model import Model
from voxzoo.core.registry import Entry, entry
from voxzoo.core.tokens import Tokens
from voxzoo.export.length_law import frames, padded, ratios
from voxzoo.export.plan import Plan
from voxzoo.export.trace import Part

SOUND = 1e-5


def tiny(name: str, **changes: Any) -> Model:
    item: Entry = entry(name)
    return random_model(item, {**item.config, **item.tiny, **changes})


def noise(samples: int, seed: int = 0) -> Tensor:
    return (0.2 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))).clamp(-1, 1)


def clip_sets(model: Model, hop: int) -> list[list[Tensor]]:
    """Clips of one sample and more, each alone, and a batch: of unequal lengths where those share one."""
    sets = [[noise(n)] for n in (1, 2, hop - 1, hop, hop + 1, 3 * hop + 5, 7 * hop, 11 * hop + 3)]
    unequal = [3 * hop + 7, 1, 9 * hop, hop - 1]
    return [*sets, [noise(n, n) for n in (unequal if model.batching == "pad" else [3 * hop + 7] * 2)]]


def part(plan: Plan, role: str) -> Part:
    return next(part for part in plan.parts if part.role == role)


def encoded(plan: Plan, clips: list[Tensor]) -> list[Tensor]:
    """All that the encoder gives of a batch."""
    batch = torch.zeros(len(clips), max(padded(plan.padding, len(clip)) for clip in clips))
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    with torch.no_grad():
        more = [port.example for port in part(plan, "encoder").inputs[2:]]
        out = part(plan, "encoder").module(batch, torch.tensor([len(clip) for clip in clips]), *more)
    return [out] if isinstance(out, Tensor) else list(out)


def check_codes(model: Model, plan: Plan, clips: list[Tensor], tokens: Tokens, codes: list[Tensor]) -> None:
    for i, clip in enumerate(clips):
        wanted = frames(plan.law, len(clip))
        assert wanted == model.frames(len(clip))
        for k, count in enumerate(wanted):
            assert torch.equal(codes[k][i, :count], torch.as_tensor(tokens[i].codes[k])[0]), (len(clip), k)
            assert model.batching != "pad" or bool((codes[k][i, count:] == -1).all())


def check_sound(model: Model, plan: Plan, tokens: Tokens, streams: int) -> None:
    """Decoded from the first so many streams, the others -1."""
    part_ = part(plan, "decoder")
    codes = [torch.as_tensor(c).clone() for c in tokens.codes]
    codes = [c if k < streams else torch.full_like(c, -1) for k, c in enumerate(codes)]
    with torch.no_grad():
        wav = part_.module(*codes).numpy()
    audios = model.decode(tokens.streams(streams))
    for row, audio in zip(wav, audios if isinstance(audios, list) else [audios], strict=True):
        row = np.pad(row, (0, max(0, len(audio) - len(row))))[: len(audio)]
        assert np.abs(row - audio.samples).max() <= SOUND, (streams, len(audio))


def check_forms(model: Model, plan: Plan) -> None:
    """Every set of clips: the same codes, the same sound, of all streams and of the first alone."""
    for clips in clip_sets(model, plan.hop):
        tokens = model.encode(list(clips), model.facts.sample_rate)
        codes = encoded(plan, clips)
        check_codes(model, plan, clips, tokens, codes)
        if model.decodes:
            for streams in {1, model.facts.streams}:
                check_sound(model, plan, tokens, streams)


def begun(stream: Part) -> list[Tensor]:
    """The state before the first push, of one clip."""
    out = []
    for port in stream.inputs:
        if port.initial is not None:
            assert port.example is not None
            out.append(torch.full((1, *port.example.shape[1:]), port.initial, dtype=port.example.dtype))
    return out


def pushes(stream: Part, total: int) -> list[tuple[int, int]]:
    """(start, stop) of pushes of one, three and one steps and so on, the first as long as it has to be."""
    step = stream.stream["multiple"]
    sizes = [-(-max(step, stream.stream.get("first", 0)) // step) * step, step, 3 * step]
    out, at = [], 0
    while at < total:
        stop = min(total, at + sizes[min(len(out), 2)])
        out.append((at, stop))
        at = stop
    return out


def streamed_codes(plan: Plan, wav: Tensor) -> list[Tensor]:
    """wav (1, whole steps) piece by piece."""
    stream, streams = part(plan, "encoder_stream"), plan.model.facts.streams
    ahead = stream.stream.get("ahead", 0)
    longer = torch.nn.functional.pad(wav, (0, ahead))
    lengths = any(port.name == "lengths" for port in stream.inputs)
    state, out = begun(stream), []
    for start, stop in pushes(stream, wav.shape[1]):
        extra = [torch.tensor([stop - start])] if lengths else []
        with torch.no_grad():
            values = stream.module(longer[:, start : stop + ahead], *extra, *state)
        out.append(values[:streams])
        state = list(values[streams:])
    return [torch.cat(parts, 1) for parts in zip(*out, strict=True)]


def streamed_sound(plan: Plan, codes: list[Tensor]) -> Tensor:
    """Codes piece by piece, flushed, the lead-in dropped."""
    stream, per = part(plan, "decoder_stream"), ratios(plan.law)
    flush = stream.stream.get("flush", 0)
    codes = [torch.cat([c, torch.full((1, flush * n // per[0]), -1)], 1) for c, n in zip(codes, per, strict=True)]
    state, out = begun(stream), []
    for start, stop in pushes(stream, codes[0].shape[1]):
        now = [c[:, start * n // per[0] : stop * n // per[0]] for c, n in zip(codes, per, strict=True)]
        with torch.no_grad():
            values = stream.module(*now, *state)
        out.append(values[0])
        state = list(values[1:])
    return torch.cat(out, 1)[:, stream.stream.get("lead_in", 0) :]
