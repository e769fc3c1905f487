"""What a flow is trained on: tokens and log-mel frames of every clip, held on the device, and seeded batches cut from them.

Tokens are made once, of whole clips, and kept beside the decoded clips under the tokenizer's fingerprint. Mels are made anew
at each start, of clips brought to one level. A batch is a handful of numbers drawn on the host; the device cuts it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..core.errors import CorpusError, ModelError
from ..core.files import replacing
from ..core.mel import LogMel
from ..core.model import Model
from .data import Clips

log = logging.getLogger(__name__)
LEVEL = -23.0  # dBFS of the active speech, to which every clip is brought
TOGETHER = 240.0  # seconds of sound that are tokenized at once


class Batch(NamedTuple):
    """Tensors of one step: codes (B, N), -1 where a clip has ended; mel (B, F, M); another stretch of the same voice
    (B, R, M), of so many true frames (B,)."""

    codes: Tensor
    mel: Tensor
    reference: Tensor
    reference_lengths: Tensor


def read_speakers(manifests: Sequence[Path], folder: Path) -> list[str]:
    """Who speaks in each clip of the cache in `folder`; a clip of nobody known is its own speaker."""
    known: dict[str, str] = {}
    for manifest in manifests:
        for line in manifest.read_text(encoding="utf-8").splitlines():
            if line.strip():
                row = json.loads(line)
                speaker = row.get("speaker")
                if isinstance(speaker, str) and speaker and "unlabelled" not in speaker:
                    known[str(manifest.parent / (row.get("path") or row["audio_filepath"]))] = speaker
    clips = json.loads((folder / "clips.json").read_text())["clips"]
    return [known.get(clip["path"], f"clip {i}") for i, clip in enumerate(clips)]


def check_tokenizer(tokenizer: Model, sample_rate: int, frame_hop: int) -> int:
    """Frames of `frame_hop` samples at `sample_rate` per token.

    Raises `ModelError` for tokens that do not come at one whole rate of them.
    """
    facts = tokenizer.facts
    if len(facts.frame_rates) != 1:
        raise ModelError(f"{facts.name} has {len(facts.frame_rates)} streams; this flow takes tokens of one")
    frames = sample_rate / facts.frame_rates[0] / frame_hop
    if frames.denominator != 1:
        raise ModelError(f"a token of {facts.name} lasts {float(frames):g} frames of {frame_hop} samples, no whole number")
    return int(frames)


def tokenize(clips: Clips, sample_rate: int, tokenizer: Model, cache: Path) -> list[np.ndarray]:
    """Tokens int32 (N,) of every clip, from `cache` where they lie there already."""
    path = cache / f"tokens-{tokenizer.fingerprint[:16]}.npz"
    if path.exists():
        saved = np.load(path)
        if len(saved["counts"]) == len(clips.lengths):
            return np.split(saved["codes"], np.cumsum(saved["counts"])[:-1])
    log.info("tokenizing %d clips with %s", len(clips.lengths), tokenizer.facts.name)
    out: dict[int, np.ndarray] = {}
    group: list[int] = []
    for clip in [*np.argsort(clips.lengths, kind="stable").tolist(), None]:
        if clip is None or (group and (len(group) + 1) * clips.lengths[clip] > TOGETHER * sample_rate):
            wavs = [torch.from_numpy(clips.cut(i, 0, int(clips.lengths[i]))).to(tokenizer.device) for i in group]
            tokens = tokenizer.encode(wavs, sample_rate)
            codes = torch.as_tensor(tokens.codes[0]).cpu().numpy().astype(np.int32)
            out |= {i: row[: int(count)] for i, row, count in zip(group, codes, tokens.frames[:, 0], strict=True)}
            group = []
        if clip is not None:
            group.append(clip)
    done = [out[i] for i in range(len(out))]
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, codes=np.concatenate(done), counts=np.array([len(row) for row in done]))
    return done


@dataclass
class Bank:
    """Everything on the device, clips end to end: codes int32 (N,) and mel float16 (F, M); starts and counts in tokens."""

    codes: Tensor
    mel: Tensor
    starts: np.ndarray
    counts: np.ndarray
    frames_per_token: int

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each mel band (M,)."""
        mel = self.mel.float()
        return mel.mean(0), mel.std(0).clamp(min=1e-3)


