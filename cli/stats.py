"""`voxzoo stats DIR`: what a folder of token shards holds."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping
from typing import Any

from ..core.errors import MissingExtraError
from ._common import add_json_option, print_json, table
from ._progress import clips_done

DESCRIPTION = """
Clips, hours, lengths, and how much of the codebooks a folder of token shards uses. `voxzoo analyze` tells more of the tokens.
"""
WIDTH = 40  # of the longest bar
SHOWN = 20  # values of --by


def add(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser("stats", help="what a folder of shards holds", description=DESCRIPTION)
    parser.add_argument("path", metavar="DIR", help="folder that `voxzoo tokenize` wrote")
    parser.add_argument("--by", metavar="COLUMN", help="clips and hours of each value of a column, such as speaker")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Count; tables go to stdout."""
    try:
        from ..corpus.reading import open as open_reader
        from ..corpus.stats import statistics
    except ImportError as error:
        raise MissingExtraError(error.name or "pyarrow", "all") from None
    with clips_done(args.path) as advance:
        found = statistics(open_reader(args.path), args.by, advance)
    if args.json:
        print_json(found)
    else:
        _print(args.path, found)
    return 0


def _print(path: str, found: Mapping[str, Any]) -> None:
    rate = "" if found["kbps"] is None else f" ({found['kbps']:.3g} kbit/s)"
    print(f"{path}: {found['clips']} clips, {found['hours']:.2f} h, {found['tokens']} tokens{rate} of {found['model']}\n")
    lengths = found["durations"]
    names = ("shortest", "median", "mean", "p95", "longest")
    print("durations: " + ", ".join(f"{name} {lengths[name]:.2f} s" for name in names))
    ends = [*(f"{edge:g}" for edge in lengths["edges"]), ""]
    most = max(lengths["counts"])
    rows = [["s", "clips", ""]]
    filled = [i for i, count in enumerate(lengths["counts"]) if count]
    for i, (a, b) in enumerate(itertools.pairwise(ends)):
        count = lengths["counts"][i]
        if filled[0] <= i <= filled[-1]:
            rows.append([f"{a}-{b}" if b else f"{a}+", str(count), "#" * round(WIDTH * count / most)])
    print(table(rows, right=[0, 1]), end="\n\n")
    head = ["stream", "codebook", "codes", "used", "bits", "perplexity"]
    streams = [
        [
            str(k),
            str(s["size"]),
            str(s["codes"]),
            f"{s['used'] / s['size']:.1%}",
            f"{s['entropy']:.2f}",
            f"{s['perplexity']:.1f}",
        ]
        for k, s in enumerate(found["streams"])
    ]
    print(table([head, *streams], right=range(len(head))))
    if "by" in found:
        values = [[value or "(none)", str(n["clips"]), f"{n['hours']:.2f}"] for value, n in list(found["by"].items())[:SHOWN]]
        rest = len(found["by"]) - len(values)
        print("\n" + table([["value", "clips", "hours"], *values], right=[1, 2]) + (f"\nand {rest} more" if rest else ""))
