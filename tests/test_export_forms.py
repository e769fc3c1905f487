"""The plain forms that graphs are traced from, run in torch, against the models: each family of the registry, or why none."""

import pytest
import torch
from export_checks import SOUND, check_forms, encoded, noise, part, streamed_codes, streamed_sound, tiny

from voxzoo.core.errors import ExportError
from voxzoo.core.model import Model
from voxzoo.core.registry import entry, models
from voxzoo.export.graphs import WITHOUT, plan_of

PARTLY = {"encodec-48k"}  # of a family that has forms otherwise
STREAMING = ["vox-rvq-16k", "vox-snac-16k", "vox-s3-16k", "vox-dcspin-16k", "encodec-24k", "mimi", "soundstream-16k"]


def kind(name: str) -> str:
    """Entries of one kind differ in sizes and in weights alone."""
    item = entry(name)
    config = {**item.config, **item.tiny}
    backbone = config.get("backbone") or config.get("semantic") or {}
    return (
        f"{item.build} {backbone.get('model_type')} {config.get('quantizer')} {config.get('normalize')} {config.get('version')}"
    )


KINDS = list({kind(name): name for name in reversed(models())}.values())[::-1]


@pytest.mark.parametrize("name", KINDS)
def test_forms_equal_the_model_or_say_which_part_has_none(name: str) -> None:
    model = tiny(name)
    if model.__class__.__module__.rpartition(".")[2] in WITHOUT or name in PARTLY:
        with pytest.raises(ExportError, match=f"^{name} cannot be exported: (?!no form of the networks)"):
            plan_of(model)
    else:
        check_forms(model, plan_of(model))


def test_every_entry_of_the_registry_has_a_kind_here() -> None:
    assert {kind(name) for name in models()} == {kind(name) for name in KINDS}


@pytest.mark.parametrize("name", STREAMING)
def test_streams_equal_the_whole(name: str) -> None:
    model = tiny(name)
    plan = plan_of(model, streaming=True)
    stream = part(plan, "encoder_stream")
    step = stream.stream["multiple"]
    wav = noise(-(-max(step, stream.stream.get("first", 0)) // step) * step + 9 * step)[None]
    codes = streamed_codes(plan, wav)
    for a, b in zip(codes, encoded(plan, [wav[0]]), strict=True):
        assert torch.equal(a, b)
    if model.decodes:
        with torch.no_grad():
            whole = part(plan, "decoder").module(*codes)
        sound = streamed_sound(plan, codes)
        assert sound.shape[1] >= whole.shape[1]
        assert (sound[:, : whole.shape[1]] - whole).abs().max() <= SOUND


def test_a_model_that_looks_ahead_has_no_graph_with_a_state() -> None:
    with pytest.raises(ExportError, match=r"snac-24k has no graphs that keep a state: .* leave out --streaming"):
        plan_of(tiny("snac-24k"), streaming=True)


def test_a_stream_begins_anew_for_each_row_of_a_batch() -> None:
    """Two clips of one batch, of which one has begun before: states are of rows, not of the batch."""
    plan = plan_of(tiny("mimi"), streaming=True)
    stream = part(plan, "encoder_stream")
    from export_checks import begun

    hop = plan.hop
    old, new = noise(3 * hop, 1)[None], noise(2 * hop, 2)[None]
    with torch.no_grad():
        first = stream.module(old[:, :hop], *begun(stream))
        streams = plan.model.facts.streams
        states = [torch.cat([a, b]) for a, b in zip(first[streams:], begun(stream), strict=True)]
        both = stream.module(torch.cat([old[:, hop:], new]), *states)
        alone = stream.module(new, *begun(stream))
    for k in range(streams):
        assert torch.equal(both[k][1], alone[k][0])


def test_windows_of_the_plan_give_what_the_whole_clip_gives() -> None:
    """The context that a manifest states: a frame's code does not change when the sound before it is left out."""
    for name in ("vox-rvq-16k", "vox-s3-16k", "soundstream-16k"):
        model: Model = tiny(name)
        plan = plan_of(model)
        law = plan.long["encoder"]
        size, left, right = law["samples"], law["left"], law["right"]
        blocks = left + right + 5
        wav = noise((3 + blocks) * size)
        whole, cut = encoded(plan, [wav]), encoded(plan, [wav[3 * size :]])
        for a, b, per in zip(whole, cut, law["frames"], strict=True):
            inner = slice((3 + left) * per, (3 + blocks - right) * per)
            assert torch.equal(a[0, inner], b[0, left * per : (blocks - right) * per]), name
