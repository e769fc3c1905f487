"""`voxzoo train RECIPE --data MANIFEST -o RUN`: train one of the small models we ship."""

from __future__ import annotations

import argparse
import glob
import logging
import os
from collections.abc import Sequence
from typing import Any

from ..core.decoders import decoders
from ..core.errors import VoxzooError


def add(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser("train", help="train one of our small models", description="Train one of our small models.")
    parser.add_argument("recipe", metavar="RECIPE", help="the model to train, such as vox-rvq-16k; or units, or dcspin")
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
    units = parser.add_argument_group("of the recipe `units`, k-means on the features of a backbone")
    units.add_argument(
        "--backbone", metavar="B", help="mfcc, logmel, a folder, file or hf:OWNER/REPO, or units (default: mfcc)"
    )
    units.add_argument("--layer", type=int, metavar="L", help="whose output is quantised (default: 0, the input of the first)")
    units.add_argument("--clusters", type=_positive(int), metavar="K", help="codewords (default: 100)")
    units.add_argument("--frames", type=_positive(int), metavar="N", help="at most so many are learnt from (default: 1000000)")
    flow = parser.add_argument_group("of the recipe `vox-flow-16k`")
    flow.add_argument("--tokenizer", metavar="MODEL", help="whose tokens it learns to speak: a name or a folder")
    speech = parser.add_argument_group("of the recipes `vox-s3-16k`, `vox-dcspin-16k` and `dcspin`")
    speech.add_argument("--noise", metavar="MANIFEST", help="noises that speech is heard in (without it: made noise)")
    speech.add_argument("--rooms", metavar="MANIFEST", help="responses of rooms that speech is heard in")
    spin = parser.add_argument_group(
        "of the recipes `vox-dcspin-16k` and `dcspin`", "for `dcspin` also --backbone and --layer; for both --clusters"
    )
    spin.add_argument("--stages", nargs="+", metavar="S", help="only these, such as: phones spin (default: all, in a row)")
    spin.add_argument("--codebooks", choices=("single", "double"), help="Spin has one, DC-Spin two (default: double)")
    spin.add_argument(
        "--no-perturbation", dest="perturbation", action="store_const", const=False, help="leave the voices as they are"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train; without `--resume` a folder that holds a run already is left alone."""
    if not args.resume and os.path.exists(os.path.join(args.output, "checkpoint.pt")):
        raise VoxzooError(f"{args.output!r} holds a run already; add --resume to go on with it, or name another folder")
    for manifest in args.data:
        if not os.path.isfile(manifest):
            raise VoxzooError(f"no manifest {manifest!r}; expected a file of JSON lines with `path` or `audio_filepath`")
    if args.recipe in SPIN:
        return _spin(args)
    _unused(args, SPIN_ONLY)
    if args.recipe == "units":
        return _units(args)
    _unused(args, UNITS_ONLY)
    if args.recipe == "vox-flow-16k":
        return _flow(args)
    _unused(args, ("tokenizer",))
    if args.recipe == "vox-s3-16k":
        return _recognition(args)
    _unused(args, ("noise", "rooms"))
    from ..core.loading import check_device
    from ..training.trainer import train

    check_device(args.device)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = train(
        args.recipe,
        args.data,
        args.output,
        **_of_steps(args),
        start_from=args.start_from,
    )
    spoken = f"voxzoo.load_decoder({str(folder)!r})"
    use = spoken if args.recipe in decoders() else f"voxzoo encode IN.wav -m {folder} -o OUT.safetensors"
    print(f"{folder}: trained; try `{use}`")
    return 0


SPIN = ("vox-dcspin-16k", "dcspin")
SPIN_ONLY = ("stages", "codebooks", "perturbation")
UNITS_ONLY = ("backbone", "layer", "clusters", "frames")
STEPS_ONLY = ("start_from", "steps", "minutes")


def _units(args: argparse.Namespace) -> int:
    """k-means on the features of a backbone."""
    _unused(args, STEPS_ONLY)
    if not args.resume and os.path.exists(os.path.join(args.output, "model.safetensors")):
        raise VoxzooError(f"{args.output!r} holds units already; add --resume to learn them anew, or name another folder")
    from ..training.units import KMeansSettings, train_units

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = {"clusters": args.clusters, "frames": args.frames, "batch": args.batch}
    settings = KMeansSettings(**{key: value for key, value in given.items() if value is not None})
    folder = train_units(
        args.backbone or "mfcc",
        args.layer or 0,
        args.data,
        args.output,
        settings,
        device=args.device,
        seed=args.seed,
        cache=args.cache,
        resume=args.resume,
    )
    print(f"{folder}: learnt; try `voxzoo encode IN.wav -m {folder} -o OUT.safetensors`")
    return 0


def _flow(args: argparse.Namespace) -> int:
    """Flow matching from the tokens of another model."""
    _unused(args, ("start_from",))
    from ..training.flow_run import train_flow

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = train_flow(
        args.data,
        args.output,
        args.tokenizer or "vox-s3-16k",
        **_of_steps(args),
    )
    print(f"{folder}: trained; the flow of the tokens of {args.tokenizer or 'vox-s3-16k'}")
    return 0


def _spin(args: argparse.Namespace) -> int:
    """A speaker-invariant tokenizer, in stages."""
    _unused(args, ("tokenizer", "frames") if args.recipe == "dcspin" else ("tokenizer", "frames", "backbone", "layer"))
    _check_sounds(args)
    if not args.resume and glob.glob(os.path.join(glob.escape(args.output), "*", "checkpoint.pt")):
        raise VoxzooError(f"{args.output!r} holds a run already; add --resume to go on with it, or name another folder")
    from ..training.spin_recipe import find_recipe, with_spin, with_stages
    from ..training.spin_train import train

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = find_recipe(args.recipe)
    if args.stages is not None:
        recipe = with_stages(recipe, args.stages)
    if args.codebooks == "single" or args.perturbation is False or args.clusters is not None:
        recipe = with_spin(recipe, single=args.codebooks == "single", voice=args.perturbation is not False, size=args.clusters)
    folder = train(
        recipe,
        args.data,
        args.output,
        **_of_steps(args),
        noise=args.noise,
        rooms=args.rooms,
        backbone=args.backbone,
        layer=12 if args.layer is None else args.layer,
        start_from=args.start_from,
    )
    print(f"{folder}: trained; try `voxzoo encode IN.wav -m {folder} -o OUT.safetensors`")
    return 0


def _check_sounds(args: argparse.Namespace) -> None:
    """Raise for manifests of noises and rooms that are not there."""
    for manifest in (args.noise, args.rooms):
        if manifest is not None and not os.path.isfile(manifest):
            raise VoxzooError(f"no manifest {manifest!r}; expected a file of JSON lines with `path` or `audio_filepath`")


def _recognition(args: argparse.Namespace) -> int:
    """A semantic tokenizer, by recognising phones."""
    _check_sounds(args)
    from ..training.ctc_run import train

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = train(
        args.recipe,
        args.data,
        args.output,
        **_of_steps(args),
        noise=args.noise,
        rooms=args.rooms,
        start_from=args.start_from,
    )
    print(f"{folder}: trained; try `voxzoo encode IN.wav -m {folder} -o OUT.safetensors`")
    return 0


def _of_steps(args: argparse.Namespace) -> dict[str, Any]:
    """What every run of steps is told."""
    return {
        "resume": args.resume,
        "device": args.device,
        "max_steps": args.steps,
        "max_minutes": args.minutes,
        "seed": args.seed,
        "batch": args.batch,
        "precision": args.precision,
        "cache": args.cache,
    }


def _unused(args: argparse.Namespace, names: Sequence[str]) -> None:
    """Raise for an option that is of no use to the recipe."""
    given = [name for name in names if getattr(args, name) is not None]
    if given:
        spelt = {"start_from": "--from", "perturbation": "--no-perturbation"}
        options = ", ".join(spelt.get(name, f"--{name}") for name in given)
        raise VoxzooError(f"the recipe {args.recipe!r} has no use for {options}; leave it out")


def _positive(kind: Any) -> Any:
    """A type for argparse: a number above 0."""

    def parse(text: str) -> Any:
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
        return value

    parse.__name__ = kind.__name__  # argparse names it: "invalid int value"
    return parse
