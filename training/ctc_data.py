"""Labelled speech for recognition: manifests with phones, all clips on the device, batches of clips of like length.

A manifest's row says what is spoken in `phones`, a list of [start s, end s, label] without overlaps, or, where the times are
not known, in `labels`, a list of labels; a row with neither is speech all the same. A step copies nothing from disk: sound and
labels lie on the device as integers, and a batch is picked out of them there, from a few numbers that the host draws.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..core.errors import CorpusError
from .data import Clips, read_manifest

GRID = 160  # samples of a cell of the labels' grid, 10 ms
SILENCE = "SIL"  # the label of what is no phone; known to frames, not to CTC
UNKNOWN = -100  # of frames without a label, as `cross_entropy` passes over them


@dataclass(frozen=True)
class Spoken:
    """What one clip says: phones with times (empty where these are not known), their labels in order, and who speaks."""

    phones: list[tuple[float, float, str]]
    labels: list[str]
    speaker: str


def read_spoken(manifests: Sequence[Path]) -> dict[str, Spoken]:
    """Path as the clips' cache knows it -> what is said there. Raises `CorpusError`, naming the manifest, for odd columns."""
    found: dict[str, Spoken] = {}
    for manifest in manifests:
        lines = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines() if line.strip()]
        for row, line in zip(read_manifest(manifest), lines, strict=True):
            try:
                phones = [(float(start), float(end), str(label)) for start, end, label in line.get("phones") or []]
                labels = [str(label) for label in line.get("labels") or []]
            except (TypeError, ValueError) as error:
                raise CorpusError(
                    f"{manifest}: the labels of {row['name']} cannot be read ({error}); wanted `phones`, a list of "
                    "[start, end, label], or `labels`, a list of labels"
                ) from error
            spoken = [label for _, _, label in phones if label != SILENCE]
            found[row["path"]] = Spoken(phones, spoken or labels, str(line.get("speaker") or row["name"]))
    return found


def label_set(spoken: Sequence[Spoken]) -> list[str]:
    """All labels, `SILENCE` first. CTC takes class 0, which is no phone in its sequences, as its blank."""
    labels = {label for clip in spoken for label in [*clip.labels, *(phone[2] for phone in clip.phones)]}
    return [SILENCE, *sorted(labels - {SILENCE})]


def grid_of(clip: Spoken, samples: int, sample_rate: int, ids: dict[str, int]) -> np.ndarray:
    """int16 (cells): the label under the middle of each cell, `UNKNOWN` outside of phones."""
    grid = np.full(-(-samples // GRID), UNKNOWN, np.int16)
    for start, end, label in clip.phones:
        first, last = (round(seconds * sample_rate / GRID) for seconds in (start, end))
        grid[first:last] = ids[label]
    return grid


@dataclass
class Batch:
    """Clips of one step, on the device, zeros after the end of each.

    wav float32 (B, T); lengths (B,) in samples; level (B,) RMS of the speech; targets int64 (B, S) for CTC, with their lengths
    as numbers; grid int64 (B, cells); clips: their places in the store.
    """

    wav: Tensor
    lengths: np.ndarray
    level: Tensor
    targets: Tensor
    target_lengths: list[int]
    grid: Tensor
    clips: np.ndarray


class Store:
    """All clips and labels on a device."""

    def __init__(self, clips: Clips, spoken: Sequence[Spoken], labels: Sequence[str], sample_rate: int, device: str) -> None:
        """spoken: of each clip, in their order."""
        ids = {label: i for i, label in enumerate(labels)}
        grids = [grid_of(clip, int(n), sample_rate, ids) for clip, n in zip(spoken, clips.lengths, strict=True)]
        self.device = device
        self.samples = torch.from_numpy(np.array(clips.samples)).to(device)
        self.grid = torch.from_numpy(np.concatenate(grids)).to(device)
        self.grid_starts = np.cumsum([0, *map(len, grids)])[:-1]
        self.starts, self.lengths, self.levels = clips.starts, clips.lengths, clips.levels
        self.targets = [[ids[label] for label in clip.labels] for clip in spoken]

    def batch(self, clips: np.ndarray) -> Batch:
        """The clips of these places, whole."""
        lengths = self.lengths[clips]
        cells = -(-lengths // GRID)
        size = int(cells.max())
        target_lengths = [len(self.targets[i]) for i in clips]
        targets = np.zeros((len(clips), max(1, *target_lengths)), np.int64)
        for row, i in zip(targets, clips, strict=True):
            row[: len(self.targets[i])] = self.targets[i]
        wav = self._rows(self.samples, self.starts[clips], lengths, size * GRID, 0).float() / 32768
        return Batch(
            wav,
            lengths,
            self.to(self.levels[clips].astype(np.float32)),
            self.to(targets),
            target_lengths,
            self._rows(self.grid, self.grid_starts[clips], cells, size, UNKNOWN).long(),
            clips,
        )

    def to(self, array: np.ndarray) -> Tensor:
        """A small array on the device, without waiting for it."""
        tensor = torch.from_numpy(array)
        return tensor.pin_memory().to(self.device, non_blocking=True) if "cuda" in self.device else tensor

    def _rows(self, line: Tensor, starts: np.ndarray, lengths: np.ndarray, size: int, fill: int) -> Tensor:
        place = torch.arange(size, device=line.device)
        rows = line[(self.to(starts)[:, None] + place).clamp(max=len(line) - 1)]
        return torch.where(place < self.to(lengths)[:, None], rows, fill)


def batches(lengths: np.ndarray, clips: np.ndarray, samples: int, seed: int, first: int = 0) -> Iterator[np.ndarray]:
    """Endless batches of clips of like length, together up to `samples` with their padding, from the `first` on.

    lengths: of all clips; clips: the places that may be drawn, each as often as it stands there. Every epoch has each of them
    once, in another grouping and order, which follow from (seed, epoch).
    """
    epoch, skip = 0, first
    while True:
        rng = np.random.default_rng((seed, epoch))
        order = clips[np.argsort(lengths[clips] * rng.uniform(0.9, 1.1, len(clips)), kind="stable")]
        groups: list[list[int]] = [[]]
        longest = 0
        for clip in order:
            longest = max(longest, int(lengths[clip]))
            if groups[-1] and (len(groups[-1]) + 1) * longest > samples:
                groups.append([])
                longest = int(lengths[clip])
            groups[-1].append(int(clip))
        shuffled = rng.permutation(len(groups))
        yield from (np.array(groups[i]) for i in shuffled[skip:])
        skip = max(0, skip - len(groups))
        epoch += 1


def held_out_speakers(spoken: Sequence[Spoken], every: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Places of clips to train on and to validate on; every 40th speaker, if there are that many, is of the second."""
    speakers = sorted({clip.speaker for clip in spoken})
    aside = set(speakers[every // 2 :: every]) if len(speakers) >= every else set()
    held = np.array([clip.speaker in aside for clip in spoken])
    return np.flatnonzero(~held), np.flatnonzero(held if held.any() else ~held)
