"""CKA and canonical correlations: against QR and SVD of the features themselves, known values, and what they do not see."""

from __future__ import annotations

import time

import numpy as np
import pytest

from voxzoo.core.errors import TokensError
from voxzoo.eval.metric import MetricError
from voxzoo.eval.representations import cca, linear_cka, pwcca, similarities, similarity, svcca

RNG = np.random.default_rng(0)
ALL = (linear_cka, cca, svcca, pwcca)


def pair(n: int = 400, d: int = 12, e: int = 9, shared: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Features with a common part, of very different variances, not centred; no two canonical correlations are equal."""
    rng = np.random.default_rng(1)
    common = rng.normal(size=(n, shared))
    x = np.concatenate([common, rng.normal(size=(n, d - shared))], 1) @ rng.normal(size=(d, d)) * np.logspace(0, 2, d) + 3
    common = common + np.linspace(0.1, 1, shared) * rng.normal(size=common.shape)
    y = np.concatenate([common, rng.normal(size=(n, e - shared))], 1) @ rng.normal(size=(e, e)) - 1
    return x, y


def direct(x: np.ndarray, y: np.ndarray, kept: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Canonical correlations by QR and SVD of the frames, and the canonical directions of x in the space of frames."""
    bases = []
    for z in (x, y):
        z = z - z.mean(0)
        if kept is not None:
            u, s, _ = np.linalg.svd(z, full_matrices=False)
            count = next(k for k in range(1, len(s) + 1) if (s[:k] ** 2).sum() >= kept * (s**2).sum() * (1 - 1e-12))
            z = u[:, :count] * s[:count]
        bases.append(np.linalg.qr(z)[0])
    u, s, _ = np.linalg.svd(bases[0].T @ bases[1], full_matrices=False)
    return s, bases[0] @ u


def test_equals_qr_and_svd_of_the_frames() -> None:
    x, y = pair()
    assert cca(x, y) == pytest.approx(direct(x, y)[0].mean(), abs=1e-8)
    assert svcca(x, y) == pytest.approx(direct(x, y, 0.99)[0].mean(), abs=1e-8)
    assert svcca(x, y, kept=0.8) == pytest.approx(direct(x, y, 0.8)[0].mean(), abs=1e-8)
    s, directions = direct(y, x)  # y has the smaller rank
    weights = np.abs(directions.T @ (y - y.mean(0))).sum(1)
    want = (weights * s).sum() / weights.sum()
    assert pwcca(x, y) == pytest.approx(want, abs=1e-8)
    assert pwcca(y, x) == pytest.approx(want, abs=1e-8)
    assert similarity(x, y) == pytest.approx([measure(x, y) for measure in ALL])
    assert np.allclose(similarities([x, y, x[:, :4]])[2][1], similarity(y, x[:, :4]))
    assert similarities([x, y], [y])[0][0] == similarity(x, y)


def test_cka_equals_its_kernel_form() -> None:
    """HSIC of N x N Gram matrices, term by term."""
    x, y = pair(n=60)
    centre = np.eye(60) - 1 / 60
    k, m = centre @ (x @ x.T) @ centre, centre @ (y @ y.T) @ centre
    assert linear_cka(x, y) == pytest.approx((k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum()), abs=1e-10)


def test_cca_equals_scikit_learn() -> None:
    decomposition = pytest.importorskip("sklearn.cross_decomposition")
    x, y = pair(d=4, e=3, shared=2)
    a, b = decomposition.CCA(3, max_iter=5000, tol=1e-12).fit_transform(x, y)
    want = np.mean([np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(3)])
    assert cca(x, y) == pytest.approx(want, abs=1e-4)


def test_known_values() -> None:
    x, _ = pair()
    for measure in ALL:
        assert measure(x, x) == pytest.approx(1.0, abs=1e-9)
    t = np.arange(64) * 2 * np.pi / 64
    wave, other = np.cos(t)[:, None], np.cos(2 * t)[:, None]
    for measure in ALL:  # of one column each, all are the correlation; CKA is its square
        assert measure(wave, other) == pytest.approx(0.0, abs=1e-12)
        part = measure(wave, 0.6 * wave + 0.8 * other)
        assert part == pytest.approx(0.36 if measure is linear_cka else 0.6, abs=1e-12)
    noise = RNG.normal(size=(20_000, 5)), RNG.normal(size=(20_000, 5))
    assert all(measure(*noise) < 0.05 for measure in ALL)


def test_what_they_do_not_see() -> None:
    x, y = pair()
    rotation = np.linalg.qr(RNG.normal(size=(12, 12)))[0]
    for measure in ALL:
        assert measure(5 * x @ rotation + 7, y) == pytest.approx(measure(x, y), abs=1e-7) or measure is pwcca
        assert measure(x, y) == pytest.approx(measure(y, x), abs=1e-9)
    turned = x @ (0.2 * RNG.normal(size=(12, 12)) + np.eye(12))
    assert cca(turned, y) == pytest.approx(cca(x, y), abs=1e-6)
    assert abs(linear_cka(turned, y) - linear_cka(x, y)) > 1e-3


def test_rank_and_constants() -> None:
    x, y = pair()
    repeated = np.concatenate([x, x[:, :3], np.full((len(x), 2), 4.0)], 1)  # columns again, and columns that stand still
    assert cca(repeated, y) == pytest.approx(cca(x, y), abs=1e-7)
    assert cca(repeated, x) == pytest.approx(1.0, abs=1e-7)
    assert 0 <= similarity(repeated, y).pwcca <= 1
    for measure in ALL:
        with pytest.raises(MetricError, match="y is the same in every frame"):
            measure(x, np.full((len(x), 3), 0.1))
    few = RNG.normal(size=(8, 30)), RNG.normal(size=(8, 20))
    assert cca(*few) == pytest.approx(1.0, abs=1e-6)  # fewer frames than values: everything correlates


def test_bad_input() -> None:
    x, y = pair()
    with pytest.raises(TokensError, match="400 and 399 frames"):
        linear_cka(x, y[:-1])
    with pytest.raises(TokensError, match="at least two frames"):
        cca(x[:1], y[:1])
    with pytest.raises(TokensError, match="at least two frames"):
        cca(x[:, 0], y)
    with pytest.raises(TokensError, match="x holds NaN"):
        svcca(x * np.nan, y)


@pytest.mark.slow
def test_large_features_in_seconds() -> None:
    x = RNG.normal(size=(20_000, 768)).astype(np.float32)
    began = time.perf_counter()
    got = similarity(x, x[:, ::-1] + x)
    assert time.perf_counter() - began < 120
    assert got.cca > 0.7
