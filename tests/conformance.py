"""The conformance kit: the laws every model of the registry obeys, each a check that takes a model.

`test_conformance.py` runs them over the whole registry with small random-weight configurations. An entry that does not
obey a law as stated says why in `exceptions`, under the law's name here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from voxzoo import Audio, Tokens
from voxzoo.core.model import Model

Check = Callable[[Model], None]


def sound(model: Model, samples: int, seed: int = 0) -> Audio:
    """Noise under a slow envelope with a few tones: no two frames alike, no silence."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / model.facts.sample_rate
    tones = sum(np.sin(2 * np.pi * f * t + p) for f, p in zip(rng.uniform(80, 3000, 4), rng.uniform(0, 6, 4), strict=True))
    wav = (0.05 * tones + 0.1 * rng.standard_normal(samples)) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t))
    return Audio(wav.astype(np.float32), model.facts.sample_rate)


def same_codes(a: Tokens, b: Tokens) -> bool:
    return len(a.codes) == len(b.codes) and all(
        x.shape == y.shape and bool((x == y).all()) for x, y in zip(a.codes, b.codes, strict=True)
    )


def hop(model: Model) -> int:
    """Samples per frame of the slowest stream."""
    return int(model.facts.sample_rate / min(model.facts.frame_rates))


def lengths(model: Model) -> list[int]:
    h = hop(model)
    return [1, 2, h - 1, h, h + 1, 2 * h + h // 3, 3 * h]


def check_facts(model: Model) -> None:
    """The facts equal what the model does: streams, sizes and rates measured by encoding."""
    facts = model.facts
    seconds = 4
    tokens = model.encode(sound(model, seconds * facts.sample_rate))
    assert len(tokens.codes) == facts.streams == len(facts.codebook_sizes)
    for k, rate in enumerate(facts.frame_rates):
        slack = model.pad_multiple / facts.sample_rate * float(rate) + 1
        extra = 0.01 * float(rate) * seconds if "facts" in model.exceptions else 0
        assert abs(tokens.codes[k].shape[1] - float(rate) * seconds) <= slack + extra
    assert tokens.bitrate == facts.bitrate
    assert facts.params == sum(p.numel() for p in model.network.parameters())


def check_length(model: Model) -> None:
    """The stated number of frames for every T down to 1, and decode gives T samples back (at the rate it decodes to)."""
    for n in lengths(model):
        tokens = model.encode(sound(model, n))
        assert tuple(c.shape[1] for c in tokens.codes) == model.frames(n), n
        assert tokens.lengths.tolist() == [n]
        if model.decodes:
            audio = model.decode(tokens)
            assert len(audio) == model.facts.decoded_length(n)
            assert audio.sample_rate == model.facts.output_rate


def check_streams(model: Model) -> None:
    """Any prefix of the streams can be asked for, is a prefix of all streams, and decodes."""
    clip = sound(model, 2 * hop(model) + 3)
    full = model.encode(clip)
    for k in range(1, model.facts.streams + 1):
        part = model.encode(clip, streams=k)
        assert same_codes(part, full.streams(k))
        assert not model.decodes or len(model.decode(part)) == model.facts.decoded_length(len(clip))


def check_batch(model: Model) -> None:
    """A clip's tokens and sound do not depend on what it is batched with."""
    clips = [sound(model, n, seed) for seed, n in enumerate([5 * hop(model) + 7, 1, 2 * hop(model), 5 * hop(model) + 7])]
    together = model.encode(clips)
    decoded = model.decode(together) if model.decodes else []
    assert len(together) == len(clips)
    for i, clip in enumerate(clips):
        alone = model.encode(clip)
        assert same_codes(together[i], alone), i
        if model.decodes:
            assert np.abs(decoded[i].samples - model.decode(alone).samples).max() <= 1e-5


def check_deterministic(model: Model) -> None:
    """Same input, same tokens, same sound."""
    clip = sound(model, 3 * hop(model) + 5)
    tokens = model.encode(clip)
    assert same_codes(tokens, model.encode(clip))
    if model.decodes:
        assert np.array_equal(model.decode(tokens).samples, model.decode(tokens).samples)


def check_causal(model: Model) -> None:
    """A longer input never changes the tokens of complete frames."""
    if not model.facts.causal:
        return
    clip = sound(model, 12 * hop(model))
    full = model.encode(clip)
    for frames in range(1, 12):
        part = model.encode(Audio(clip.samples[: frames * hop(model)], clip.sample_rate))
        if "causal" in model.exceptions and frames < 7:
            continue
        for a, b in zip(part.codes, full.codes, strict=True):
            assert bool((a == b[:, : a.shape[1]]).all()), frames


def check_streaming(model: Model) -> None:
    """Streams, cut anywhere, give the tokens and the sound of encode and decode.

    A model that looks at the whole clip cannot: its streams are equal to each other however the clip is cut, and to encode
    and decode for a clip of one window.
    """
    approximate = "streaming" in model.exceptions
    length = round(1.5 * model.window * model.facts.sample_rate) if approximate else 11 * hop(model) + 13
    clips = [sound(model, 2 * hop(model) + 13), sound(model, length)] if approximate else [sound(model, length)]
    for i, clip in enumerate(clips):
        exact = not approximate or i == 0
        steps = (
            (len(clip) // 3 + 1, len(clip)) if approximate else (hop(model) // 3 + 1, hop(model), 4 * hop(model) + 1, len(clip))
        )
        tokens = model.encode(clip)
        audio = model.decode(tokens).samples if model.decodes else None
        for step in steps:
            parts = streamed(model, clip, step)
            joined = Tokens.concatenate(parts)
            if not exact:
                tokens, exact = joined, True  # of the first way to cut; the others are held to it
                audio = sounds_of(model, parts) if model.decodes else None
            assert same_codes(joined, tokens), step
            assert joined.lengths.tolist() == [len(clip)]
            if audio is not None:
                heard = sounds_of(model, parts)
                assert len(heard) == len(audio) == model.facts.decoded_length(len(clip))
                assert np.abs(heard - audio).max() <= 1e-5, step


def streamed(model: Model, clip: Audio, step: int) -> list[Tokens]:
    """The clip pushed `step` samples at a time."""
    with model.stream_encoder() as encoder:
        return [encoder.push(clip.samples[i : i + step]) for i in range(0, len(clip), step)] + [encoder.finish()]


def sounds_of(model: Model, parts: list[Tokens]) -> np.ndarray:
    """What a streaming decoder makes of the parts."""
    with model.stream_decoder() as decoder:
        return np.concatenate([decoder.push(part).samples for part in parts] + [decoder.finish().samples])


def check_long(model: Model) -> None:
    """Clips longer than the model's window go through windows; they begin with the tokens and sound of a shorter clip."""
    rate = model.facts.sample_rate
    clip = sound(model, round((model.window + 1) * rate) + 5)
    tokens = model.encode(clip)
    assert tuple(c.shape[1] for c in tokens.codes) == model.frames(len(clip))
    audio = model.decode(tokens) if model.decodes else None
    assert audio is None or len(audio) == model.facts.decoded_length(len(clip))
    if "long" in model.exceptions:
        return
    short = model.encode(Audio(clip.samples[: 8 * rate], rate))
    keep = [int(6 * float(r)) for r in model.facts.frame_rates]
    for a, b, n in zip(tokens.codes, short.codes, keep, strict=True):
        assert bool((a[:, :n] == b[:, :n]).all())
    if audio is not None:
        heard = 5 * model.facts.output_rate
        assert np.abs(audio.samples[:heard] - model.decode(short).samples[:heard]).max() <= 1e-5


def check_decodes(model: Model) -> None:
    """A model without a decoder says so, and what it would take."""
    import pytest

    from voxzoo import NotDecodableError

    tokens = model.encode(sound(model, 2 * hop(model)))
    if model.decodes:
        assert np.abs(model.decode(tokens).samples).max() > 0
        return
    assert model.undecodable
    for attempt in (lambda: model.decode(tokens), model.stream_decoder):
        with pytest.raises(NotDecodableError, match=model.facts.name):
            attempt()


def check_silence(model: Model) -> None:
    """All-zero and very quiet sound give tokens and finite sound."""
    for level in (0.0, 1e-6):
        clip = Audio(np.full(3 * hop(model), level, np.float32), model.facts.sample_rate)
        tokens = model.encode(clip)
        assert not model.decodes or np.isfinite(model.decode(tokens).samples).all()


def check_storage(model: Model) -> None:
    """Tokens survive their file form, and another model's tokens are refused."""
    import io

    import pytest

    from voxzoo import WrongModelError

    tokens = model.encode([sound(model, 2 * hop(model)), sound(model, 5, 1)])
    back = Tokens.load(io.BytesIO(tokens.to_bytes()))
    assert same_codes(tokens, back)
    if not model.decodes:
        return
    for a, b in zip(model.decode(tokens), model.decode(back), strict=True):
        assert np.array_equal(a.samples, b.samples)
    with pytest.raises(WrongModelError, match=model.facts.name):
        model.decode(replace(back, fingerprint="0" * 64))


def check_folder(model: Model, folder: Any) -> None:
    """Saved in our own form and loaded again, it is the same model."""
    import voxzoo

    model.save(folder)
    again = voxzoo.load(folder)
    assert again.fingerprint == model.fingerprint
    clip = sound(model, 3 * hop(model))
    assert same_codes(model.encode(clip), again.encode(clip))


CHECKS: dict[str, Check] = {
    "facts": check_facts,
    "length": check_length,
    "streams": check_streams,
    "batch": check_batch,
    "deterministic": check_deterministic,
    "causal": check_causal,
    "streaming": check_streaming,
    "long": check_long,
    "decodes": check_decodes,
    "silence": check_silence,
    "storage": check_storage,
}
