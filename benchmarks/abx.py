"""ABX distances: batched dynamic time warping against a Python loop over pairs. `python benchmarks/abx.py`

Pairs of items of 8 x 8 frames, as short triphones at 50 frames/s have. The loop is a straight reading of the definition: a
matrix of frame distances by numpy, a table filled cell by cell, and the path traced back. Both give the same distances.
"""

from __future__ import annotations

import time

import numpy as np

from voxzoo.eval.abx import Distance, abx, distance_matrix

ITEMS, LOOPED, FRAMES, WIDTH = 240, 2_000, 8, 19


def loop(x: np.ndarray, y: np.ndarray) -> float:
    """Angular distance along the best path of one pair."""
    x, y = x / np.linalg.norm(x, axis=1, keepdims=True), y / np.linalg.norm(y, axis=1, keepdims=True)
    cost = np.arccos(np.clip(x @ y.T, -1, 1)) / np.pi
    table = cost.tolist()
    n, m = cost.shape
    for i in range(n):
        for j in range(m):
            before = []
            if i and j:
                before.append(table[i - 1][j - 1])
            if j:
                before.append(table[i][j - 1])
            if i:
                before.append(table[i - 1][j])
            if before:
                table[i][j] += min(before)
    i, j, steps = n - 1, m - 1, 1
    while i and j:
        up, left, diagonal = table[i - 1][j], table[i][j - 1], table[i - 1][j - 1]
        if diagonal <= left and diagonal <= up:
            i, j = i - 1, j - 1
        elif left <= up:
            j -= 1
        else:
            i -= 1
        steps += 1
    return float(table[-1][-1] / (steps + i + j))


def main() -> None:
    """Print microseconds a pair, and the ratio."""
    rng = np.random.default_rng(0)
    items = [rng.normal(size=(FRAMES, WIDTH)) for _ in range(ITEMS)]
    codes = [rng.integers(0, 100, FRAMES) for _ in range(ITEMS)]
    distance_matrix(items, items)
    seconds, matrix = {}, np.zeros(0)
    cases: list[tuple[str, list[np.ndarray], Distance]] = [
        ("codes, 0-1", codes, "equal"),
        ("features, angular", items, "angular"),
    ]
    for name, material, distance in cases:
        began = time.perf_counter()
        matrix = distance_matrix(material, material, distance)
        seconds[name] = (time.perf_counter() - began) / matrix.size
    began = time.perf_counter()
    plain = [loop(items[k // ITEMS], items[k % ITEMS]) for k in range(LOOPED)]
    slow = (time.perf_counter() - began) / LOOPED
    apart = np.abs(matrix.ravel()[:LOOPED] - plain).max()
    print(f"Python loop          {slow * 1e6:7.2f} us a pair")
    for name, each in seconds.items():
        print(f"{name:20s} {each * 1e6:7.2f} us a pair, {slow / each:5.1f} times as fast as the loop")
    print(f"largest difference from the loop: {apart:.1e}")
    phones, speakers = rng.integers(0, 4, ITEMS).astype(str).tolist(), ["one"] * ITEMS
    began = time.perf_counter()
    result = abx(items, phones, speakers, max_items=None)
    each = (time.perf_counter() - began) / result.distances
    print(f"whole ABX            {each * 1e6:7.2f} us a distance ({result.distances} distances, {result.triplets} triplets)")


if __name__ == "__main__":
    main()
