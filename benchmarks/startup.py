"""Wall time of the verbs that must answer at once: `python benchmarks/startup.py [BUNDLE ...]`, the best of five of each.

Of a bundle: a fresh process that imports voxzoo, loads it, checks its files, and encodes (and decodes) one second of sound.
"""

from __future__ import annotations

import subprocess
import sys
import time


def start(*line: str) -> float:
    """Seconds of one `voxzoo` process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "voxzoo.cli.main", *line], capture_output=True, check=True)
    return time.perf_counter() - began


COLD = """
import sys, numpy as np, voxzoo
model = voxzoo.load(sys.argv[1])
tokens = model.encode(np.zeros(model.facts.sample_rate, np.float32), model.facts.sample_rate)
if model.decodes:
    model.decode(tokens)
assert "torch" not in sys.modules
"""


def cold(bundle: str) -> float:
    """Seconds of a process that plays a bundle."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", COLD, bundle], check=True)
    return time.perf_counter() - began


def main() -> None:
    """Print one line per verb, and per bundle."""
    for line in (["--help"], ["models"], ["info", "vox-rvq-16k"]):
        print(f"voxzoo {' '.join(line):18s} {min(start(*line) for _ in range(5)):.3f} s")
    for bundle in sys.argv[1:]:
        print(f"cold start of {bundle}: {min(cold(bundle) for _ in range(5)):.3f} s")


if __name__ == "__main__":
    main()
