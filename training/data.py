"""Training clips: manifests in, one int16 cache on disk, seeded random segments out.

Clips are decoded once into `clips.i16` (mono, 16 kHz) beside `clips.json` (offsets, levels, names), so that a step
only copies from a memory map. Files that cannot be read are skipped and listed with their reason.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.audio import Audio
from ..core.errors import AudioError, CorpusError
from ..core.files import replacing

log = logging.getLogger(__name__)
SHORTEST = 0.2  # seconds of a clip
FLOOR = 1e-4  # RMS below which a frame is not speech (-80 dBFS)


def read_manifest(path: Path) -> list[dict[str, str]]:
    """Rows of a `manifest.jsonl`: `path` to open, `name` as it is written there (boosts go by it)."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
        names = [row.get("path") or row["audio_filepath"] for row in rows]
        return [{"path": str(path.parent / name), "name": name} for name in names]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorpusError(f"cannot read manifest {path}: {error!r}; wanted one JSON object with `path` per line") from error


def active_level(wav: np.ndarray) -> float:
    """RMS of the frames (20 ms) within 20 dB of the loudest tenth: the level of the speech, not of its pauses."""
    frames = wav[: len(wav) // 320 * 320].reshape(-1, 320)
    rms = np.sqrt(np.square(frames).mean(1)) if len(frames) else np.zeros(1)
    loud = np.percentile(rms, 90)
    return float(max(np.sqrt(np.square(rms[rms >= 0.1 * loud]).mean()), FLOOR))


def load_clip(path: str, sample_rate: int) -> tuple[bytes, float] | str:
    """16-bit samples at `sample_rate` and the active level, or the reason why there are none."""
    try:
        audio = Audio.read(path, sample_rate)
    except AudioError as error:
        return str(error)
    if audio.duration < SHORTEST:
        return f"{audio.duration:.3f} s long; expected at least {SHORTEST} s"
    return (audio.samples.clip(-1, 1) * 32767).astype(np.int16).tobytes(), active_level(audio.samples)


def build_cache(rows: Sequence[dict[str, Any]], folder: Path, sample_rate: int, workers: int) -> None:
    """Decodes every row into `folder`; the index is written last, so its presence means a whole cache.

    Threads will do: the decoder and the resampler leave Python's lock while they work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index: list[dict[str, Any]] = []
    rejected: list[dict[str, str]] = []
    start = 0
    with ThreadPoolExecutor(workers) as pool, open(folder / "clips.i16", "wb") as out:
        paths = [row["path"] for row in rows]
        for row, packed in zip(rows, pool.map(load_clip, paths, itertools.repeat(sample_rate)), strict=True):
            if isinstance(packed, str):
                rejected.append({"path": row["path"], "reason": packed})
                log.warning("skipped %s: %s", row["path"], packed)
                continue
            samples, level = packed
            out.write(samples)
            index.append({**row, "start": start, "length": len(samples) // 2, "level": level})
            start += len(samples) // 2
    if not index:
        raise CorpusError(f"none of the {len(rows)} clips could be read; the first reason: {rejected[0]['reason']}")
    with replacing(folder / "clips.json") as temporary:
        Path(temporary).write_text(json.dumps({"sample_rate": sample_rate, "clips": index, "rejected": rejected}))


@dataclass
class Clips:
    """A cache, opened: `samples` int16 (all clips end to end) and one index row per clip."""

    samples: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    levels: np.ndarray
    names: list[str]

    @classmethod
    def open(cls, folder: Path) -> Clips:
        """The cache that `build_cache` left in `folder`."""
        clips = json.loads((folder / "clips.json").read_text())["clips"]
        samples = np.memmap(folder / "clips.i16", dtype=np.int16, mode="r")
        starts, lengths, levels = (np.array([c[key] for c in clips]) for key in ("start", "length", "level"))
        return cls(samples, starts, lengths, levels, [c["name"] for c in clips])

    def cut(self, clip: int, offset: int, length: int) -> np.ndarray:
        """float32 (length,), zeros after the clip's end."""
        start, stop = self.starts[clip] + offset, self.starts[clip] + min(offset + length, self.lengths[clip])
        out = np.zeros(length, np.float32)
        out[: stop - start] = self.samples[start:stop].astype(np.float32) / 32768
        return out


def clip_weights(clips: Clips, boost: dict[str, float]) -> np.ndarray:
    """Probability of each clip: its seconds, times the boost of the first key found in its name."""
    weights = clips.lengths.astype(np.float64).copy()
    for i, name in enumerate(clips.names):
        weights[i] *= next((w for key, w in boost.items() if key in name), 1.0)
    return weights / weights.sum()


def held_out(clips: Clips, boost: dict[str, float], every: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities for training and for validation: every 50th clip is never trained on, if there are that many."""
    train = clip_weights(clips, boost)
    valid = train.copy()
    if len(train) >= every:
        aside = np.arange(len(train)) % every == 0
        train[aside], valid[~aside] = 0.0, 0.0
    return train / train.sum(), valid / valid.sum()


def prepare(manifests: Sequence[Path], folder: Path, sample_rate: int = 16000, workers: int | None = None) -> Clips:
    """Clips of all manifests, decoded unless `folder` already holds them."""
    rows = [row for manifest in manifests for row in read_manifest(Path(manifest))]
    if not rows:
        raise CorpusError("the manifests hold no clips; wanted one JSON object with `path` per line")
    index = folder / "clips.json"
    if not index.exists():
        log.info("decoding %d clips into %s", len(rows), folder)
        build_cache(rows, folder, sample_rate, workers or min(8, os.cpu_count() or 1))
    cached = json.loads(index.read_text())
    known = {row["path"] for row in (*cached["clips"], *cached["rejected"])}
    if cached["sample_rate"] != sample_rate or known != {row["path"] for row in rows}:
        raise CorpusError(f"{folder} holds other clips than the manifests name; delete it or choose another cache folder")
    return Clips.open(folder)


@dataclass(frozen=True)
class SegmentSettings:
    """How segments are drawn; levels in dBFS of the active speech."""

    length: int  # samples
    batch: int
    low_db: float = -45.0
    high_db: float = -12.0


class Segments:
    """Endless seeded batches. Batch i depends on (seed, i) only, so a resumed run continues exactly."""

    def __init__(self, clips: Clips, settings: SegmentSettings, weights: np.ndarray, seed: int) -> None:
        """weights: probability of each clip."""
        self.clips, self.settings, self.weights, self.seed = clips, settings, weights, seed

    def batch(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """wav float32 (B, T) and the active speech level (B,) as RMS."""
        s = self.settings
        rng = np.random.default_rng((self.seed, index))
        wav = np.empty((s.batch, s.length), np.float32)
        level = np.empty(s.batch, np.float32)
        for b, clip in enumerate(rng.choice(len(self.weights), s.batch, p=self.weights)):
            room = max(0, int(self.clips.lengths[clip]) - s.length)
            wav[b] = self.clips.cut(clip, int(rng.integers(room + 1)), s.length)
            level[b] = 10 ** (rng.uniform(s.low_db, s.high_db) / 20)
            wav[b] *= level[b] / self.clips.levels[clip]
        peak = np.abs(wav).max(1).clip(1.0)  # what would clip is turned down, its level with it
        return wav / peak[:, None], level / peak
