"""What an entry costs: speed, memory, size and latency, measured in a process of its own while the rest of the run is idle."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.audio import Audio
from ..core.loading import is_bundle, load
from ..core.weights import bundled_folder
from . import anchors
from .entrants import Entrant
from .journal import Cell
from .metric import Metric
from .playing import reason

if TYPE_CHECKING:
    from ..core.model import Model

__all__ = ["COSTS", "VERSION", "cost", "first_output", "machine", "measure"]

VERSION = 3  # of the way it is measured
SECONDS = 9.7  # of speech, at most
BUDGET = 20.0  # seconds that the three rounds may take, about: a slow model is given less speech
ROUNDS = 3
BLOCK = 0.02  # seconds pushed at a time
COMMAND = "from voxzoo.eval.cost import serve; serve()"
CHARGED = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)"
)
UNIT = 1 if sys.platform == "darwin" else 1024  # bytes in which ru_maxrss counts
THREADS = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}

_TIMED = (
    f"median of {ROUNDS} rounds over one clip of speech at the codec's own rate, at most {SECONDS} s (entries' `cost` says how "
    "long), one thread, in a fresh process after a warm-up; below 1 is faster than real time. Anchors: the call of ffmpeg with "
    "the start of its process"
)
COSTS = (
    Metric("rtf_encode", "RTF encode", "s/s", "lower", f"real-time factor of encode: {_TIMED}", digits=3),
    Metric("rtf_decode", "RTF decode", "s/s", "lower", f"real-time factor of decode: {_TIMED}", digits=3),
    Metric("peak_memory", "Memory", "MB", "lower", "highest resident memory (10^6 bytes) of the process that loads "
           "the model, encodes and decodes that clip and streams, less that of the same process before it loads the model "
           "(both in the entries' `cost`); on a GPU the most memory allocated there. Anchors: the whole ffmpeg", digits=0),
    Metric("parameters", "Parameters", "millions", None, "parameters of the whole model, codebooks included", digits=2),
    Metric("model_size", "Size", "MB", "lower", "10^6 bytes of the model's weights, or of all graphs of a bundle (several of "
           "which may hold the same weights)", digits=1),
    Metric("latency_algorithmic", "Latency", "ms", "lower", "what streaming encode and decode must wait for, as the model's "
           "facts state", digits=1),
    Metric("latency_first", "First sound", "ms", "lower", "time from the first sample going in to the first sample coming out "
           "of streaming encoder and decoder, blocks of 20 ms arriving in real time: waiting and computing; median of "
           f"{ROUNDS} rounds", digits=1),
)  # fmt: skip


def cost(entrant: Entrant, device: str = "cpu") -> Cell:
    """Values and reasons of `COSTS`, and `about`: how they were measured. Never raises for what the process does."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", COMMAND], input=pickle.dumps((entrant, device)), capture_output=True,
            env={**os.environ, **THREADS} if device == "cpu" else None,
        )  # fmt: skip
        lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
        if done.returncode == 0 and lines:
            cell: Cell = json.loads(lines[-1])
            return cell
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()
        problem = words[-1] if words else f"the process that measures it ended with status {done.returncode}"
    except (OSError, ValueError) as error:
        problem = reason(error)
    return {"values": {}, "reasons": {metric.name: problem for metric in COSTS}, "about": {}}


def serve() -> None:
    """The life of the measuring process: an entry on stdin, one line of JSON on stdout."""
    entrant, device = pickle.loads(sys.stdin.buffer.read())
    print(json.dumps(measure(entrant, device)))


def measure(entrant: Entrant, device: str = "cpu") -> Cell:
    """Measure in this process; see `cost`, which gives it one of its own."""
    speech = Audio.read(bundled_folder("demo") / "speech.wav")
    return _anchor(entrant.anchor, speech) if entrant.anchor else _model(entrant, device, speech)


def _anchor(anchor: anchors.Anchor, speech: Audio) -> Cell:
    data = anchors.encode(anchor, speech)
    given = speech.resample(anchor.sample_rate)
    calls = ((anchors.encode_command(anchor), anchors.pcm(anchor, given)), (anchors.decode_command(anchor), data))
    values = {
        "rtf_encode": _median(lambda: anchors.encode(anchor, given)) / speech.duration,
        "rtf_decode": _median(lambda: anchors.decode(anchor, data)) / speech.duration,
        "peak_memory": max(_memory_of(command, data) for command, data in calls),
    }
    reasons = {
        "parameters": "a classical codec has no trained parameters",
        "model_size": "a classical codec has no trained parameters",
        "latency_algorithmic": "not stated for anchors",
        "latency_first": "ffmpeg is called on whole clips",
    }
    return {"values": values, "reasons": reasons, "about": {"seconds": speech.duration, "measured": "ffmpeg processes"}}


