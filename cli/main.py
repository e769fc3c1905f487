"""`voxzoo <verb>`: one parser, one way for errors to reach the terminal.

Exit status: 0 done, 2 nothing done (one line on stderr says why), 3 done in part, 130 interrupted. Verbs are files of this
folder, each with `add(subparsers)` and `run(args) -> int`; they import what is heavy inside `run`, so that `--help` is quick.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from .. import __version__
from ..core.errors import VoxzooError
from . import (
    analyze,
    bench,
    decode,
    demo,
    encode,
    export,
    info,
    merge,
    models,
    pack,
    serve,
    stats,
    tokenize,
    train,
    unpack,
    verify,
    weights,
)

__all__ = ["main"]

VERBS = (
    models, info, encode, decode, tokenize, train, weights, bench, analyze, demo, export,
    serve, pack, unpack, verify, merge, stats,
)  # fmt: skip


class Parser(argparse.ArgumentParser):
    """Long options are written out in full, and an error is one line."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        """Exit 2 with one line that names the verb."""
        _complain(f"{message}; see `{self.prog} --help`")
        raise SystemExit(2)


def parser() -> Parser:
    """The whole command line."""
    top = Parser(
        prog="voxzoo",
        description="Speech tokenizers and neural codecs behind one encode and decode.",
        epilog="`voxzoo VERB --help` tells more. Exit status: 0 done, 2 error, 3 done in part, 130 interrupted.",
    )
    top.add_argument("--version", action="version", version=f"voxzoo {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in VERBS:
        verb.add(verbs)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status."""
    args = parser().parse_args(argv)
    try:
        status: int = args.run(args)
        print(end="", flush=True)  # errors of stdout belong here, not to the end of the process
        return status
    except VoxzooError as error:
        _complain(str(error))
    except BrokenPipeError:
        # The reader went away (`voxzoo models | head -1`): say nothing, now or when Python closes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        _complain(f"{error.strerror or error}{f': {error.filename!r}' if error.filename else ''}")
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    return 2


def _complain(message: str) -> None:
    print(f"voxzoo: error: {' '.join(message.split())}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
