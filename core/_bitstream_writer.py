"""Writing bitstreams: whole `Tokens`, or the parts of one clip as they come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from ._bitstream_header import CODERS, LARGEST, Coder, Header
from ._chunks import Chunk, cut, write_chunk
from ._header_bytes import header_bytes
from ._packing import WIDEST
from ._static import table
from .errors import TokensError
from .facts import Facts
from .registry import entry, models
from .tokens import Tokens

__all__ = ["SECONDS", "BitstreamWriter", "records"]

SECONDS = 2.0  # of a chunk
NUMBER = 1 << 62  # numbers of a header stay below


class BitstreamWriter:
    """Writes one clip as its tokens come, a chunk at a time: `push(tokens)` as `StreamEncoder` gives them, then `finish()`.

    As a context manager it finishes unless an error ended the block. The bytes are those of `write_bitstream`, whose
    arguments it takes. Raises `TokensError` for coder "static", which needs to count all codes first.
    """

    def __init__(
        self,
        file: BinaryIO,
        coder: Coder = "packed",
        *,
        chunk_seconds: float = SECONDS,
        self_contained: bool | None = None,
    ) -> None:
        if coder == "static":
            raise TokensError("coder='static' counts all codes before it writes the first; for a stream take 'adaptive'")
        self.file, self.options = file, (_known(coder), chunk_seconds, self_contained)
        self.pending: Tokens | None = None  # what no chunk holds yet; its length is that of the clip so far
        self.chunk = 0

    def __enter__(self) -> BitstreamWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.finish()

    def push(self, tokens: Tokens) -> None:
        """Take the next part of the clip; whole chunks are written, the last one is always held back.

        Raises `TokensError` for several clips at once and for parts that do not belong together.
        """
        if len(tokens) != 1:
            raise TokensError(f"pushed tokens of {len(tokens)} clips; a stream carries one")
        if self.pending is None:
            self.header = _header(tokens, *self.options)
            self.file.write(header_bytes(self.header))
            self.pending = tokens.numpy()
        else:
            if set(self.pending.extras) != set(tokens.extras) or self.pending.facts != tokens.facts:
                raise TokensError("the parts of a clip differ in the model's facts or in their extras")
            self.pending = Tokens.concatenate([self.pending, tokens.numpy()])
        while self._full(self.pending):
            self._write(self.pending)

    def finish(self) -> None:
        """Write what is left. Raises `TokensError` when nothing was pushed: there is no telling of what model."""
        if self.pending is None:
            raise TokensError("no tokens were pushed to this bitstream; push at least an empty part")
        total = int(self.pending.lengths[0])
        while any(len(c[0]) > n for c, n in zip(self.pending.codes, self.header.nominal(self.chunk), strict=True)):
            self._write(self.pending)
        self._write(self.pending, total)

    def _full(self, pending: Tokens) -> bool:
        spare = [c.shape[1] - n for c, n in zip(pending.codes, self.header.nominal(self.chunk), strict=True)]
        return min(spare) >= 0 and max(spare) > 0

    def _write(self, pending: Tokens, total: int | None = None) -> None:
        ends = self.header.nominal(self.chunk)
        codes = [c[0, :n] for c, n in zip(pending.codes, ends, strict=True)]
        extras = {key: value[0, : ends[0]] for key, value in pending.extras.items()}
        self.file.write(write_chunk(self.header, self.chunk, Chunk(codes, extras, total)))
        left = [c[:, n:] for c, n in zip(pending.codes, ends, strict=True)]
        kept = {key: value[:, ends[0] :] for key, value in pending.extras.items()}
        self.pending = Tokens(
            left, pending.lengths, pending.facts, pending.fingerprint, pending.resampler, kept, pending.batched
        )
        self.chunk += 1


def records(
    tokens: Tokens, coder: Coder, chunk_seconds: float = SECONDS, self_contained: bool | None = None
) -> Iterator[bytes]:
    """The header, then one chunk after another."""
    tokens = tokens.numpy()
    header = _header(tokens, _known(coder), chunk_seconds, self_contained)
    yield header_bytes(header)
    number = 0
    for clip in (tokens[i] for i in range(len(tokens))):
        extras = {key: value[0] for key, value in clip.extras.items()}
        for chunk in cut(header, [c[0] for c in clip.codes], extras, int(clip.lengths[0])):
            yield write_chunk(header, number, chunk)
            number += 1


def _known(coder: Coder) -> Coder:
    if coder not in CODERS:
        raise TokensError(f"coder={coder!r}; expected one of {', '.join(CODERS)}")
    return coder


def _header(tokens: Tokens, coder: Coder, chunk_seconds: float, self_contained: bool | None) -> Header:
    facts, streams = tokens.facts, len(tokens.codes)
    _check_facts(facts)
    if not 0 < chunk_seconds < 1e6:
        raise TokensError(f"chunk_seconds={chunk_seconds}; expected a number above 0, such as {SECONDS}")
    known = facts.name in models() and entry(facts.name).facts == facts
    if self_contained is False and not known:
        raise TokensError(f"the registry does not hold these facts of {facts.name!r}; leave self_contained=False out")
    period = max(1, round(chunk_seconds * min(facts.frame_rates[:streams])))
    sizes = facts.codebook_sizes[:streams]
    pairs = zip(tokens.codes, sizes, strict=True)
    tables = [table(c[c >= 0], size) if size <= LARGEST else None for c, size in pairs] if coder == "static" else []
    header = Header(facts, tokens.fingerprint, tokens.resampler, tokens.batched, coder, streams, period,
                    tuple(tokens.extras), None, tuple(tables), not known or bool(self_contained))  # fmt: skip
    if len(tokens) == 1:
        return header
    return replace(header, chunks=tuple(header.chunks_of(frames) for frames in tokens.frames.tolist()))


def _check_facts(facts: Facts) -> None:
    numbers = [facts.sample_rate, *facts.codebook_sizes, *(n for r in facts.frame_rates for n in r.as_integer_ratio())]
    if not all(0 < n < NUMBER for n in numbers):
        raise TokensError(f"{facts.name} has a rate or a codebook size that is not above 0")
    if max(facts.codebook_sizes) > WIDEST:
        raise TokensError(f"{facts.name} has a codebook of {max(facts.codebook_sizes)} codes; bitstreams hold up to 2^57")
