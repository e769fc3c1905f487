"""Results of a benchmark as `results.json` holds them, made up: for tests of the report."""

from pathlib import Path
from typing import Any

import numpy as np

from voxzoo import Audio

METRICS = (
    ("pesq_wb", "PESQ-WB", "reconstruction", "MOS-LQO, 1 to 4.64", "higher", 2, "clip"),
    ("stoi", "STOI", "reconstruction", "", "higher", 3, "clip"),
    ("si_sdr", "SI-SDR", "reconstruction", "dB", "higher", 1, "clip"),
    ("lag", "Delay", "reconstruction", "samples", None, 0, "clip"),
    ("dnsmos_ovrl", "DNSMOS OVRL", "mos", "MOS", "higher", 2, "clip"),
    ("wer", "WER", "intelligibility", "%", "lower", 1, "clip"),
    ("rtf", "RTF", "cost", "s/s", "lower", 3, "entry"),
    ("file_rate", "File", "rate", "bit/s", "lower", 0, "entry"),
)
ENTRIES = (
    ("original", "original", ""),
    ("vox-rvq-16k:2", "model", "vox-rvq-16k"),
    ("vox-rvq-16k:8", "model", "vox-rvq-16k"),
    ("opus:6", "anchor", "opus"),
    ("opus:12", "anchor", "opus"),
    ("gsm", "anchor", "gsm"),
)
QUALITY = {"original": 1.0, "vox-rvq-16k:2": 0.3, "vox-rvq-16k:8": 0.5, "opus:6": 0.45, "opus:12": 0.8, "gsm": 0.6}
BITRATES = {
    "original": None,
    "vox-rvq-16k:2": 1000.0,
    "vox-rvq-16k:8": 4000.0,
    "opus:6": 6000.0,
    "opus:12": 12000.0,
    "gsm": 13200.0,
}
HOSTILE = "</script><script>alert(1)</script>"
RTL = "שלום \u202e عربي"


def results(clips: int = 12, entries: int | None = None, tokens: bool = True) -> dict[str, Any]:
    """Without examples; clip 0 is hostile, clip 1 written from right to left, and some values are missing."""
    rng = np.random.default_rng(5)
    chosen = ENTRIES[:entries] if entries is None or entries <= len(ENTRIES) else _many(entries)
    rows = [_clip(i, [label for label, _, _ in chosen], rng) for i in range(clips)]
    return {
        "format": "voxzoo.bench/1",
        "about": {
            "voxzoo": "0.1.0",
            "python": "3.11.7",
            "machine": f"2 cores {HOSTILE}",
            "rate": 16000,
            "clips": clips,
            "seconds": 4.5 * clips,
            "source": {"path": f"speech/{RTL}", "kind": "folder", "clips": clips, "sha256": "ab" * 32},
            "arguments": {"metrics": ["reconstruction", "mos"], "workers": 2},
        },
        "metrics": [
            dict(
                zip(("name", "label", "group", "unit", "better", "digits", "per"), m, strict=True),
                definition=f"{m[1]} in full <b>words</b> & a band of 8 kHz [pesq 0.0.4]",
            )
            for m in METRICS
        ],
        "entries": [_entry(label, kind, model, rows, tokens and kind == "model") for label, kind, model in chosen],
        "tests": _tests([label for label, kind, _ in chosen if kind != "original"], rows),
        "calibration": {"speaker_similarity": {"same": 0.91, "different": 0.55, "pairs": [120, 480]}},
        "clips": rows,
        "examples": [],
    }


def _many(count: int) -> list[tuple[str, str, str]]:
    return [ENTRIES[0], *((f"model-{i // 3}:{2 ** (i % 3)}", "model", f"model-{i // 3}") for i in range(count - 1))]


def _quality(label: str) -> float:
    return QUALITY.get(label, 0.2 + (sum(map(ord, label)) % 60) / 100)


def _clip(i: int, labels: list[str], rng: np.random.Generator) -> dict[str, Any]:
    values: dict[str, Any] = {}
    reasons: dict[str, Any] = {}
    hard = rng.normal(0, 0.05)
    for label in labels:
        q = min(1.0, max(0.02, _quality(label) + hard + rng.normal(0, 0.04)))
        made = {
            "pesq_wb": 1 + 3.6 * q,
            "stoi": 0.6 + 0.4 * q,
            "si_sdr": -20 + 30 * q,
            "lag": float(rng.integers(-3, 3)),
            "dnsmos_ovrl": 2 + q,
            "wer": 100 * (1 - q) * 0.5,
        }
        if label == "original":
            made |= {"pesq_wb": None, "stoi": None, "si_sdr": None, "lag": None}
        if i == 2 and label != "original":
            made["pesq_wb"] = None
            reasons[label] = {"pesq_wb": f"no utterance found {HOSTILE}"}
        values[label] = made
    ids = [f"<img src=x onerror=alert(2)> {HOSTILE}", RTL]
    return {
        "id": ids[i] if i < 2 else f"clip-{i:04d}",
        "seconds": 4.5,
        "speaker": f"s{i % 3}",
        "text": f"text {HOSTILE} {RTL}",
        "values": values,
        "reasons": reasons,
    }


