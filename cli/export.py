"""`voxzoo export MODEL -o BUNDLE`: a model as ONNX graphs, compared with the model before they are kept."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import VoxzooError
from ._common import add_json_option, print_json

if TYPE_CHECKING:
    from ..core.audio import Audio
    from ..core.model import Model
    from ..export.bundle import Manifest

DESCRIPTION = """
Write a folder of ONNX graphs that need no torch: waveform to codes, codes to waveform, any length and batch. The graphs are
run beside the model on speech and at lengths down to one sample; parity.json says what came out, and a bundle that keeps fewer
codes than --min-agreement is not written. Play it with `voxzoo encode -m BUNDLE` and every other verb, or voxzoo.load(BUNDLE).
"""
EPILOG = """
Precisions. On the CPU fp16 and bf16 halve the file, and the arithmetic stays in float32; with --device cuda the products are
taken in them. int8 quantises the weights of matrix products, and with --calibrate the convolutions too, whose ranges the sound
given there sets. What makes codes of features, and spectra of sound, stays in float32 in all of them.
"""
PRECISIONS = ("fp32", "fp16", "bf16", "int8")


def add(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser("export", help="a model as ONNX graphs", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("model", metavar="MODEL", help="a name from `voxzoo models`, or a model folder")
    parser.add_argument("-o", "--output", required=True, metavar="BUNDLE", help="the folder to write, new or empty")
    parser.add_argument("--weights", metavar="DIR", help="folder with the checkpoint (or 'random': untrained, for trials)")
    parser.add_argument("--resampler", default="soxr-hq", metavar="NAME", help="soxr-hq or torchaudio-sinc (default: soxr-hq)")
    parser.add_argument("--device", default="cpu", metavar="DEVICE", help="what it is meant for: cpu or cuda (default: cpu)")
    parser.add_argument("--precision", default="fp32", metavar="P", help=f"{', '.join(PRECISIONS)} (default: fp32)")
    parser.add_argument("--streaming", action="store_true", help="also graphs that take sound and codes piece by piece")
    parser.add_argument("--audio", nargs="+", default=[], metavar="FILE", help="speech to compare on (default: a bundled clip)")
    parser.add_argument("--calibrate", nargs="+", default=[], metavar="FILE", help="int8: speech that sets ranges of values")
    note = "share of codes that have to be equal, 0 to 1 (default: 0.9999 for fp32, 0.99 fp16, 0.9 bf16, 0.8 int8)"
    parser.add_argument("--min-agreement", type=float, metavar="SHARE", help=note)
    parser.add_argument("--no-parity", action="store_true", help="do not compare")
    parser.add_argument("--triton", metavar="DIR", help="also write a model repository for Triton Inference Server")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export, compare, keep."""
    if args.precision not in PRECISIONS:
        raise VoxzooError(f"--precision {args.precision}; expected one of {', '.join(PRECISIONS)}")
    if args.device not in ("cpu", "cuda"):
        raise VoxzooError(f"--device {args.device}; expected cpu or cuda")
    if args.calibrate and args.precision != "int8":
        raise VoxzooError("--calibrate is for --precision int8")
    if args.min_agreement is not None and not 0 <= args.min_agreement <= 1:
        raise VoxzooError(f"--min-agreement {args.min_agreement}; expected 0 to 1")
    if args.no_parity and (args.min_agreement is not None or args.audio):
        raise VoxzooError("--no-parity compares nothing; leave out --min-agreement and --audio")
    from ..core.loading import load
    from ..export.graphs import Options, check_folder, export_model

    folder = Path(args.output)
    check_folder(folder)
    clips = [] if args.no_parity else speech(args.audio)
    model: Model = load(args.model, weights=args.weights, engine="torch", resampler=args.resampler)
    options = Options(args.precision, args.device, args.streaming, speech(args.calibrate) if args.calibrate else [])
    report: dict[str, Any] = {}

    def compared(made: Path) -> None:
        from ..export.parity import check, compare, write

        if not args.no_parity:
            report.update(compare(model, made, clips, measures()))
            check(report, args.min_agreement)
            write(report, made)

    manifest = export_model(model, folder, options, compared)
    if args.triton:
        from ..export.triton import write_repository

        write_repository(folder, Path(args.triton))
    if args.json:
        print_json({"bundle": str(folder), "files": {n: f.bytes for n, f in manifest.files.items()}, "parity": report or None})
    else:
        print("\n".join(lines(folder, manifest, report)))
    return 0


def speech(paths: list[str]) -> list[Audio]:
    """Clips; of none, the one that comes with the package. Raises `AudioError`."""
    from ..core.audio import Audio
    from ..core.weights import bundled_folder

    return [Audio.read(path) for path in paths or [str(bundled_folder("demo") / "speech.wav")]]


def measures() -> dict[str, Any]:
    """PESQ and STOI, where their libraries are installed."""
    import importlib.util

    if importlib.util.find_spec("pesq") is None or importlib.util.find_spec("pystoi") is None:
        return {}
    from ..eval.perceptual import pesq_wb, stoi

    return {"pesq_wb": pesq_wb, "stoi": stoi}


def lines(folder: Path, manifest: Manifest, report: dict[str, Any]) -> list[str]:
    """What is printed."""
    out = [f"{folder}: {manifest.model}, {manifest.precision}, opset {manifest.opset}"]
    out += [f"  {name:<22} {file.bytes / 1e6:8.1f} MB" for name, file in manifest.files.items()]
    if not report:
        return out
    later = "" if report["later"] is None else f" (first stream {report['first']:.2%}, later ones {report['later']:.2%})"
    out.append(f"  codes equal {report['share']:.3%}{later}, over {report['seconds']:.1f} s of {report['clips']} clips")
    if report["ran_on"] != manifest.device:
        out.append(f"  compared on the {report['ran_on'].upper()}: there is no {manifest.device} here, which rounds otherwise")
    if "sound" in report:
        out.append(f"  sound off by at most {report['sound']['largest_error']:.1e}")
        out += [f"  {n}: model {q['model']}, bundle {q['bundle']}" for n, q in report["quality"].items() if q["clips"]]
    return out
