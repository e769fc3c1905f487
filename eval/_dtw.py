"""Dynamic time warping of many pairs at once: numpy over pairs, a plain loop over the cells of the longest pair.

Steps are (1, 1), (0, 1) and (1, 0), all of weight one. A pair's distance is the mean frame distance along its best path: the
least sum divided by the number of cells of that path. Where several paths have the least sum, the path is traced from its end
and takes the diagonal if no other predecessor costs less, else the second sequence's step, else the first's, as fastabx does.
"""

from __future__ import annotations

import numpy as np

__all__ = ["warp", "warped"]

CELLS = 1 << 17  # frame distances held at once: what a core's own cache takes


def warped(costs: np.ndarray, first: np.ndarray, stride: np.ndarray, n: np.ndarray, m: np.ndarray) -> np.ndarray:
    """float64 (P,): distance of each pair of items.

    Args:
        costs: float64 (C,), frame distances; those of a pair are costs[first + i * stride + j] for i < n and j < m.
        first, stride, n, m: int64 (P,), n and m at least one.
    """
    order = np.lexsort((m, n))
    out = np.empty(len(order))
    begin = 0
    while begin < len(order):
        ahead = order[begin : begin + 4096]
        part = ahead[: max(512, CELLS // int(n[ahead].max() * m[ahead].max()))]
        rows = np.minimum(np.arange(n[part].max())[:, None], n[part] - 1) * stride[part] + first[part]
        columns = np.minimum(np.arange(m[part].max())[:, None], m[part] - 1)
        out[part] = warp(costs[rows[:, None] + columns], n[part], m[part])
        begin += len(part)
    return out


def warp(cost: np.ndarray, n: np.ndarray, m: np.ndarray) -> np.ndarray:
    """float64 (P,): mean cost along the best path from (0, 0) to (n - 1, m - 1).

    Args:
        cost: float64 (N, M, P), frame distances; what lies beyond a pair's n and m is not used.
        n: int64 (P,), in ascending order.
        m: int64 (P,).
    """
    total = np.cumsum(cost[0], axis=0)  # (M, P), least sums to the cells of the present row
    steps = np.repeat(np.arange(1.0, len(total) + 1)[:, None], cost.shape[2], axis=1)  # cells on the path there
    out = np.empty(cost.shape[2])
    done = 0
    for i in range(cost.shape[0]):
        if i:
            _row(cost[i, :, done:], total[:, done:], steps[:, done:])
        end = int(np.searchsorted(n, i + 1, side="right"))
        ended = np.arange(done, end)
        last = m[done:end] - 1
        out[done:end] = total[last, ended] / steps[last, ended]
        done = end
    return out


def _row(cost: np.ndarray, total: np.ndarray, steps: np.ndarray) -> None:
    """From row i - 1 to row i, in place: `total` and `steps` (M, P)."""
    diagonal, diagonal_steps = total[0].copy(), steps[0].copy()
    total[0] += cost[0]
    steps[0] += 1
    for j in range(1, len(total)):
        up, up_steps = total[j].copy(), steps[j].copy()
        best = np.minimum(up, total[j - 1])
        np.copyto(steps[j], steps[j - 1], where=total[j - 1] <= up)
        np.copyto(steps[j], diagonal_steps, where=diagonal <= best)
        np.minimum(best, diagonal, out=best)
        np.add(best, cost[j], out=total[j])
        steps[j] += 1
        diagonal, diagonal_steps = up, up_steps
