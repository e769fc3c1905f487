"""`voxzoo tokenize SOURCE -m MODEL -o DIR`: a corpus to Parquet shards of tokens."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import Any

from ..core.errors import MissingExtraError
from ._common import add_json_option, add_resampler_option, print_json

DESCRIPTION = """
Turn a corpus into token shards: DIR/part-00000.parquet ..., DIR/dataset.json and DIR/rejected.jsonl. Run again after an
interruption, the same command goes on where it stopped. A file that cannot be used is listed in rejected.jsonl with its
reason, and the run goes on (exit status 3 instead of 0). With several -m the sound is read once, and each model has a folder
of its own in DIR, with the shards that a run of its own would make.
"""
SOURCES = """
SOURCE is one of: a folder of sound (searched in depth; id = path without extension; NAME.json and NAME.txt beside NAME.mp3
are carried as columns), a glob in quotes, one sound file; a manifest .jsonl, .csv or .tsv, gzipped or not, with a column `path`
or `audio_filepath` and perhaps `id`, `offset` and `duration` in seconds (other columns are carried into the shards), fairseq's
.tsv, lhotse's cuts (.jsonl, .jsonl.gz) or a Shar folder, Kaldi's wav.scp or data directory with segments, paths being relative
to the manifest; WebDataset .tar files, also as x-{000..099}.tar or pipe:COMMAND; Parquet with an audio column; a folder saved
by Hugging Face datasets. Each may be a URL that fsspec opens (s3://, gs://, hf://, https://, ...). Of clips with the same id
the first is tokenized, the others are rejected. Files and folders whose name begins with a dot are left out.
"""


def add(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser("tokenize", help="a corpus to token shards", description=DESCRIPTION, epilog=SOURCES)
    parser.add_argument("source", metavar="SOURCE", help="folder, glob, manifest, tars or Parquet: see below")
    parser.add_argument(
        "-m", "--model", required=True, action="append", metavar="MODEL",
        help="a name from `voxzoo models`, a model folder, or a bundle; again for several in one pass",
    )  # fmt: skip
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for the shards; made if need be")
    parser.add_argument("--weights", metavar="DIR", help="folder with the checkpoint (or 'random': untrained, for trials)")
    parser.add_argument(
        "--device",
        default="cpu",
        metavar="DEVICE",
        help="cpu, cuda, cuda:1, several as cuda:0,cuda:1 or cuda:all (default: cpu)",
    )
    parser.add_argument("--dtype", default="float32", metavar="DTYPE", help="float32, bfloat16 or float16 (default: float32)")
    parser.add_argument(
        "--engine", default="local", choices=("local", "ray"),
        help="processes here, or actors on a Ray cluster (default: local)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes or actors; with a GPU, threads that decode (default: all cores)"
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
    parser.add_argument("--profile", action="store_true", help="tell where the time went, and what limits")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Tokenize; a summary goes to stdout, progress to stderr."""
    try:
        from ..corpus.engine import Options, tokenize_all
    except ImportError as error:
        raise MissingExtraError(error.name or "pyarrow", "all") from None
    names = {field.name for field in dataclasses.fields(Options)}
    model, *more = args.model
    given = {key: value for key, value in vars(args).items() if key in names}
    options = Options(**{**given, "model": model, "more": tuple(more)})
    try:
        summaries = tokenize_all(options)
    except KeyboardInterrupt:
        print(f"voxzoo: interrupted; the same command goes on from the finished shards in {args.output!r}", file=sys.stderr)
        return 130
    if args.json:
        told = [dataclasses.asdict(summary) for summary in summaries]
        print_json(told if more else told[0])
    else:
        for summary in summaries:
            print(_line(summary))
            if summary.rejected:
                where = f"{summary.output}/rejected.jsonl tells why"
                print(f"voxzoo: {summary.rejected} clips were rejected; {where}", file=sys.stderr)
    if args.profile:
        _print_profile(summaries[0])
    return 3 if any(summary.rejected for summary in summaries) else 0


def _print_profile(summary: Any) -> None:
    from ..corpus.profile import describe

    print(describe(summary.profile, summary.workers, summary.elapsed), file=sys.stderr)


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