def _entry(label: str, kind: str, model: str, rows: list[dict[str, Any]], tokens: bool) -> dict[str, Any]:
    summary = {}
    for name, *_, per in METRICS:
        if per == "entry":
            value = {"rtf": 0.05 * (1 + _quality(label)), "file_rate": (BITRATES.get(label, 2000.0) or 0) * 1.07}[name]
            summary[name] = {
                "mean": None if kind == "original" else value,
                "low": None,
                "high": None,
                "count": 1,
                "missing": {},
            }
            continue
        own = [row["values"][label][name] for row in rows if row["values"][label][name] is not None]
        why = [row["reasons"][label][name] for row in rows if name in row["reasons"].get(label, {})]
        spread = np.std(own) / np.sqrt(len(own)) * 2 if len(own) > 1 else None
        mean = float(np.mean(own)) if own else None
        bounds = (mean - float(spread), mean + float(spread)) if mean is not None and spread is not None else (None, None)
        summary[name] = {
            "mean": mean,
            "low": bounds[0],
            "high": bounds[1],
            "count": len(own),
            "missing": {w: why.count(w) for w in why},
        }
    streams = int(label.rpartition(":")[2]) if kind == "model" else None
    return {
        "label": label,
        "kind": kind,
        "model": model,
        "streams": streams,
        "fingerprint": "cd" * 32 if kind == "model" else None,
        "facts": _facts() if kind == "model" else None,
        "bitrate": BITRATES.get(label, 2000.0),
        "summary": summary,
        "tokens": _tokens(streams or 1) if tokens else None,
    }


def _facts() -> dict[str, Any]:
    return {
        "name": "vox-rvq-16k",
        "kind": "acoustic",
        "sample_rate": 16000,
        "frame_rates": ["50"] * 8,
        "codebook_sizes": [1024] * 8,
        "params": 5_600_000,
        "weights_licence": "Apache-2.0",
    }


def _tokens(streams: int) -> dict[str, Any]:
    made = []
    for k in range(streams):
        counts = np.sort((5000 / np.arange(1, 1025) ** (0.9 - 0.08 * k)).astype(int))
        share = np.cumsum(counts) / counts.sum()
        at = np.linspace(0, 1023, 101).astype(int)
        made.append(
            {
                "size": 1024,
                "rate": 50.0,
                "tokens": int(counts.sum()),
                "entropy": 8.1 + 0.1 * k,
                "conditional_entropy": 6.5,
                "conditional_biased": True,
                "perplexity": 2 ** (8.1 + 0.1 * k),
                "usage": 0.95,
                "dead": 51,
                "gini": 0.6 - 0.03 * k,
                "gini_used": 0.5,
                "rarest20": 0.04 + 0.01 * k,
                "rarest20_used": 0.05,
                "top20": 0.7,
                "zipf": -0.9 + 0.08 * k,
                "mean_run": 1.2,
                "dedup_rate": 41.0,
                "lorenz": [[0.0, 0.0], *([float((i + 1) / 1024), float(share[i])] for i in at)],
                "rank_frequency": [[int(r + 1), int(counts[::-1][r])] for r in at],
                "growth": [[int(n), 1024 * (1 - float(np.exp(-n / 3000)))] for n in np.geomspace(10, counts.sum(), 40)],
            }
        )
    rates = {
        "nominal": 500.0 * streams,
        "packed": 500.0 * streams,
        "entropy": 420.0 * streams,
        "conditional": 330.0 * streams,
        "cross_codebook": 400.0 * streams,
        "ngram": {"1": 430.0 * streams, "2": 410.0 * streams, "3": 405.0 * streams},
    }
    return {"clips": 12, "seconds": 54.0, "tokens": 2700 * streams, "rates": rates, "streams": made}


def _tests(labels: list[str], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for a, b in ((a, b) for i, a in enumerate(labels) for b in labels[i + 1 :]):
        values = [(row["values"][a]["stoi"], row["values"][b]["stoi"]) for row in rows]
        mean = float(np.mean([x - y for x, y in values]))
        p = 0.0123 if len(rows) > 5 else None
        found.append(
            {
                "metric": "stoi",
                "a": a,
                "b": b,
                "difference": mean,
                "low": mean - 0.02,
                "high": mean + 0.01,
                "p": p,
                "count": len(values),
                "reason": "" if p else "a test needs at least 6",
            }
        )
    return found


def with_examples(made: dict[str, Any], folder: Path, speech: Path, count: int = 2, seconds: float = 2.0) -> dict[str, Any]:
    """`made` with examples whose sound is written into `folder`: pieces of `speech`, with noise in what was decoded."""
    whole = Audio.read(speech, 16000).samples
    rng = np.random.default_rng(1)
    for n in range(count):
        start = int(n * 16000 % max(len(whole) - seconds * 16000, 1))
        piece = np.resize(whole[start:], int(seconds * 16000))
        files = {}
        for label in [entry["label"] for entry in made["entries"]]:
            place = f"audio/{label.replace(':', '-')}/{n:03d}.flac"
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            noise = 0.0 if label == "original" else 0.03 * (1 - _quality(label)) * rng.standard_normal(len(piece))
            Audio(np.clip(piece + noise, -1, 1).astype(np.float32), 16000).write(folder / place)
            files[label] = place
        codes = {
            e["label"]: rng.integers(0, 1024, (e["streams"], int(50 * seconds))).tolist()
            for e in made["entries"]
            if e["streams"]
        }
        original = files.pop("original")
        made["examples"].append(
            {"id": made["clips"][n]["id"], "seconds": seconds, "original": original, "decoded": files, "codes": codes}
        )
    return made
