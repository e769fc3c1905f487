"""The learned metrics on one core, and DNSMOS against speechmos itself. `taskset -c 0 python benchmarks/learned_speed.py`

Each is given the bundled speech: milliseconds per second of sound after a first call that loads the network. speechmos computes
both DNSMOS networks whatever is asked for; a clip of whole seconds has windows that repeat.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import resources

import numpy as np
from speechmos import dnsmos as reference

from voxzoo.core.audio import Audio
from voxzoo.eval.dnsmos import dnsmos_p808, dnsmos_p835
from voxzoo.eval.plcmos import plcmos
from voxzoo.eval.recognition import recognise_pocketsphinx
from voxzoo.eval.speaker_embedding import embed_ge2e

RATE = 16000


def cost(measure: Callable[[np.ndarray], object], samples: np.ndarray) -> float:
    """Milliseconds per second of sound."""
    measure(samples[:RATE])
    start = time.perf_counter()
    measure(samples)
    return 1000 * (time.perf_counter() - start) / (len(samples) / RATE)


def main() -> None:
    with resources.as_file(resources.files("voxzoo") / "bundled/demo/speech.wav") as path:
        speech = Audio.read(path, RATE).samples
    for seconds in (4.0, 4.3, len(speech) / RATE):
        clip = speech[: int(seconds * RATE)]
        theirs = cost(lambda x: reference.run(x, RATE), clip)
        both = cost(lambda x: (dnsmos_p835(x), dnsmos_p808(x)), clip)
        one = cost(dnsmos_p808, clip)
        print(f"DNSMOS, {seconds:.1f} s: speechmos {theirs:.0f} ms/s, both networks {both:.0f} (x{theirs / both:.1f} as fast), "
              f"P.808 alone {one:.0f} (x{theirs / one:.0f})", flush=True)  # fmt: skip
    for name, measure in (("PLCMOS", plcmos), ("GE2E", embed_ge2e), ("pocketsphinx", recognise_pocketsphinx)):
        print(f"{name}: {cost(measure, speech):.0f} ms/s", flush=True)


if __name__ == "__main__":
    main()
