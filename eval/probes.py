"""What a linear classifier reads off tokens or features (the speaker, the gender), and what information tokens hold of it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.errors import MissingExtraError, TokensError
from .metric import MetricError
from .phonetic import joint_counts, mutual_information

__all__ = ["LabelInformation", "Probe", "histograms", "label_information", "probe"]


@dataclass(frozen=True)
class Probe:
    """Accuracy of a linear classifier on clips it was not trained on.

    Attributes:
        accuracy: share of clips classified right, each once, in [0, 1].
        low, high: Wilson's 95 % interval of the accuracy.
        chance: share of the most frequent label.
        clips, labels: counted.
        folds: of the cross-validation.
        left_out: clips of labels that are in one group only, which cannot be in training and test.
    """

    accuracy: float
    low: float
    high: float
    chance: float
    clips: int
    labels: int
    folds: int
    left_out: int


@dataclass(frozen=True)
class LabelInformation:
    """I(token; label) / H(label) over frames, in [0, 1].

    Attributes:
        value: the plug-in estimate, which is biased upwards.
        shuffled: its mean when the labels are shuffled between clips: what the bias alone gives.
        information, entropy: I(token; label) and H(label), bits.
    """

    value: float
    shuffled: float
    information: float
    entropy: float


def histograms(codes: Sequence[np.ndarray], size: int) -> np.ndarray:
    """float64 (clips, size): relative frequency of each code in each clip. Raises `TokensError` for codes out of range."""
    out = np.zeros((len(codes), size))
    for row, clip in zip(out, codes, strict=True):
        if len(clip) and (clip.min() < 0 or clip.max() >= size):
            raise TokensError(f"codes from {clip.min()} to {clip.max()}; expected 0 to {size - 1}")
        row += np.bincount(clip, minlength=size) / max(1, len(clip))
    return out


def probe(
    features: np.ndarray, labels: Sequence[str], groups: Sequence[Hashable] | None = None, *, folds: int = 5, seed: int = 0
) -> Probe:
    """Logistic regression (scikit-learn, L2, C = 1, on features scaled to unit variance), cross-validated over groups.

    Args:
        features: (clips, D), one vector per clip.
        labels: what is to be read, of each clip.
        groups: clips of one group (a sentence) are never in training and test at once; every clip its own by default.
        folds: at most so many parts, of which each is tested once; fewer when there are fewer groups.
        seed: of the split.

    Raises:
        MetricError: fewer than two labels that occur in two groups.
        MissingExtraError: scikit-learn is not installed.
    """
    features, named = np.asarray(features, dtype=np.float64), np.asarray(labels, dtype=str)
    parts = np.unique([repr(g) for g in groups], return_inverse=True)[1] if groups is not None else np.arange(len(named))
    if features.ndim != 2 or len(features) != len(named) or len(parts) != len(named):
        raise TokensError(
            f"features of shape {features.shape}, {len(named)} labels, {len(parts)} groups; expected one row a clip"
        )
    if not np.isfinite(features).all():
        raise TokensError("features hold NaN or infinite values; a probe needs finite ones")
    kept = np.isin(named, [name for name in np.unique(named) if len(np.unique(parts[named == name])) > 1])
    if len(np.unique(named[kept])) < 2:
        raise MetricError(
            "fewer than two labels occur in two groups each (clips, sentences or speakers); a probe needs two to tell apart"
        )
    x, y, group = features[kept], named[kept], parts[kept]
    count = min(folds, len(np.unique(group)), int(np.unique(y, return_counts=True)[1].max()))
    right = int((_predicted(x, y, group, count, seed) == y).sum())
    low, high = _wilson(right, len(y))
    chance = float(np.unique(y, return_counts=True)[1].max() / len(y))
    return Probe(right / len(y), low, high, chance, len(y), len(np.unique(y)), count, int((~kept).sum()))


def _predicted(x: np.ndarray, y: np.ndarray, group: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The label of each clip by a classifier that has not seen its group."""
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedGroupKFold
    except ImportError:
        raise MissingExtraError("scikit-learn", "eval") from None
    out = np.empty_like(y)
    with warnings.catch_warnings():  # labels with fewer clips than folds; a classifier that stops at its last iteration
        warnings.simplefilter("ignore")
        for train, test in StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(x, y, group):
            if len(np.unique(y[train])) < 2:
                out[test] = y[train[0]]
                continue
            seen, new = _scaled(x[train], x[test])
            out[test] = LogisticRegression(max_iter=500).fit(seen, y[train]).predict(new)
    return out


def _scaled(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both with the mean and variance of training taken out. Of more values than clips, only the space the clips span is kept:
    there the solution lies, since the penalty does not see rotations."""
    spread = train.std(0)
    scale = np.where(spread > 1e-12, spread, 1.0)
    train, test = (train - train.mean(0)) / scale, (test - train.mean(0)) / scale
    if train.shape[1] <= len(train):
        return train, test
    basis = np.linalg.qr(train.T)[0]
    return train @ basis, test @ basis


def _wilson(right: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    share = right / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return (max(0.0, middle - half) if right else 0.0), (min(1.0, middle + half) if right < total else 1.0)


def label_information(
    codes: Sequence[np.ndarray], labels: Sequence[str], *, shuffles: int = 10, seed: int = 0
) -> LabelInformation:
    """What a token tells of a label of its clip (its speaker), without a classifier.

    Args:
        codes: integer arrays (N_i,), one stream of each clip.
        labels: of each clip.
        shuffles: how often the labels are shuffled between clips for the baseline.

    Raises `MetricError` for no frames or one label only.
    """
    if len(codes) != len(labels):
        raise TokensError(f"{len(codes)} clips and {len(labels)} labels; expected one for each")
    counts = [len(clip) for clip in codes]
    if not sum(counts):
        raise MetricError("no frames to count")
    frames, named = np.concatenate(codes), np.unique(np.asarray(labels, dtype=str), return_inverse=True)[1]
    shares = np.bincount(np.repeat(named, counts)) / sum(counts)
    entropy = float(-(shares[shares > 0] * np.log2(shares[shares > 0])).sum())
    if entropy <= 0:
        raise MetricError("all frames have one label; there is nothing to tell")
    rng = np.random.default_rng(seed)
    information = mutual_information(joint_counts(frames, np.repeat(named, counts)))
    baseline = []
    for _ in range(shuffles):
        joint = joint_counts(frames, np.repeat(rng.permutation(named), counts))
        own = joint.sum(0) / joint.sum()
        baseline.append(mutual_information(joint) / max(1e-12, float(-(own * np.log2(own)).sum())))
    return LabelInformation(information / entropy, float(np.mean(baseline)), information, entropy)
