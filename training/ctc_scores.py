"""How well tokens and recognizer do on held-out speech."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..tokenizers._vox_s3 import index
from .augment import Augmenter, Hardness
from .ctc_data import UNKNOWN, Batch
from .ctc_model import HALVES, CTCTraining, View, halves, token_lengths

NOISY = Hardness(noise=1.0, snr=(10.0, 10.0), room=0.0, shift=0.0, semitones=0.0, channel=0.0, masks=0)
SHIFTED = Hardness(noise=0.0, snr=(0.0, 0.0), room=0.0, shift=1.0, semitones=4.0, channel=0.0, masks=0)


@dataclass
class Scores:
    """Counts over clips."""

    errors: int = 0  # edits between recognised and true labels
    phones: int = 0
    right: int = 0  # halves of tokens named rightly by the token alone
    known: int = 0
    edits: dict[str, int] = field(default_factory=dict)  # of units, under each change
    units: int = 0
    pairs: list[np.ndarray] = field(default_factory=list)  # (code, label) of halves that have a label
    codes: list[np.ndarray] = field(default_factory=list)

    def summary(self, labels: Sequence[str]) -> dict[str, float]:
        """Means: error rates, edit distances, information, and how many codes are used."""
        use = np.bincount(np.concatenate(self.codes)).astype(float)
        share = use[use > 0] / use.sum()
        out = {
            "per": self.errors / max(1, self.phones),
            "frame_error": 1 - self.right / max(1, self.known),
            **{f"ued_{name}": edits / max(1, self.units) for name, edits in self.edits.items()},
            "codes": float((use > 0).sum()),
            "perplexity": float(np.exp(-(share * np.log(share)).sum())),
        }
        if self.pairs:
            out["pnmi"] = normalised_information(np.concatenate(self.pairs, 1), len(labels))
        return out


def score(model: CTCTraining, batch: Batch, augmenter: Augmenter, rng: np.random.Generator, scores: Scores) -> None:
    """Adds a batch."""
    hop = model.config.hop
    lengths = token_lengths(batch.lengths, hop)
    nothing = np.random.default_rng(0)
    clean = model(model.features(batch.wav, hop, None, None, nothing))
    codes = codes_of(model, clean)
    _count_recognition(clean, batch, lengths, codes, hop, scores)
    scores.units += sum(len(runs(row[:n])) for row, n in zip(codes, lengths, strict=True))
    scores.codes += [row[:n] for row, n in zip(codes, lengths, strict=True)]
    for name, change in (("noise", NOISY), ("pitch", SHIFTED)):
        wav = augmenter.waves(batch.wav, batch.level, change, rng)
        other = codes_of(model, model(model.features(wav, hop, augmenter, change, rng)))
        edits = sum(distance(runs(a[:n]), runs(b[:n])) for a, b, n in zip(codes, other, lengths, strict=True))
        scores.edits[name] = scores.edits.get(name, 0) + edits


def codes_of(model: CTCTraining, view: View) -> np.ndarray:
    """Codes (B, N)."""
    return index(view.scalars, model.config.levels).cpu().numpy()


def _count_recognition(view: View, batch: Batch, lengths: list[int], codes: np.ndarray, hop: int, scores: Scores) -> None:
    alone, _, ctc = view.logits
    labels = halves(batch.grid, alone.shape[1], hop)
    known = labels != UNKNOWN
    scores.right += int(((alone.argmax(-1) == labels) & known).sum())
    scores.known += int(known.sum())
    labels_array = labels.cpu().numpy()
    both = np.stack([np.repeat(codes, HALVES, 1), labels_array])
    scores.pairs.append(both[:, labels_array != UNKNOWN])
    best = ctc.argmax(-1).cpu().numpy()
    for row, n, target, size in zip(best, lengths, batch.targets.cpu().numpy(), batch.target_lengths, strict=True):
        if size:
            found = [label for label in runs(row[:n]) if label != 0]
            scores.errors += distance(found, list(target[:size]))
            scores.phones += size


def runs(row: np.ndarray) -> list[int]:
    """Values with repetitions in a row taken out."""
    return [int(v) for v in row[np.r_[True, row[1:] != row[:-1]]]] if len(row) else []


def distance(a: Sequence[int], b: Sequence[int]) -> int:
    """Edits between two sequences."""
    if not len(b):
        return len(a)
    b_array, row = np.asarray(b), np.arange(len(b) + 1)
    steps = np.arange(len(b) + 1)
    for i, symbol in enumerate(a):
        best = np.minimum(row[1:] + 1, row[:-1] + (b_array != symbol))
        row = np.minimum.accumulate(np.r_[i + 1, best] - steps) + steps
    return int(row[-1])


def normalised_information(pairs: np.ndarray, labels: int) -> float:
    """I(label; code) / H(label) of pairs (2, n) of code and label."""
    _, codes = np.unique(pairs[0], return_inverse=True)
    joint = np.zeros((codes.max() + 1, labels))
    np.add.at(joint, (codes, pairs[1]), 1)
    joint /= joint.sum()
    p, q = joint.sum(1, keepdims=True), joint.sum(0)
    where = joint > 0
    information = (joint[where] * np.log(joint[where] / (p * q)[where])).sum()
    entropy = -(q[q > 0] * np.log(q[q > 0])).sum()
    return float(information / max(entropy, 1e-12))
