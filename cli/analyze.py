"""`voxzoo analyze SOURCE -o DIR`: what the tokens of a model are like."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Mapping
from typing import Any

from ..core.errors import MissingExtraError, VoxzooError
from ._common import add_json_option, add_resampler_option, make_folder, print_json, table

DESCRIPTION = """
Bitrate, entropy, usage and imbalance of tokens; how they stand up to noise, rooms, pitch and tempo; what they tell of speakers
and of phones; which layer of a model to quantise. SOURCE is a folder that `voxzoo tokenize` wrote, or sound (any source that
`voxzoo tokenize` takes) with a model. Writes analysis.json, analysis.md and plots to DIR. Exit status 3: something is missing,
and stderr says what; 2: all is.
"""
GROUPS = """
Groups: tokens (default), robustness (default with a model; sound only), speaker, phones, layers (sound only). For tokens of
much sound, run `voxzoo tokenize` first and give its folder: the tokens are kept then, and an interrupted run goes on.
"""


def add(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser("analyze", help="what tokens are like", description=DESCRIPTION, epilog=GROUPS)
    parser.add_argument("source", metavar="SOURCE", help="folder of token shards, or a source of sound")
    parser.add_argument("-m", "--model", metavar="MODEL[:K]", help="for sound: a model, perhaps with its first K codebooks")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for the results; made if need be")
    parser.add_argument("--groups", type=_names, metavar="G,G", help="tokens,robustness,speaker,phones,layers (see below)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes; 0: this one alone (default: all cores)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N clips of the source (default: all)")
    note = "clips, drawn at random, for all groups but tokens, of each the first minute (default: 500 of shards, 50 of sound)"
    parser.add_argument("--clips", type=int, metavar="N", help=note)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is random (default: 0)")
    parser.add_argument("--noise", metavar="SOURCE", help="recorded noise for robustness: folder, manifest, ...")
    parser.add_argument("--rir", metavar="SOURCE", help="measured room responses for robustness: folder, manifest, ...")
    parser.add_argument("--weights", metavar="DIR", help="folder with the checkpoint (or 'random': untrained, for trials)")
    parser.add_argument("--device", default="cpu", metavar="DEVICE", help="cpu, cuda, cuda:1, ... (default: cpu)")
    add_resampler_option(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def _names(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name]


def run(args: argparse.Namespace) -> int:
    """Analyze; a summary goes to stdout, what is missing to stderr."""
    for name, least in (("workers", 0), ("limit", 1), ("clips", 1), ("seed", 0)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise VoxzooError(f"--{name} {value}; expected at least {least}")
    try:
        from ..eval.analysis import analyze, shortcomings
        from ..eval.analysis_inputs import Options
    except ImportError as error:
        raise MissingExtraError(error.name or "pyarrow", "eval") from None
    names = {field.name for field in dataclasses.fields(Options)}
    make_folder(args.output)
    results = analyze(Options(**{key: value for key, value in vars(args).items() if key in names}))
    if args.json:
        print_json(results)
    else:
        _print(args.output, results)
    lacking = shortcomings(results)
    for line in lacking:
        print(f"voxzoo: {line}", file=sys.stderr)
    if all("missing" in section for section in results["groups"].values()):
        return 2
    return 3 if lacking else 0


def _print(output: str, results: Mapping[str, Any]) -> None:
    from ..eval.analysis_tables import blocks

    for name, section in results["groups"].items():
        for block in blocks(name, section, short=True):
            print(block if isinstance(block, str) else table(block, right=range(1, len(block[0]))), end="\n\n")
    groups = [name for name, section in results["groups"].items() if "missing" not in section]
    print(f"{os.path.join(output, 'analysis.md')}: {', '.join(groups) or 'nothing'} of {results['about']['model']}")
