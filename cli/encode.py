"""`voxzoo encode IN.wav -m MODEL -o OUT.safetensors` (or `OUT.vxb`, a bitstream): one file to tokens."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from ..core.errors import VoxzooError
from ._common import (
    STANDARD,
    add_engine_options,
    add_json_option,
    add_resampler_option,
    check_output,
    load_model,
    print_json,
    source,
)

if TYPE_CHECKING:
    from ..core.tokens import Tokens


def add(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        "encode", help="one sound file to tokens", description="Turn one sound file into a tokens file."
    )
    parser.add_argument("input", metavar="IN", help="sound file, or - for stdin")
    parser.add_argument(
        "-m", "--model", required=True, metavar="MODEL", help="a name from `voxzoo models`, or a folder or bundle"
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="tokens file (.safetensors or .vxb), or - for stdout"
    )
    note = "write a bitstream with this coder: packed, static or adaptive (default: packed for .vxb, else no bitstream)"
    parser.add_argument("--coder", choices=("packed", "static", "adaptive"), metavar="CODER", help=note)
    parser.add_argument("--streams", type=int, metavar="K", help="only the first K codebooks (default: all)")
    add_engine_options(parser)
    add_resampler_option(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Encode and write; a summary goes to stdout unless the tokens do."""
    check_output(args.output, [args.input])
    if args.json and args.output == STANDARD:
        raise VoxzooError("--json and -o - both write to stdout; choose one")
    tokens = load_model(args.model, args).encode(source(args.input), streams=args.streams)
    _save(tokens, args)
    seconds, frames = float(tokens.durations[0]), [int(n) for n in tokens.frames[0]]
    if args.json:
        print_json({"output": args.output, "model": tokens.facts.name, "fingerprint": tokens.fingerprint, "seconds": seconds,
                    "samples": int(tokens.lengths[0]), "frames": frames, "bitrate": tokens.bitrate})  # fmt: skip
    elif args.output != STANDARD:
        shown = " + ".join(map(str, frames)) if len(set(frames)) > 1 else f"{len(frames)} x {frames[0]}"
        print(f"{args.output}: {seconds:.2f} s as {shown} codes, {tokens.bitrate / 1000:.3g} kbit/s")
    return 0


def _save(tokens: Tokens, args: argparse.Namespace) -> None:
    """A bitstream where the extension or `--coder` ask for one, else safetensors."""
    place = sys.stdout.buffer if args.output == STANDARD else args.output
    if args.coder is None and not args.output.lower().endswith(".vxb"):
        tokens.save(place)
        return
    from ..core.bitstream import write_bitstream

    write_bitstream(tokens, place, args.coder or "packed")
