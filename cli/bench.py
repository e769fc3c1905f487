"""`voxzoo bench SOURCE -m A -m B ... -o DIR`: codecs and anchors compared on the same clips."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from ..core.errors import MissingExtraError, VoxzooError
from ._common import add_json_option, print_json, table
from .tokenize import SOURCES

DESCRIPTION = """
Encode, decode and score the clips of a source with several models. Writes DIR/results.json, scores.parquet, report.html (with
plots, players and the definition of every metric), table.md and example sound. Run again after an interruption, the same
command goes on where it stopped; further -m and --metrics are measured without repeating what is there. A metric that has no
value on a clip is missing with its reason and counted; clips that cannot be read are listed in rejected.jsonl (exit status 3).
"""
ENTRIES = """
An entry is a name from `voxzoo models`, a model folder or a bundle, with :K for its first K codebooks (vox-rvq-16k:2), or a
classical codec through ffmpeg: opus:KBITS, speex:KBITS, codec2:MODE, gsm. Metrics: the groups reconstruction, mos,
intelligibility, speaker, rate and cost, the names of single metrics, or all. A manifest's columns text, speaker and lang are
used where a metric needs them.
"""
WIDTH = 160  # of tables that do not go to a terminal


def add(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser("bench", help="compare codecs on speech", description=DESCRIPTION, epilog=ENTRIES + SOURCES)
    parser.add_argument("source", metavar="SOURCE", help="folder, glob, manifest, tars or Parquet: see below")
    parser.add_argument(
        "-m", "--model", action="append", required=True, dest="models", metavar="ENTRY", help="see below; repeat"
    )
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for the results; made if need be")
    parser.add_argument(
        "--metrics", default="reconstruction,cost,rate", metavar="NAMES", help="with commas (default: reconstruction,cost,rate)"
    )
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="METRIC=PATH",
        help="local model of a metric that needs one; repeat",
    )
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="MODEL=DIR",
        help="folder with a model's checkpoint (or 'random'); repeat",
    )
    parser.add_argument(
        "--device", default="cpu", metavar="DEVICE", help="of the models: cpu, cuda, cuda:1, ... (default: cpu)"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: all cores; with a GPU: 1)")
    parser.add_argument("--rate", type=int, default=16000, metavar="HZ", help="at which all is compared (default: 16000)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N clips of the source (default: all)")
    parser.add_argument("--examples", type=int, default=5, metavar="N", help="clips to listen to in the report (default: 5)")
    parser.add_argument(
        "--bootstrap", type=int, default=1000, dest="resamples", metavar="N", help="resamples of the intervals (default: 1000)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the intervals and tests (default: 0)")
    parser.add_argument("--no-report", action="store_false", dest="report", help="no report.html, table.md and plots")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", default=True, help="go on where an earlier run stopped (the default)")
    again.add_argument(
        "--no-resume", action="store_false", dest="resume", help="refuse a folder that holds a benchmark already"
    )
    again.add_argument("--overwrite", action="store_true", help="throw away the benchmark that DIR holds and start afresh")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare; a table goes to stdout, progress to stderr."""
    try:
        from ..eval.bench import Options, bench
    except ImportError as error:
        raise MissingExtraError(error.name or "scipy", "eval") from None
    plain = {field.name for field in fields(Options)} - {"models", "metrics", "checkpoints", "weights"}
    options = Options(
        models=tuple(args.models),
        metrics=tuple(name.strip() for name in args.metrics.split(",") if name.strip()),
        checkpoints=_pairs(args.checkpoint, "--checkpoint", "METRIC=PATH"),
        weights=_pairs(args.weights, "--weights", "MODEL=DIR"),
        **{name: value for name, value in vars(args).items() if name in plain},
    )
    try:
        results = bench(options)
    except KeyboardInterrupt:
        print(f"voxzoo: interrupted; the same command goes on from what is in {args.output!r}", file=sys.stderr)
        return 130
    if args.json:
        print_json(results)
    else:
        _print(results, args.output, args.report)
    _tell_missing(results, args.output)
    return 3 if results["rejected"] else 0


