"""`voxzoo tokenize SOURCE -m MODEL -o DIR`: a corpus to Parquet shards of tokens."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import Any

from ..core.errors import CorpusError, MissingExtraError
from ._common import add_json_option, add_resampler_option, print_json

DESCRIPTION = """
Turn a corpus into token shards: DIR/part-00000.parquet ..., DIR/dataset.json and DIR/rejected.jsonl. Run again after an
interruption, the same command goes on where it stopped. A file that cannot be used is listed in rejected.jsonl with its
reason, and the run goes on (exit status 3 instead of 0).
"""
SOURCES = """
SOURCE is one of: a folder of sound (searched in depth; id = path without extension), a glob in quotes, one sound file;
a manifest .jsonl, .csv or .tsv with a column `path` or `audio_filepath` and perhaps `id` (other columns are carried into the
shards), or Kaldi wav.scp, paths being relative to the manifest; WebDataset .tar files; Parquet with an audio column. Of clips
with the same id the first is tokenized, the others are rejected. Files and folders whose name begins with a dot are left out.
"""


def add(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser("tokenize", help="a corpus to token shards", description=DESCRIPTION, epilog=SOURCES)
    parser.add_argument("source", metavar="SOURCE", help="folder, glob, manifest, tars or Parquet: see below")
    parser.add_argument("-m", "--model", required=True, metavar="MODEL", help="a name from `voxzoo models`, or a model folder")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for the shards; made if need be")
    parser.add_argument("--weights", metavar="DIR", help="folder with the checkpoint (or 'random': untrained, for trials)")
    parser.add_argument("--device", default="cpu", metavar="DEVICE", help="cpu, cuda, cuda:1, ... (default: cpu)")
    parser.add_argument("--engine", default="local", choices=("local", "ray"), help="what runs the work (default: local)")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes; with a GPU, threads that decode (default: all cores)"
    )
    add_resampler_option(parser)
    parser.add_argument("--streams", type=int, metavar="K", help="only the first K codebooks (default: all)")
    parser.add_argument("--shard-clips", type=int, default=1000, metavar="N", help="clips in a shard (default: 1000)")
    parser.add_argument(
        "--batch-seconds", type=float, metavar="S", help="sound in a batch, with padding (default: 20; GPU: 600)"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N clips of the source (default: all)")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", default=True, help="go on where an earlier run stopped (the default)")
    again.add_argument("--no-resume", action="store_false", dest="resume", help="refuse a folder that holds tokens already")
    again.add_argument("--overwrite", action="store_true", help="throw away the tokens that DIR holds and start afresh")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Tokenize; a summary goes to stdout, progress to stderr."""
    if args.engine == "ray":
        raise CorpusError("--engine ray is not in this version; use --engine local")
    try:
        from ..corpus.engine import Options, tokenize
    except ImportError as error:
        raise MissingExtraError(error.name or "pyarrow", "all") from None
    names = {field.name for field in dataclasses.fields(Options)}
    options = Options(**{key: value for key, value in vars(args).items() if key in names})
    try:
        summary = tokenize(options)
    except KeyboardInterrupt:
        print(f"voxzoo: interrupted; the same command goes on from the finished shards in {args.output!r}", file=sys.stderr)
        return 130
    if args.json:
        print_json(dataclasses.asdict(summary))
    else:
        print(_line(summary))
        if summary.rejected:
            print(f"voxzoo: {summary.rejected} clips were rejected; {summary.output}/rejected.jsonl tells why", file=sys.stderr)
    return 3 if summary.rejected else 0


def _line(summary: Any) -> str:
    speed = f"{summary.run_seconds / 3600:.2f} h in {summary.elapsed:.0f} s, {summary.speed:.0f}x real time"
    if summary.resumed_clips and not summary.run_seconds:
        speed = "all were there already"
    elif summary.resumed_clips:
        speed = f"{summary.resumed_clips} clips were there already; {speed}"
    return (
        f"{summary.output}: {summary.clips} clips, {summary.seconds / 3600:.2f} h in {summary.shards} shards at "
        f"{summary.bitrate / 1000:.3g} kbit/s ({summary.model}), {summary.rejected} rejected; {speed}"
    )
