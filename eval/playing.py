"""Entries at work: each encodes and decodes a clip, and what it gives is brought to one rate, one length and one time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..core.audio import Audio
from ..core.errors import AudioError, VoxzooError
from ..core.loading import load
from . import anchors
from .alignment import align
from .entrants import Entrant
from .metric import Original

if TYPE_CHECKING:
    from ..core.model import Model
    from ..core.tokens import Tokens

__all__ = ["CODER", "Played", "Players", "reason"]

CODER: Literal["adaptive"] = "adaptive"  # of the bitstream whose size is reported


@dataclass(eq=False)
class Played:
    """What an entry made of one clip.

    Attributes:
        decoded: float32 (T,) at the rate of the comparison, aligned; None where there is a problem.
        delay: seconds that were taken out.
        problem: why there is no sound.
        codes: one array (N_k,) per stream; empty for anchors and where encoding failed.
        file_bytes, payload_bytes: of the clip as a file, with and without what is not codes; None where `unwritten` says why.
    """

    decoded: np.ndarray | None = None
    delay: float = 0.0
    problem: str = ""
    codes: list[np.ndarray] = field(default_factory=list)
    file_bytes: int | None = None
    payload_bytes: int | None = None
    unwritten: str = ""


def reason(error: Exception) -> str:
    """An exception as the reason of a missing value, in one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, VoxzooError) and text else f"{type(error).__name__}: {text}"


class Players:
    """All entries, loaded. Raises what loading a model raises, and `VoxzooError` for codebooks that a model does not have.

    Args:
        entrants: see `entrants.py`.
        rate: Hz at which everything is compared.
        device: as `voxzoo.load` takes it.
        written: whether to write each clip's bitstream and count its bytes.
    """

    def __init__(self, entrants: Sequence[Entrant], rate: int, device: str = "cpu", written: bool = True) -> None:
        self.entrants, self.rate, self.device, self.written = list(entrants), rate, device, written
        self.models: dict[str, Model] = {}
        for item in entrants:
            if item.model and item.model not in self.models:
                self.models[item.model] = load(item.model, weights=item.weights, device=device)
            if item.streams and not 1 <= item.streams <= self.models[item.model].facts.streams:
                have = self.models[item.model].facts.streams
                raise VoxzooError(f"entry {item.label!r} asks for {item.streams} codebooks; {item.model} has 1 to {have}")

    def about(self) -> dict[str, dict[str, Any]]:
        """Label -> what identifies the entry: facts, fingerprint, streams, resampler; or codec and ffmpeg's version."""
        return {item.label: self._about(item) for item in self.entrants}

    def _about(self, item: Entrant) -> dict[str, Any]:
        if item.anchor:
            settings = [*item.anchor.options, f"{item.anchor.sample_rate} Hz"]
            return {"kind": "anchor", "codec": item.anchor.codec, "settings": settings, "ffmpeg": anchors.ffmpeg_version(),
                    "bitrate": item.anchor.bitrate}  # fmt: skip
        model = self.models[item.model]
        streams = item.streams or model.facts.streams
        engine = {"engine": model.engine} if hasattr(model, "engine") else {}  # a bundle: graphs of other precision differ
        return {"kind": "model", "facts": model.facts.to_dict(), "fingerprint": model.fingerprint, "streams": streams,
                "resampler": model.resampler, "bitrate": model.facts.bitrate_of(streams), **engine}  # fmt: skip

    def play(self, original: Original, labels: Sequence[str]) -> Iterator[tuple[str, Played]]:
        """What each of these entries makes of a clip, one after the other."""
        wanted = [item for item in self.entrants if item.label in labels]
        for item in wanted:
            if item.anchor:
                yield item.label, self._anchor(item.anchor, original)
        for name, model in self.models.items():
            mine = [item for item in wanted if item.model == name]
            if mine:
                yield from self._model(model, mine, original)

    def _anchor(self, anchor: anchors.Anchor, original: Original) -> Played:
        try:
            coded = anchors.code(anchor, original.audio)
        except Exception as error:
            return Played(problem=reason(error), unwritten=reason(error))
        played = Played(file_bytes=coded.file_bytes, payload_bytes=coded.payload_bytes)
        return self._aligned(played, coded.audio, original)

    def _model(self, model: Model, entrants: list[Entrant], original: Original) -> Iterator[tuple[str, Played]]:
        most = max(item.streams or model.facts.streams for item in entrants)
        try:
            tokens = model.encode(original.audio, streams=most).numpy()
        except Exception as error:
            problem = f"encoding failed: {reason(error)}"
            yield from ((item.label, Played(problem=problem, unwritten=problem)) for item in entrants)
            return
        for item in entrants:
            yield item.label, self._decoded(model, tokens, item.streams or model.facts.streams, original)

    def _decoded(self, model: Model, tokens: Tokens, streams: int, original: Original) -> Played:
        tokens = tokens.streams(streams)
        played = Played(codes=[codes[0, :n] for codes, n in zip(tokens.codes, tokens.frames[0], strict=True)])
        if self.written:
            self._write(tokens, played)
        try:
            audio = model.decode(tokens)
        except Exception as error:
            played.problem = _decoding(error)
            return played
        wanted = model.facts.decoded_length(int(tokens.lengths[0]))
        if len(audio) != wanted:
            played.problem = f"the model gave back {len(audio)} samples of {wanted}"
            return played
        return self._aligned(played, audio, original)

    def _write(self, tokens: Tokens, played: Played) -> None:
        try:
            from ..core.bitstream import bitstream_bytes

            total, header = bitstream_bytes(tokens, CODER)
            played.file_bytes, played.payload_bytes = total, total - header
        except Exception as error:
            played.unwritten = reason(error)

    def _aligned(self, played: Played, audio: Audio, original: Original) -> Played:
        if not np.isfinite(audio.samples).all():
            played.problem = "the model's sound holds NaN"
            return played
        try:
            samples = audio.resample(self.rate).samples
            aligned, delay = align(original.samples, samples, self.rate)
            played.decoded = as_written(aligned)
            played.delay = delay / self.rate
        except Exception as error:
            played.decoded, played.problem = None, f"alignment failed: {reason(error)}"
        return played


def as_written(samples: np.ndarray) -> np.ndarray:
    """float32 (T,) clipped and rounded to 16 bits, as in a WAV file.

    A band that a codec leaves empty then holds the noise of rounding, as it does wherever sound is kept in files, and not the
    far smaller errors of float arithmetic, which would decide every distance between logarithms of spectra.
    """
    rounded: np.ndarray = np.clip(np.rint(samples * np.float32(32768)), -32768, 32767).astype(np.float32)
    return rounded / np.float32(32768)


def _decoding(error: Exception) -> str:
    """`Audio` refuses samples that are no sound: say what that means here."""
    text = reason(error)
    if isinstance(error, AudioError) and "expected finite values" in text:
        return "the model's sound holds NaN"
    return f"decoding failed: {text}"
