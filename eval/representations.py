"""How alike two sets of features of the same frames are: linear CKA, and canonical correlations (mean CCA, SVCCA, PWCCA).

Everything is computed from covariances in float64, D x D and never N x N: 20,000 frames of 768 values take seconds. All are in
[0, 1], 1 for features that are equal up to the maps a measure does not see: rotations and one scale for CKA; any invertible
linear map for mean CCA. Of few frames canonical correlations are high by chance: take ten times as many frames as values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..core.errors import TokensError
from .metric import MetricError

__all__ = ["EPSILON", "Similarity", "cca", "linear_cka", "pwcca", "similarities", "similarity", "svcca"]

EPSILON = 1e-10  # directions with less than this share of the largest variance are no directions
KEPT = 0.99  # share of variance SVCCA keeps


class Similarity(NamedTuple):
    """The four measures of one pair of features, each in [0, 1]."""

    cka: float
    cca: float
    svcca: float
    pwcca: float


def similarity(x: np.ndarray, y: np.ndarray, *, epsilon: float = EPSILON) -> Similarity:
    """All four at once, for features (N, D) and (N, E) of the same N frames; see the functions of the single ones."""
    return _Pair(_Side("x", x), _Side("y", y)).all(epsilon)


def similarities(
    first: Sequence[np.ndarray], second: Sequence[np.ndarray] | None = None, *, epsilon: float = EPSILON
) -> list[list[Similarity]]:
    """`similarity` of each of `first` with each of `second` (with each other by default), what they share computed once."""
    rows = [_Side(f"features {i}", features) for i, features in enumerate(first)]
    columns = rows if second is None else [_Side(f"reference {i}", features) for i, features in enumerate(second)]
    if second is not None:
        return [[_Pair(x, y).all(epsilon) for y in columns] for x in rows]
    upper = {(i, j): _Pair(rows[i], rows[j]).all(epsilon) for i in range(len(rows)) for j in range(i, len(rows))}
    return [[upper[min(i, j), max(i, j)] for j in range(len(rows))] for i in range(len(rows))]


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Linear centred kernel alignment, ||Y'X||_F^2 / (||X'X||_F ||Y'Y||_F) of centred features.

    S. Kornblith et al., "Similarity of Neural Network Representations Revisited", https://arxiv.org/abs/1905.00414 (the biased
    estimate, as there).

    Args:
        x, y: (N, D) and (N, E), N >= 2, finite.

    Raises:
        MetricError: features that are the same in every frame.
        TokensError: shapes that do not fit, NaN or infinite values.
    """
    return _Pair(_Side("x", x), _Side("y", y)).cka()


def cca(x: np.ndarray, y: np.ndarray, *, epsilon: float = EPSILON) -> float:
    """Mean of the canonical correlations, as many as the smaller rank of the two.

    `epsilon`: directions whose variance is below this share of the largest are left out. Arguments and errors as `linear_cka`.
    """
    return _Pair(_Side("x", x), _Side("y", y)).cca(epsilon)


def svcca(x: np.ndarray, y: np.ndarray, *, kept: float = KEPT, epsilon: float = EPSILON) -> float:
    """Mean canonical correlation of the leading principal directions, the fewest that hold `kept` of each one's variance.

    M. Raghu et al., "SVCCA", https://arxiv.org/abs/1706.05806. Arguments and errors as `cca`.
    """
    return _Pair(_Side("x", x), _Side("y", y)).svcca(kept, epsilon)


def pwcca(x: np.ndarray, y: np.ndarray, *, epsilon: float = EPSILON) -> float:
    """Canonical correlations weighted by how much of the features each canonical direction accounts for.

    A. Morcos et al., "Insights on representational similarity in neural networks with canonical correlation",
    https://arxiv.org/abs/1806.05759: weight of direction h = sum over the columns z of the features of |<h, z>|, the features
    being those of the smaller rank (x when the ranks are equal). Arguments and errors as `cca`.
    """
    return _Pair(_Side("x", x), _Side("y", y)).pwcca(epsilon)


class _Side:
    """One set of features: centred, with its covariance and its principal directions."""

    def __init__(self, name: str, features: np.ndarray) -> None:
        self.centred = _centred(name, features)
        self.own = self.centred.T @ self.centred / len(self.centred)
        self.directions = _principal(self.own)


class _Pair:
    """Two sets of features and their covariance."""

    def __init__(self, x: _Side, y: _Side) -> None:
        if len(x.centred) != len(y.centred):
            raise TokensError(f"features of {len(x.centred)} and {len(y.centred)} frames; expected the same frames in both")
        self.sides = x, y
        self.cross = x.centred.T @ y.centred / len(x.centred)

    def all(self, epsilon: float) -> Similarity:
        return Similarity(self.cka(), self.cca(epsilon), self.svcca(KEPT, epsilon), self.pwcca(epsilon))

    def cka(self) -> float:
        x, y = self.sides
        return min(1.0, float(np.linalg.norm(self.cross) ** 2 / (np.linalg.norm(x.own) * np.linalg.norm(y.own))))

    def cca(self, epsilon: float) -> float:
        return float(self._correlations(*self._whitenings(epsilon))[1].mean())

    def svcca(self, kept: float, epsilon: float) -> float:
        return float(self._correlations(*self._whitenings(epsilon, kept))[1].mean())

    def pwcca(self, epsilon: float) -> float:
        whiten = self._whitenings(epsilon)
        left, correlations, right = self._correlations(*whiten)
        side, rotation = (0, left) if whiten[0].shape[1] <= whiten[1].shape[1] else (1, right)
        weights = np.abs(rotation.T @ whiten[side].T @ self.sides[side].own).sum(1)
        return float((weights * correlations).sum() / weights.sum())

    def _whitenings(self, epsilon: float, kept: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        x, y = (_whitening(*side.directions, epsilon, kept) for side in self.sides)
        return x, y

    def _correlations(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rotations (R, C) and (S, C) of whitened features and the canonical correlations (C,), C = min(R, S)."""
        left, values, right = np.linalg.svd(x.T @ self.cross @ y, full_matrices=False)
        return left, np.clip(values, 0.0, 1.0), right.T


def _centred(name: str, features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) < 2 or not features.shape[1]:
        raise TokensError(f"{name} has shape {features.shape}; expected (N, D) with at least two frames")
    if not np.isfinite(features).all():
        raise TokensError(f"{name} holds NaN or infinite values; expected finite features")
    centred: np.ndarray = features - features.mean(0)
    scale = np.abs(features).max()
    if np.abs(centred).max() <= 1e-12 * scale:
        raise MetricError(f"{name} is the same in every frame; it correlates with nothing")
    return centred


def _principal(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances (D,), largest first, and directions (D, D)."""
    values, vectors = np.linalg.eigh(covariance)
    return np.maximum(values[::-1], 0.0), vectors[:, ::-1]


def _whitening(values: np.ndarray, vectors: np.ndarray, epsilon: float, kept: float) -> np.ndarray:
    """(D, R): maps centred features to R uncorrelated ones of variance one, the fewest that hold `kept` of the variance."""
    used = values > epsilon * values[0]
    if kept < 1:
        used &= np.append(0.0, np.cumsum(values)[:-1]) < kept * values.sum() * (1 - 1e-12)
    out: np.ndarray = vectors[:, used] / np.sqrt(values[used])
    return out