def _model(entrant: Entrant, device: str, speech: Audio) -> Cell:
    engine = importlib.import_module("onnxruntime" if is_bundle(entrant.model) else "torch")  # whose memory is not the model's
    torch = engine if engine.__name__ == "torch" else None
    if device == "cpu" and torch:  # a bundle's graphs go by the environment
        torch.set_num_threads(1)
    base = _resident()
    model = load(entrant.model, weights=entrant.weights, device=device)
    speech = speech.resample(model.facts.sample_rate)
    clip = _bounded(model, entrant.streams, speech)
    tokens = model.encode(clip, streams=entrant.streams)
    values = {
        "rtf_encode": _median(lambda: model.encode(clip, streams=entrant.streams).numpy()) / clip.duration,
        "parameters": model.facts.params / 1e6,
        "model_size": _size(entrant.model, model) / 1e6,
        "latency_algorithmic": 1000 * model.facts.latency,
    }
    reasons: dict[str, str] = {}
    steps: tuple[tuple[str, Callable[[], float]], ...] = (
        ("rtf_decode", lambda: _median(lambda: model.decode(tokens)) / clip.duration),
        ("latency_first", lambda: 1000 * _first(model, speech, entrant.streams)),
    )
    for name, step in steps:
        try:
            values[name] = step()
        except Exception as error:
            reasons[name] = reason(error)
    peak, gpu = _resident(), device.startswith("cuda")
    if not gpu:
        values["peak_memory"] = peak - base
    elif torch:
        values["peak_memory"] = torch.cuda.max_memory_allocated(device) / 1e6
    else:
        reasons["peak_memory"] = "onnxruntime does not tell how much memory of a GPU it has taken"
    about = {"seconds": clip.duration, "base_memory": base, "peak_resident": peak,
             "threads": torch.get_num_threads() if torch else 1,
             "device": torch.cuda.get_device_name(device) if gpu and torch else device}  # fmt: skip
    return {"values": values, "reasons": reasons, "about": about}


def _size(name: str, model: Model) -> int:
    """Bytes of the weights."""
    if is_bundle(name):
        return sum(path.stat().st_size for path in Path(name).iterdir() if path.suffix not in (".json", ".md"))
    return sum(tensor.numel() * tensor.element_size() for tensor in model.network.state_dict().values())


def _bounded(model: Model, streams: int | None, speech: Audio) -> Audio:
    """As much of the speech as fits the budget, after a warm-up."""
    second = Audio(speech.samples[: speech.sample_rate], speech.sample_rate)
    took = 0.0
    for _ in range(2):  # the first call sets things up
        began = time.perf_counter()
        tokens = model.encode(second, streams=streams)
        try:
            model.decode(tokens)
        except Exception:  # told where decode is measured
            break
        finally:
            took = time.perf_counter() - began
    seconds = max(1.0, min(SECONDS, BUDGET / (ROUNDS * max(took, 1e-6))))
    return Audio(speech.samples[: round(seconds * speech.sample_rate)], speech.sample_rate)


def _median(call: Callable[[], Any]) -> float:
    """Seconds."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def _first(model: Model, speech: Audio, streams: int | None) -> float:
    return statistics.median(first_output(model, speech, streams) for _ in range(ROUNDS))


def first_output(model: Model, speech: Audio, streams: int | None = None) -> float:
    """Seconds until the first sample comes out when `speech` (at the model's rate) goes in, 20 ms at a time, in real time.

    A block is worked on when it has arrived and the one before it is done. Raises `VoxzooError` where the model cannot stream,
    `ValueError` when nothing came out before the speech ended.
    """
    block = round(BLOCK * model.facts.sample_rate)
    now = 0.0
    with model.stream_encoder(streams=streams) as encoder, model.stream_decoder() as decoder:
        for start in range(0, len(speech), block):
            part = speech.samples[start : start + block]
            began = time.perf_counter()
            tokens = encoder.push(part)
            heard = len(decoder.push(tokens)) if tokens.codes[0].shape[1] else 0
            arrived = (start + len(part)) / model.facts.sample_rate
            now = max(now, arrived) + time.perf_counter() - began
            if heard:
                return now
    raise ValueError(f"no sound came out in {speech.duration:.1f} s")


def _memory_of(command: list[str], data: bytes) -> float:
    """Highest resident memory of a command, in 10^6 bytes.

    A process is charged with what its parent held when it was started, so a bare Python (some 10 MB) starts it.
    """
    done = subprocess.run([sys.executable, "-I", "-S", "-c", CHARGED, *command], input=data, capture_output=True, check=True)
    return int(done.stderr.split()[-1]) * UNIT / 1e6


def _resident() -> float:
    """Highest resident memory of this process so far, in 10^6 bytes.

    ru_maxrss begins with what the process that started this one had; VmHWM of Linux does not.
    """
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT / 1e6


def machine() -> str:
    """Processor and system, as far as they can be told."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    except OSError:
        pass
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}"
