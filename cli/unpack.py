"""`voxzoo unpack OUT -o DIR`: packed sequences back to token shards."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from ..core.errors import MissingExtraError
from ._common import add_json_option, print_json
from ._progress import clips_done

DESCRIPTION = """
Make token shards again of sequences that `voxzoo pack` wrote: the same rows, in the same shards. Sequences that the layout does
not make are an error that names the clip.
"""


def add(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser("unpack", help="language-model sequences back to shards", description=DESCRIPTION)
    parser.add_argument("source", metavar="OUT", help="folder that `voxzoo pack` wrote")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="new folder for the shards")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Unpack; a summary goes to stdout."""
    try:
        from ..corpus.unpack import unpack
    except ImportError as error:
        raise MissingExtraError(error.name or "pyarrow", "all") from None
    with clips_done(args.source) as advance:
        done = unpack(args.source, args.output, advance)
    if args.json:
        print_json(dataclasses.asdict(done))
    else:
        print(f"{done.output}: {done.clips} clips, {done.codes} codes")
    return 0
