"""`voxzoo verify DIR`: is a folder of token shards whole?"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import Any

from ..core.errors import MissingExtraError
from ._common import add_json_option, print_json
from ._progress import clips_done

DESCRIPTION = """
Read every shard and compare all that tells of it: sha256 and counts of its record, checksums of its pages, streams and range of
codes, ids, totals, rejected clips, and the source where it can still be listed. Exit status 3: something is wrong, and a line
each says what.
"""


def add(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser("verify", help="are token shards whole?", description=DESCRIPTION)
    parser.add_argument("path", metavar="DIR", help="folder that `voxzoo tokenize` wrote")
    note = "what it was made of, if that lies elsewhere now (default: what dataset.json names, if it is there)"
    parser.add_argument("--source", metavar="SOURCE", help=note)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Verify; what is wrong goes to stdout, what could not be told to stderr."""
    try:
        from ..corpus.verify import verify
    except ImportError as error:
        raise MissingExtraError(error.name or "pyarrow", "all") from None
    with clips_done(args.path) as advance:
        found = verify(args.path, args.source, advance)
    if args.json:
        print_json({**dataclasses.asdict(found), "good": found.good})
    else:
        for problem in found.problems:
            print(f"{problem.file}: {problem.what}")
        state = "whole" if found.good else f"{len(found.problems)} problems"
        held = f"{found.clips} clips and {found.codes} codes in {found.shards} shards, {found.rejected} rejected"
        print(f"{found.path}: {held}: {state}")
        for what in found.unchecked:
            print(f"voxzoo: not checked: {what}", file=sys.stderr)
    return 0 if found.good else 3
