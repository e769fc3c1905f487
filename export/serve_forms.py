"""What goes over the wire: sound and tokens out of the body of a request, tokens as JSON.

The JSON of one clip: {"model", "fingerprint", "resampler", "sample_rate", "samples", "frame_rates", "codebook_sizes",
"codes": K lists of whole numbers, "extras"}; `/decode` needs `fingerprint`, `samples`, `codes` and `extras` if there are any.
"""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np

from ..core.audio import Audio, read_blocks
from ..core.errors import AudioError, TokensError
from ..core.facts import Facts
from ..core.tokens import Tokens

__all__ = ["TooLong", "tokens_from_body", "tokens_to_json", "wav_bytes", "within"]


class TooLong(Exception):
    """More sound than a request may have."""


def within(data: bytes, sample_rate: int, resampler: str, seconds: float) -> Audio:
    """The sound of a file at `sample_rate`, decoded no further than `seconds`.

    Raises `TooLong`, and `AudioError` for what libsndfile cannot read: an upload is not handed on to ffmpeg, some of whose
    formats name other files to be read.
    """
    import soundfile

    try:
        soundfile.SoundFile(io.BytesIO(data)).close()
    except (soundfile.LibsndfileError, TypeError):
        raise AudioError(
            "the body is not sound that libsndfile reads; send a WAV, FLAC, Ogg or MP3 file as it is (curl --data-binary @FILE)"
        ) from None
    blocks, rate = read_blocks(data, sample_rate, resampler)
    parts: list[np.ndarray] = []
    samples = 0
    for block in blocks:
        parts.append(block)
        samples += len(block)
        if samples > seconds * rate:
            raise TooLong(f"the sound is longer than {seconds:g} s, the most that this server takes in one request")
    return Audio(np.concatenate(parts), rate)


def tokens_to_json(tokens: Tokens) -> dict[str, Any]:
    """One clip."""
    tokens = tokens.numpy()
    facts = tokens.facts
    return {
        "model": facts.name,
        "fingerprint": tokens.fingerprint,
        "resampler": tokens.resampler,
        "sample_rate": facts.sample_rate,
        "samples": int(tokens.lengths[0]),
        "frame_rates": [str(rate) for rate in facts.frame_rates[: len(tokens.codes)]],
        "codebook_sizes": list(facts.codebook_sizes[: len(tokens.codes)]),
        "codes": [stream[0].tolist() for stream in tokens.codes],
        "extras": {key: value[0].tolist() for key, value in tokens.extras.items()},
    }


def tokens_from_body(data: bytes, facts: Facts) -> Tokens:
    """Tokens of one clip, as the JSON of `/encode` or as a tokens file. Raises `TokensError`."""
    tokens = _from_json(data, facts) if data.lstrip()[:1] == b"{" else Tokens.load(io.BytesIO(data), "numpy")
    if len(tokens) != 1:
        raise TokensError(f"the body holds tokens of {len(tokens)} clips; a request takes one")
    return tokens


def _from_json(data: bytes, facts: Facts) -> Tokens:
    try:
        found = json.loads(data)
        codes = [_row(stream) for stream in found["codes"]]
        extras = {str(key): np.array([value], np.float32) for key, value in (found.get("extras") or {}).items()}
        length, fingerprint = found["samples"], str(found["fingerprint"])
    except RecursionError:
        raise TokensError("the JSON of the body is nested too deep") from None
    except KeyError as error:
        raise TokensError(f"the JSON of the body has no {error}; send what /encode gave") from None
    except (ValueError, TypeError, OverflowError, AttributeError) as error:
        raise TokensError(f"the body is no JSON of tokens: {error}") from None
    if not isinstance(length, int) or not 0 <= length < 1 << 62:
        raise TokensError(f"`samples` is {length!r}; expected a whole number")
    resampler = found.get("resampler")
    return Tokens(codes, np.array([length]), facts, fingerprint, resampler if isinstance(resampler, str) else "soxr-hq", extras)


def _row(stream: Any) -> np.ndarray:
    row = np.array(stream)
    if row.ndim != 1 or (row.size and row.dtype.kind not in "iu"):
        raise TokensError("`codes` holds something that is no list of whole numbers")
    if row.size and row.min() < 0:
        raise TokensError(f"`codes` holds {row.min()}; codes begin at 0")
    return row.astype(np.int64)[None]


def wav_bytes(audio: Audio) -> bytes:
    """A WAV file of 16 bits."""
    buffer = io.BytesIO()
    audio.write(buffer)
    return buffer.getvalue()