def _pairs(texts: Sequence[str], option: str, form: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise VoxzooError(f"{option} {text!r}; expected {form}")
        if name in pairs:
            raise VoxzooError(f"{option} names {name!r} twice")
        pairs[name] = value
    return pairs


def _print(results: Mapping[str, Any], output: str, report: bool) -> None:
    """The means by group, in tables that fit the terminal, and what is between speakers as it is."""
    about = results["about"]
    print(f"{about['clips']} clips, {about['seconds'] / 60:.1f} min, compared at {about['rate']} Hz; means; 95 % intervals, "
          f"tests and definitions are in {output}/{'report.html' if report else 'results.json'}")  # fmt: skip
    width = shutil.get_terminal_size((WIDTH, 24)).columns
    for group in dict.fromkeys(metric["group"] for metric in results["metrics"]):
        metrics = [metric for metric in results["metrics"] if metric["group"] == group]
        rows = [[entry["label"], *(_cell(entry["summary"][m["name"]], m) for m in metrics)] for entry in results["entries"]]
        rows = [[group, *map(_head, metrics)], *(row for row in rows if set(row[1:]) != {"-"})]
        for block in _blocks(rows, width) if len(rows) > 1 else ():
            print(f"\n{table(block, range(1, len(block[0])))}")
    labels = {metric["name"]: metric["label"] for metric in results["metrics"]}
    for name, scale in results["calibration"].items():
        print(f"\n{labels[name]} between two originals {_scale(scale)}")


def _scale(calibration: Mapping[str, Any]) -> str:
    """By what a similarity of speakers is read."""
    missing = calibration.get("missing", {})
    parts = []
    for name, of, pairs in zip(("same", "different"), ("one speaker", "two speakers"), calibration["pairs"], strict=True):
        value, why = calibration[name], missing.get(name) or missing.get("calibration", "no value")
        parts.append(f"of {of}: {f'no value, {why}' if value is None else f'{value:.3f} ({pairs} pairs)'}")
    return "; ".join(parts)


def _blocks(rows: Sequence[Sequence[str]], width: int) -> Iterator[list[list[str]]]:
    """Columns in groups that fit `width`, each with the first column in front."""
    widths = [max(len(row[i]) for row in rows) + 2 for i in range(len(rows[0]))]
    columns: list[int] = []
    for i in range(1, len(widths)):
        if columns and widths[0] + sum(widths[j] for j in columns) + widths[i] > width + 2:
            yield [[row[j] for j in (0, *columns)] for row in rows]
            columns = []
        columns.append(i)
    yield [[row[j] for j in (0, *columns)] for row in rows]


def _head(metric: Mapping[str, Any]) -> str:
    """The label, the unit where it is one word, and which way is better."""
    unit = f" {metric['unit']}" if metric["unit"] and " " not in metric["unit"] else ""
    return f"{metric['label']}{unit}{ {'higher': ' ↑', 'lower': ' ↓'}.get(metric['better'], '') }"


def _cell(summary: Mapping[str, Any], metric: Mapping[str, Any]) -> str:
    """A mean, and in brackets how many clips have none; "-" where nothing was measured."""
    missing = sum(summary["missing"].values())
    if summary["mean"] is None:
        return f"({missing})" if missing and metric["per"] == "clip" else "-"
    text = f"{summary['mean']:.{metric['digits']}f}"
    return f"{text} ({missing})" if missing else text


def _tell_missing(results: Mapping[str, Any], output: str) -> None:
    per_clip = {metric["name"] for metric in results["metrics"] if metric["per"] == "clip"}
    reasons: dict[str, int] = {}
    for entry in results["entries"]:
        for name, summary in entry["summary"].items():
            for reason, count in summary["missing"].items() if name in per_clip else ():
                reasons[reason] = reasons.get(reason, 0) + count
    if reasons:
        most = max(reasons, key=lambda reason: reasons[reason])
        print(f"voxzoo: {sum(reasons.values())} values are missing, in brackets in the table; the most frequent reason: {most} "
              f"({reasons[most]}); {output}/results.json has all", file=sys.stderr)  # fmt: skip
    if results["rejected"]:
        count, first = len(results["rejected"]), results["rejected"][0]
        print(f"voxzoo: {count} clips were rejected, as {first['id']}: {first['reason']}; {output}/rejected.jsonl has all",
              file=sys.stderr)  # fmt: skip
