"""Wall time of the verbs that must answer at once: `python benchmarks/startup.py`; the best of five starts of each."""

from __future__ import annotations

import subprocess
import sys
import time


def start(*line: str) -> float:
    """Seconds of one `voxzoo` process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "voxzoo.cli.main", *line], capture_output=True, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Print one line per verb."""
    for line in (["--help"], ["models"], ["info", "vox-rvq-16k"]):
        print(f"voxzoo {' '.join(line):18s} {min(start(*line) for _ in range(5)):.3f} s")


if __name__ == "__main__":
    main()
