"""`voxzoo train RECIPE --data MANIFEST -o RUN`: train one of the small models we ship."""

from __future__ import annotations

import argparse
import logging
import os
from typing import Any

from ..core.errors import VoxzooError


def add(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser("train", help="train one of our small models", description="Train one of our small models.")
    parser.add_argument("recipe", metavar="RECIPE", help="the model to train, such as vox-rvq-16k")
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="MANIFEST", help="JSON lines with `path` or `audio_filepath`"
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="RUN", help="folder for checkpoint, curves and the trained model"
    )
    parser.add_argument(
        "--from", dest="start_from", metavar="MODEL", help="a name or folder to start from (default: what the recipe says)"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in RUN, if there is one")
    parser.add_argument("--device", default="cpu", metavar="DEVICE", help="cpu, cuda, cuda:1, ... (default: cpu)")
    parser.add_argument("--steps", type=_positive(int), metavar="N", help="stop after so many steps in all")
    parser.add_argument("--minutes", type=_positive(float), metavar="M", help="stop after so many minutes in all")
    parser.add_argument("--batch", type=_positive(int), metavar="N", help="segments per step (default: the recipe's)")
    parser.add_argument("--precision", default="auto", metavar="P", help="auto, fp32, bf16 or fp16 (default: auto)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="default: 0")
    parser.add_argument("--cache", metavar="DIR", help="where the decoded clips are kept (default: RUN/cache)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train; without `--resume` a folder that holds a run already is left alone."""
    if not args.resume and os.path.exists(os.path.join(args.output, "checkpoint.pt")):
        raise VoxzooError(f"{args.output!r} holds a run already; add --resume to go on with it, or name another folder")
    for manifest in args.data:
        if not os.path.isfile(manifest):
            raise VoxzooError(f"no manifest {manifest!r}; expected a file of JSON lines with `path` or `audio_filepath`")
    from ..core.loading import check_device
    from ..training.trainer import train

    check_device(args.device)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = train(
        args.recipe,
        args.data,
        args.output,
        resume=args.resume,
        device=args.device,
        max_steps=args.steps,
        max_minutes=args.minutes,
        seed=args.seed,
        batch=args.batch,
        precision=args.precision,
        cache=args.cache,
        start_from=args.start_from,
    )
    print(f"{folder}: trained; try `voxzoo encode IN.wav -m {folder} -o OUT.safetensors`")
    return 0


def _positive(kind: Any) -> Any:
    """A type for argparse: a number above 0."""

    def parse(text: str) -> Any:
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
        return value

    parse.__name__ = kind.__name__  # argparse names it: "invalid int value"
    return parse
