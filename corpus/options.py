"""What a run of `tokenize` is asked to do, and what it says when it is done."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..core.errors import CorpusError
from ..core.loading import is_folder
from ..core.registry import entry
from ..core.resampling import SOXR, check_resampler
from .worker import Settings

__all__ = ["Options", "Summary"]

# Seconds of sound. On a CPU 20 is within 7 % of the best of 0, 10, 20 and 60 for all of vox-rvq, vox-s3, vox-snac, EnCodec,
# Mimi and S3 v2 (benchmarks/tokenize_batches.py); more no longer fits the caches.
CPU_BATCH, GPU_BATCH = 20.0, 600.0
ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Options:
    """What to tokenize, with what, into where.

    Attributes:
        source: see `sources.open_source`.
        output: the folder; with several models, one folder for each below it, named as the model.
        model, weights, device, resampler, dtype: as `voxzoo.load` takes them. `device` may be several, `cuda:0,cuda:1`, or
            `cuda:all`: a process with the model on each.
        streams: only the first so many streams (codebooks).
        workers: processes (on a GPU: threads that decode sound for the processes with the model); 0: this process alone;
            None: as many as there are cores.
        shard_clips: clips in a shard.
        batch_seconds: sound in a batch, padding included; None: a default for the device.
        limit: only the first so many clips.
        resume: go on where an earlier run stopped; else refuse a folder with tokens.
        overwrite: throw away what the folder holds.
        quiet: no progress.
        more: further models, which take the same sound: each file is read and decoded once.
        engine: "local", processes on this machine; "ray", actors on a Ray cluster. The shards are the same, byte for byte.
        profile: count where the time goes.
    """

    source: str
    output: str
    model: str
    weights: str | None = None
    device: str = "cpu"
    resampler: str = SOXR
    streams: int | None = None
    workers: int | None = None
    shard_clips: int = 1000
    batch_seconds: float | None = None
    limit: int | None = None
    resume: bool = True
    overwrite: bool = False
    quiet: bool = False
    more: tuple[str, ...] = ()
    dtype: str = "float32"
    engine: str = "local"
    profile: bool = False

    @property
    def models(self) -> tuple[str, ...]:
        """All of them."""
        return (self.model, *self.more)

    @property
    def kind(self) -> str:
        """Of device: what there is of it in `dataset.json`."""
        return self.device.partition(":")[0]

    def devices(self) -> list[str]:
        """Names for torch. Raises `CorpusError` when there are none."""
        if self.engine == "ray":
            return [self.kind]  # Ray shows each actor a card of its own
        if not self.device.endswith(":all"):
            return self.device.split(",")
        import torch

        count = torch.cuda.device_count() if self.kind == "cuda" else 0
        if not count:
            raise CorpusError(f"device={self.device!r}, but torch finds no such devices here")
        return [f"{self.kind}:{i}" for i in range(count)]

    def settings(self) -> Settings:
        """For the workers."""
        devices = self.devices()
        default = CPU_BATCH if self.kind == "cpu" else GPU_BATCH
        batch = default if self.batch_seconds is None else self.batch_seconds
        readers = 1 if self.kind == "cpu" else max(1, self.count() // len(devices))
        return Settings(self.model, self.weights, devices[0], self.resampler, self.streams, batch, readers, self.dtype,
                        self.more, self.profile)  # fmt: skip

    def count(self) -> int:
        """Workers."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return cores if self.workers is None else self.workers

    def folders(self) -> list[str]:
        """Where each model's shards go."""
        if not self.more:
            return [self.output]
        return [os.path.join(self.output, os.path.basename(os.path.normpath(name))) for name in self.models]

    def check(self) -> None:
        """Raise `CorpusError`, or `UnknownModelError`, for what can be told to be wrong before anything is made."""
        for name, low in (("shard_clips", 1), ("batch_seconds", 0), ("workers", 0), ("limit", 1), ("streams", 1)):
            value = getattr(self, name)
            if value is not None and value < low:
                raise CorpusError(f"{name}={value}; expected at least {low}")
        if self.engine not in ENGINES:
            raise CorpusError(f"engine={self.engine!r}; expected one of {', '.join(ENGINES)}")
        check_resampler(self.resampler)
        for name in self.models:
            if os.sep not in name and not is_folder(name):
                entry(name)
        if self.more:
            self._check_several()

    def _check_several(self) -> None:
        folders = self.folders()
        if shared := [folder for folder in folders if folders.count(folder) > 1]:
            raise CorpusError(f"two models would write into {shared[0]!r}; give their folders different names")
        if self.weights not in (None, "random"):
            raise CorpusError(f"weights={self.weights!r} with several models; set VOXZOO_WEIGHTS to a folder with one for each")
        if os.path.exists(os.path.join(self.output, "dataset.json")):
            raise CorpusError(f"{self.output!r} holds tokens of one model; name another folder for several")


@dataclass(frozen=True)
class Summary:
    """What a run did. Sound in seconds; `clips`, `rejected` and `seconds` are of the whole folder, the rest of this run.

    `workers` are processes or actors with the models; `profile` has seconds by stage (see `profile.py`) where it was asked for.
    """

    output: str
    model: str
    clips: int
    rejected: int
    shards: int
    seconds: float
    bitrate: float
    resumed_clips: int
    run_seconds: float
    elapsed: float
    speed: float
    workers: int
    profile: dict[str, float] | None = None
