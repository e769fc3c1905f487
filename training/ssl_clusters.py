"""Targets of masked prediction: a number for every frame of every clip, from k-means or from a tokenizer, kept on the device.

k-means is Lloyd's, on the device where the frames are: between the stages of a run there is no time to carry them elsewhere.

Letters: B batch, N frames, D channels, K clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..core.errors import CorpusError
from ..tokenizers._units_backbones import SPECTRA, Spectrum
from .ctc_data import Store

ROUNDS = 25  # of k-means
AT_ONCE = 1 << 24  # distances that are computed at once
LEARNT_FROM = 400_000  # frames
Encode = Callable[[Tensor], Tensor]


@dataclass
class Targets:
    """int16, the frames of all clips end to end, where each clip's begin, and how many it has."""

    line: Tensor
    starts: np.ndarray
    counts: np.ndarray

    def rows(self, store: Store, clips: np.ndarray, size: int) -> Tensor:
        """Of these clips, int64 (B, size); after a clip's end stands what is of no account."""
        place = store.to(self.starts[clips])[:, None] + torch.arange(size, device=self.line.device)
        return self.line[place.clamp(max=len(self.line) - 1)].long()


def groups(lengths: np.ndarray, clips: np.ndarray, samples: int) -> Iterator[np.ndarray]:
    """Every clip once, in batches of clips of like length, together up to `samples` with their padding."""
    waiting: list[int] = []
    for clip in clips[np.argsort(lengths[clips], kind="stable")]:
        if waiting and (len(waiting) + 1) * int(lengths[clip]) > samples:
            yield np.array(waiting)
            waiting = []
        waiting.append(int(clip))
    if waiting:
        yield np.array(waiting)


def enough(counts: np.ndarray, clips: np.ndarray, seed: int) -> np.ndarray:
    """Clips drawn at random that have the frames k-means learns from, or all of them."""
    drawn = np.random.default_rng(seed).permutation(clips)
    return drawn[: int(np.searchsorted(np.cumsum(counts[drawn]), LEARNT_FROM)) + 1]


@torch.no_grad()
def features(store: Store, clips: np.ndarray, counts: np.ndarray, encode: Encode, samples: int) -> Tensor:
    """Frames of sound (n, D) of these clips; encode: wav (B, T) -> (B, N, D). In float16, for there are many."""
    found = []
    for part in groups(store.lengths, clips, samples):
        x = encode(store.batch(part).wav)
        inside = torch.arange(x.shape[1], device=x.device) < store.to(counts[part])[:, None]
        found.append(x[inside].half())
    return torch.cat(found)


@torch.no_grad()
def label_all(store: Store, counts: np.ndarray, encode: Encode, samples: int) -> Targets:
    """Targets of all clips; encode: wav (B, T) -> int64 (B, N)."""
    starts = np.cumsum([0, *counts])[:-1]
    line = torch.zeros(int(counts.sum()), dtype=torch.int16, device=store.device)
    for part in groups(store.lengths, np.arange(len(counts)), samples):
        codes = encode(store.batch(part).wav)
        place = torch.arange(codes.shape[1], device=codes.device)
        inside = place < store.to(counts[part])[:, None]
        line[(store.to(starts[part])[:, None] + place)[inside]] = codes[inside].to(torch.int16)
    return Targets(line, starts, counts)


@torch.no_grad()
def means(x: Tensor, count: int, seed: int, rounds: int = ROUNDS) -> Tensor:
    """Means (K, D) of k-means on frames (n, D). Raises `CorpusError` for fewer frames than clusters.

    Clusters that lose all their frames begin again at a frame drawn at random.
    """
    if len(x) < count:
        raise CorpusError(f"the clips have {len(x)} frames, too few for {count} clusters; give more speech")
    rng = np.random.default_rng(seed)
    chosen = torch.from_numpy(rng.permutation(len(x))[:LEARNT_FROM]).to(x.device)
    x = x[chosen].float()
    found = x[:count].clone()
    for _ in range(rounds):
        code = nearest(x, found)
        sums = torch.zeros_like(found).index_add_(0, code, x)
        sizes = torch.bincount(code, minlength=count)[:, None]
        fresh = x[torch.from_numpy(rng.integers(len(x), size=count)).to(x.device)]
        found = torch.where(sizes > 0, sums / sizes.clamp(min=1), fresh)
    return found


def nearest(x: Tensor, words: Tensor) -> Tensor:
    """Frames (n, D) -> the nearest of means (K, D), int64 (n,)."""
    bias = 0.5 * words.square().sum(1)
    return torch.cat([(bias - part.float() @ words.t()).argmin(1) for part in x.split(max(1, AT_ONCE // len(words)))])


class Cepstra:
    """Cepstra with their slopes, without the clip's mean, which is its channel's and its level's; all of one spread."""

    def __init__(self, sample_rate: int, step: int, device: str) -> None:
        self.spectrum = Spectrum({**SPECTRA["mfcc"], "hop": step, "n_fft": round(1.25 * step)}, 0, sample_rate).to(device)
        self.scale = torch.ones(self.spectrum.dim, device=device)
        self.words = torch.zeros(0, self.spectrum.dim, device=device)

    def frames(self, wav: Tensor) -> Tensor:
        """wav (B, T) -> (B, N, D)."""
        x: Tensor = self.spectrum(wav)
        sound = (x[..., :1] > x[..., :1].amin(1, keepdim=True)).float()  # zeros after the end are the least there is
        middle = (x * sound).sum(1, keepdim=True) / sound.sum(1, keepdim=True).clamp(min=1)
        return (x - middle) / self.scale

    def learn(self, store: Store, clips: np.ndarray, counts: np.ndarray, size: int, seed: int, samples: int) -> None:
        """Learn the clusters from these clips."""
        x = features(store, enough(counts, clips, seed), counts, self.frames, samples)
        self.scale = x.float().std(0).clamp(min=1e-3)
        self.words = means(x / self.scale.half(), size, seed)

    def encode(self, wav: Tensor) -> Tensor:
        """wav (B, T) -> clusters (B, N)."""
        x = self.frames(wav)
        return nearest(x.flatten(0, 1), self.words).view(x.shape[:2])
