"""Unit edit distance over many clips, against the same in plain Python.

    python benchmarks/unit_edit_distance.py [--pairs 10000]

Pairs have 200 to 300 units of 500 kinds, a fifth of them changed. The plain loop is timed on a few pairs, and both must give
the same distances there.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from voxzoo.eval.edit_distance import levenshtein, unit_edit_distance


def plain(a: list[int], b: list[int]) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--loop", type=int, default=50, help="pairs given to the plain loop")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    clean = [rng.integers(0, 500, rng.integers(200, 301)) for _ in range(args.pairs)]
    other = [np.where(rng.random(len(c)) < 0.2, rng.integers(0, 500, len(c)), c) for c in clean]
    few = slice(args.loop)
    began = time.perf_counter()
    slow = [plain(a.tolist(), b.tolist()) for a, b in zip(clean[few], other[few], strict=True)]
    per_pair = (time.perf_counter() - began) / len(slow)
    if slow != levenshtein(clean[few], other[few]).tolist():
        raise SystemExit("the two disagree")
    began = time.perf_counter()
    found = unit_edit_distance(clean, other)
    wall = time.perf_counter() - began
    print(
        f"{args.pairs} pairs in {wall:.2f} s, {found.weighted:.2f} %; the plain loop takes {per_pair * args.pairs:.0f} s",
        end="",
    )
    print(f" (from {len(slow)} pairs): {per_pair * args.pairs / wall:.0f} times as long")


if __name__ == "__main__":
    main()
