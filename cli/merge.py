"""`voxzoo merge DIR DIR ... -o OUT`: folders of token shards of one model as one."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from ..core.errors import MissingExtraError
from ._common import add_json_option, print_json
from ._progress import clips_done

DESCRIPTION = """
Put folders of token shards together: shards are copied and numbered through. They have to be of one model (fingerprint), of one
resampler, complete, and without an id in common. A column that a folder lacks is null there.
"""


def add(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser("merge", help="several folders of shards as one", description=DESCRIPTION)
    parser.add_argument("sources", nargs="+", metavar="DIR", help="folders that `voxzoo tokenize` wrote")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="new folder")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Merge; a summary goes to stdout."""
    try:
        from ..corpus.merge import merge
    except ImportError as error:
        raise MissingExtraError(error.name or "pyarrow", "all") from None
    with clips_done(*args.sources) as advance:
        done = merge(args.sources, args.output, advance)
    if args.json:
        print_json(dataclasses.asdict(done))
    else:
        print(f"{done.output}: {done.clips} clips in {done.shards} shards of {done.datasets} folders, {done.rejected} rejected")
    return 0
