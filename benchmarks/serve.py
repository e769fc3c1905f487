"""The HTTP service under load: `python benchmarks/serve.py BUNDLE [--clients 32] [--requests 4]`.

Starts `voxzoo serve` twice, with batches and with one request at a time, and lets each client of a crowd send cuts of the
bundled speech, one after the other, to /encode and what comes back to /decode. Prints, for both: answers that were no 200,
requests per second, the median and the 95th percentile of the time to an answer, and how many batches there were of each size.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from voxzoo import Audio
from voxzoo.core.weights import bundled_folder


@contextmanager
def served(bundle: str, *options: str) -> Iterator[int]:
    """The port of a server in a process of its own."""
    line = [sys.executable, "-m", "voxzoo.cli.main", "serve", bundle, "--port", "0", *options]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        told = process.stderr.readline()
        found = re.search(r":(\d+)$", told.strip())
        if not found:
            raise SystemExit(f"the server did not start: {told}{process.stderr.read()}")
        yield int(found[1])
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def cuts(count: int, seconds: float) -> list[bytes]:
    """WAV files of the bundled speech, each from another place, of half to one and a half times `seconds`."""
    speech = Audio.read(bundled_folder("demo") / "speech.wav")
    rng = np.random.default_rng(0)
    files = []
    for length in rng.uniform(0.5, 1.5, count) * seconds * speech.sample_rate:
        start = int(rng.integers(0, max(1, len(speech) - int(length))))
        buffer = io.BytesIO()
        Audio(speech.samples[start : start + int(length)], speech.sample_rate).write(buffer)
        files.append(buffer.getvalue())
    return files


def client(port: int, files: list[bytes], decodes: bool) -> list[tuple[int, float]]:
    """(status, seconds) of each request, one after the other over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    found = []

    def ask(path: str, body: bytes) -> bytes:
        began = time.perf_counter()
        connection.request("POST", path, body)
        answer = connection.getresponse()
        data = answer.read()
        found.append((answer.status, time.perf_counter() - began))
        return data

    for file in files:
        tokens = ask("/encode?format=safetensors", file)
        if decodes and found[-1][0] == 200:
            ask("/decode", tokens)
    connection.close()
    return found


def measure(bundle: str, batch: int, clients: int, files: list[bytes]) -> float:
    """Print a line; gives requests per second."""
    with served(bundle, "--batch", str(batch), "--work-timeout", "300", "--max-waiting", str(4 * clients)) as port:
        decodes = json.loads(_get(port, "/info"))["decodes"]
        client(port, files[:1], decodes)  # graphs are opened when they are first needed
        began = time.perf_counter()
        with ThreadPoolExecutor(clients) as crowd:
            answers = [a for one in crowd.map(lambda i: client(port, files[i::clients], decodes), range(clients)) for a in one]
        elapsed = time.perf_counter() - began
        batches = json.loads(_get(port, "/info"))["batches"]
    times = sorted(seconds for _, seconds in answers)
    failed = sum(status != 200 for status, _ in answers)
    p95 = times[min(len(times) - 1, round(0.95 * len(times)))]
    print(
        f"batches of up to {batch}: {clients} clients, {len(answers)} requests, {failed} failed; "
        f"{len(answers) / elapsed:.1f} requests/s, median {1000 * statistics.median(times):.0f} ms, p95 {1000 * p95:.0f} ms; "
        f"batches {batches}"
    )
    return len(answers) / elapsed


def _get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    data = connection.getresponse().read()
    connection.close()
    return data


def main() -> None:
    """Both servers, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=4, help="of each client, each encoded and decoded")
    parser.add_argument("--seconds", type=float, default=3.0, help="of sound in a request, about")
    args = parser.parse_args()
    files = cuts(args.clients * args.requests, args.seconds)
    together = measure(args.bundle, 16, args.clients, files)
    single = measure(args.bundle, 1, args.clients, files)
    print(f"with batches {together / single:.2f} times the requests per second")


if __name__ == "__main__":
    main()
