"""Mel frames from tokens by `vox-flow-16k`'s network: whole clips, or one clip as its tokens arrive, with the same result.

The noise a clip starts from is fixed and belongs to the frame's place in the clip, so nothing depends on how it is pushed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._flow_ode import euler, fixed_noise, guided, times
from ._flow_vox import Condition, FlowNetwork

__all__ = ["GUIDANCE", "STEPS", "FlowStream", "sample"]

STEPS = 10
GUIDANCE = 0.7


def sample(
    network: FlowNetwork,
    codes: Tensor,
    speaker: Tensor,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> Tensor:
    """codes (B, N), -1 where a clip has ended, and voices (B, S) -> log-mel (B, F, M), stacked.

    Args:
        guidance: how much farther than the condition says from what comes without one; 0 saves half the work.
        temperature: deviation of the noise.
        chunk: frames of a chunk; 0 for the whole clip; default: the configuration's.
    """
    chunk = network.config.chunk if chunk is None else chunk
    known = network.condition(codes, speaker)
    mask = (codes >= 0).repeat_interleave(network.config.frames_per_token, 1)[..., None].to(known.guess.dtype)
    noise = fixed_noise(0, mask.shape[1], network.config.mels).to(known.guess.device)
    start = temperature * noise.expand(len(codes), -1, -1)
    told = known.doubled() if guidance else known
    held = torch.cat([mask, mask]) if guidance else mask

    def velocity(step: int, t: float, x: Tensor) -> Tensor:
        moment = x.new_full((len(told.speaker),), t)
        given = network.estimator(torch.cat([x, x]) if guidance else x, moment, told, held, chunk)
        return guided(given, guidance) if guidance else given

    return network.restore(euler(velocity, start, times(steps)))


class FlowStream:
    """One clip: tokens in, log-mel frames out, in chunks of the configuration's size."""

    def __init__(
        self, network: FlowNetwork, speaker: Tensor, steps: int = STEPS, guidance: float = GUIDANCE, temperature: float = 1.0
    ) -> None:
        """speaker (1, S)."""
        self.network, self.speaker, self.guidance, self.temperature = network, speaker, guidance, temperature
        self.at = times(steps)
        rate = network.config.frames_per_token
        self.rate, self.context = rate, -(-network.encoder.before // rate)
        batch = 2 if guidance else 1
        self.tails = [network.estimator.silence(batch, speaker) for _ in range(steps)]
        self.codes = torch.zeros(1, 0, dtype=torch.int64, device=speaker.device)  # still needed, the context first
        self.behind = 0  # of them, tokens that the encoder is done with
        self.known: list[Tensor] = []  # guess and hidden frames that wait for a whole chunk
        self.done = 0  # frames given out

    def push(self, codes: Tensor, last: bool = False) -> Tensor:
        """codes (1, n) -> the frames (1, F, M) of the chunks that are now whole; with `last`, all that are left."""
        self.codes = torch.cat([self.codes, codes], 1)
        self._encode(last)
        out = [self.speaker.new_zeros(1, 0, self.network.config.mels)]
        size = self.network.config.chunk
        while self.known and self.known[0].shape[1] and (last or (size and self.known[0].shape[1] >= size)):
            chunk = [part[:, : size or part.shape[1]] for part in self.known]
            self.known = [part[:, chunk[0].shape[1] :] for part in self.known]
            out.append(self._flow(Condition(chunk[0], chunk[1], self.speaker)))
        return torch.cat(out, 1)

    def _encode(self, last: bool) -> None:
        """The encoder's frames of the tokens that need no more of those to come."""
        end = self.codes.shape[1] - (0 if last else self.network.config.lookahead)
        if end <= self.behind:
            return
        found = self.network.condition(self.codes, self.speaker)[:2]
        new = [part[:, self.behind * self.rate : end * self.rate] for part in found]
        self.known = [torch.cat(pair, 1) for pair in zip(self.known, new, strict=True)] if self.known else new
        dropped = max(0, end - self.context)
        self.codes, self.behind = self.codes[:, dropped:], end - dropped

    def _flow(self, known: Condition) -> Tensor:
        frames = known.guess.shape[1]
        noise = fixed_noise(self.done, self.done + frames, self.network.config.mels).to(self.speaker.device)
        told = known.doubled() if self.guidance else known

        def velocity(step: int, t: float, x: Tensor) -> Tensor:
            moment = x.new_full((len(told.speaker),), t)
            given = self.network.estimator.step(torch.cat([x, x]) if self.guidance else x, moment, told, self.tails[step])
            return guided(given, self.guidance) if self.guidance else given

        self.done += frames
        return self.network.restore(euler(velocity, self.temperature * noise[None], self.at))