@torch.no_grad()
def fill(clips: Clips, tokens: Sequence[np.ndarray], front: LogMel, stack: int, rate: int, device: str) -> Bank:
    """Whole tokens of every clip and their mel frames, `stack` of the front end's side by side, `rate` of those for a token."""
    step = front.hop * stack * rate
    counts = np.array([min(len(t), int(n) // step) for t, n in zip(tokens, clips.lengths, strict=True)])
    if not counts.any():
        raise CorpusError("no clip is as long as one token")
    codes, mels = [], []
    for i, count in enumerate(counts):
        wav = torch.from_numpy(clips.cut(i, 0, int(clips.lengths[i]))).to(device)
        gain = 10 ** (LEVEL / 20) / float(clips.levels[i])
        if count:
            mel = front((wav * gain).clamp(-1, 1)[None])[0, :, : count * rate * stack]
            mels.append(mel.T.reshape(count * rate, -1).half())
        codes.append(torch.from_numpy(tokens[i][:count]))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return Bank(torch.cat(codes).to(device), torch.cat(mels), starts, counts, rate)


class Cuts:
    """Endless seeded batches. Batch i depends on (seed, i) only, so a resumed run continues exactly."""

    def __init__(
        self,
        bank: Bank,
        speakers: Sequence[str],
        weights: np.ndarray,
        tokens: int,
        batch: int,
        reference: tuple[int, int],
        seed: int,
    ) -> None:
        """weights: probability of each clip; tokens: of a cut; reference: fewest and most frames of the other stretch."""
        self.bank, self.tokens, self.size, self.reference, self.seed = bank, tokens, batch, reference, seed
        usable = np.where(bank.counts > 0, weights, 0.0)
        self.chances = np.cumsum(usable / usable.sum())
        _, owner = np.unique(np.array(speakers), return_inverse=True)
        self.order = np.argsort(owner, kind="stable")  # clips of a speaker side by side
        self.place = np.argsort(self.order)  # where each clip stands among them
        self.mates = np.bincount(owner)[owner]
        self.first = np.searchsorted(owner[self.order], owner)

    def draw(self, index: int) -> tuple[np.ndarray, ...]:
        """Starts and lengths of the cuts, in tokens from the bank's beginning; those of the references, in frames."""
        rng = np.random.default_rng((self.seed, index))
        counts, rate = self.bank.counts, self.bank.frames_per_token
        clip = np.searchsorted(self.chances, rng.random(self.size)).clip(max=len(counts) - 1)
        length = np.minimum(counts[clip], self.tokens)
        start = (rng.random(self.size) * (counts[clip] - length + 1)).astype(np.int64)
        # another clip of the same speaker, or the longer stretch of this one beside the cut, or all of it if that is short
        other = (rng.random(self.size) * (self.mates[clip] - 1)).astype(np.int64)
        other += self.first[clip] + (other + self.first[clip] >= self.place[clip])
        alone = self.mates[clip] < 2
        mate = np.where(alone, clip, self.order[other.clip(max=len(counts) - 1)])
        begin, room = np.zeros_like(start), rate * counts[mate]
        after = counts[clip] - start - length
        later = after > start
        beside = rate * np.maximum(start, after)
        apart = alone & (beside >= self.reference[0])
        begin = np.where(apart & later, rate * (start + length), begin)
        room = np.where(apart, beside, room)
        wanted = rng.integers(self.reference[0], self.reference[1] + 1, self.size)
        taken = np.minimum(wanted, room).clip(min=1)
        begin += (rng.random(self.size) * (room - taken + 1)).astype(np.int64)
        return self.bank.starts[clip] + start, length, rate * self.bank.starts[mate] + begin, taken

    def batch(self, index: int) -> Batch:
        """Tensors on the bank's device."""
        bank = self.bank
        drawn = torch.from_numpy(np.stack(self.draw(index)))
        if bank.mel.is_cuda:
            drawn = drawn.pin_memory()
        start, length, begin, taken = drawn.to(bank.mel.device, non_blocking=True)[:, :, None]
        place = torch.arange(self.tokens, device=start.device)
        codes = bank.codes[(start + place).clamp(max=len(bank.codes) - 1)].long().masked_fill(place >= length, -1)
        rate = bank.frames_per_token
        frame = torch.arange(self.tokens * rate, device=start.device)
        mel = bank.mel[(start * rate + frame).clamp(max=len(bank.mel) - 1)].float()
        heard = torch.arange(self.reference[1], device=start.device)
        reference = bank.mel[(begin + heard).clamp(max=len(bank.mel) - 1)].float()
        return Batch(codes, mel, reference, taken[:, 0])
