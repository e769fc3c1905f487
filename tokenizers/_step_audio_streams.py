"""How clips go through Step-Audio's halves: several at once, or one as it arrives."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..core.model import Encoded
from ..core.streaming import EncoderCore
from ._step_audio import BEFORE, CHUNK_SAMPLES, LEAST, Linguistic
from .s3 import S3V1At25Hz

__all__ = ["SHORTEST", "Both", "Chunks", "Cuts", "codes_of"]

SHORTEST = 480  # samples of a cut, but of a clip's only one


def codes_of(network: Linguistic, wavs: list[Tensor]) -> Tensor:
    """Of clips (T_i,): (B, longest)."""
    stacks = [network.whole(wav[None])[0] for wav in wavs]
    lengths = torch.tensor([len(rows) for rows in stacks], device=stacks[0].device)
    codes, _ = network(nn.utils.rnn.pad_sequence(stacks, batch_first=True), lengths)
    return codes


class Chunks:
    """An `EncoderCore` of the linguistic half: whole chunks as they come, with the sound that their first stack reaches back
    to."""

    def __init__(self, network: Linguistic, device: torch.device) -> None:
        self.network, self.state = network, network.encoder.start(1, device)
        self.held = torch.zeros(1, 0, device=device)

    @property
    def lead(self) -> int:
        """Samples held that earlier chunks had."""
        return BEFORE if self.state.done else 0

    def push(self, wav: Tensor) -> Encoded:
        self.held = torch.cat([self.held, wav], 1)
        whole = (self.held.shape[1] - self.lead) // CHUNK_SAMPLES * CHUNK_SAMPLES
        if not whole:
            return self._none()
        end = self.lead + whole
        encoded = self._run(self.held[:, :end], last=False)
        self.held = self.held[:, end - BEFORE :].clone()
        return encoded

    def finish(self) -> Encoded:
        short = 0 if self.state.done else max(0, LEAST - self.held.shape[1])
        self.held = nn.functional.pad(self.held, (0, short))
        enough = self.held.shape[1] - self.lead >= LEAST
        return self._run(self.held, last=True) if enough else self._none()

    def _run(self, wav: Tensor, last: bool) -> Encoded:
        stacks = self.network.features(wav, first=not self.state.done, last=last)
        codes, self.state = self.network(stacks, torch.tensor([stacks.shape[1]], device=wav.device), self.state)
        return Encoded([codes])

    def _none(self) -> Encoded:
        return Encoded([self.held.new_zeros(1, 0, dtype=torch.int64)])


class Cuts:
    """An `EncoderCore` of the semantic half: segments that know nothing of each other."""

    def __init__(self, model: S3V1At25Hz, size: int) -> None:
        self.model, self.size = model, size
        self.held = torch.zeros(1, 0, device=model.device)
        self.first = True

    def push(self, wav: Tensor) -> Encoded:
        self.held = torch.cat([self.held, wav], 1)
        parts = []
        while self.held.shape[1] >= self.size:
            parts.append(self._run(self.held[:, : self.size]))
            self.held = self.held[:, self.size :].clone()
        return self._joined(parts)

    def finish(self) -> Encoded:
        left = self.held.shape[1]
        return self._joined([self._run(self.held)] if left >= SHORTEST or (self.first and left) else [])

    def _run(self, wav: Tensor) -> Tensor:
        self.first = False
        return self.model.codes([self.model.log_mel(wav)])

    def _joined(self, parts: list[Tensor]) -> Encoded:
        return Encoded([torch.cat([self.held.new_zeros(1, 0, dtype=torch.int64), *parts], 1)])


class Both:
    """An `EncoderCore` of both."""

    def __init__(self, first: EncoderCore, second: EncoderCore) -> None:
        self.parts = first, second

    def push(self, wav: Tensor) -> Encoded:
        return Encoded([part.push(wav).codes[0] for part in self.parts])

    def finish(self) -> Encoded:
        return Encoded([part.finish().codes[0] for part in self.parts])
