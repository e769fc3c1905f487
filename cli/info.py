"""`voxzoo info MODEL`: everything the registry knows of one model, or what a bundle says of itself."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.registry import Entry, entry, models
from ._common import add_json_option, print_json
from .models import codebooks, frame_rates, yes
from .weights import report as weights_report

if TYPE_CHECKING:
    from ..export.bundle import Manifest


def add(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        "info", help="facts, laws and sources of one model", description="Print what is known of a model."
    )
    parser.add_argument("model", metavar="MODEL", help="a name from `voxzoo models`, or a bundle")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print one entry, or one bundle."""
    if (Path(args.model) / "voxzoo.json").is_file() and args.model not in models():
        return _bundle(args)
    item = entry(args.model)
    if args.json:
        print_json({**item.facts.to_dict(), "bundled": item.bundled, "about": item.about, "streaming": item.streaming,
                    "compared": item.compared,
                    "reference_resampler": item.reference_resampler,
                    "exceptions": dict(item.exceptions), "config": dict(item.config),
                    "weights": weights_report(item)})  # fmt: skip
        return 0
    print(f"{item.name}: {item.about}\n")
    _print(lines(item))
    return 0


def _print(labelled: list[tuple[str, str]]) -> None:
    for name, value in labelled:
        print(textwrap.fill(value, 110, initial_indent=f"{name:<18}", subsequent_indent=" " * 18, break_on_hyphens=False))


def _bundle(args: argparse.Namespace) -> int:
    from ..export.bundle import Manifest

    folder = Path(args.model)
    manifest = Manifest.read(folder)
    manifest.verify(folder)
    if args.json:
        print((folder / "voxzoo.json").read_text(encoding="utf-8"), end="")
        return 0
    print(f"{args.model}: {manifest.model} as ONNX graphs\n")
    _print(bundle_lines(manifest))
    return 0


def bundle_lines(manifest: Manifest) -> list[tuple[str, str]]:
    """Label and text of every line."""
    facts = manifest.facts
    sizes = [f"{name} {file.bytes / 1e6:.1f} MB" for name, file in manifest.files.items()]
    return [
        ("kind", facts.kind),
        ("sample rate", f"{facts.sample_rate} Hz"),
        ("frame rates", f"{frame_rates(facts)} per second"),
        ("codebooks", codebooks(facts)),
        ("bitrate", f"{facts.bitrate / 1000:.3g} kbit/s"),
        ("precision", f"{manifest.precision}, for {manifest.device}"),
        ("decodes", "yes" if manifest.file("decoder") else f"no: {manifest.undecodable}"),
        ("streams", "with their state" if manifest.file("encoder_stream") else "in windows"),
        ("fingerprint", f"{manifest.fingerprint}, of the model it was made of: tokens of the two are each other's"),
        ("resampler", manifest.resampler),
        ("graphs", f"{', '.join(sizes)}; opset {manifest.opset}; whole, by their sha256"),
        ("made with", ", ".join(f"{name} {version}" for name, version in manifest.tools.items())),
        ("weights", facts.weights_licence),
    ]


def lines(item: Entry) -> list[tuple[str, str]]:
    """Label and text of every line."""
    facts = item.facts
    steps = ", ".join(f"{facts.bitrate_of(k) / 1000:.3g}" for k in range(1, facts.streams + 1))
    laws = [(f"law '{law}'", reason) for law, reason in item.exceptions.items()] or [("laws", "obeys all as stated")]
    return [
        ("kind", facts.kind),
        ("sample rate", f"{facts.sample_rate} Hz, {'mono' if facts.channels == 1 else f'{facts.channels} channels'}"),
        ("frame rates", f"{frame_rates(facts)} per second"),
        ("codebooks", codebooks(facts)),
        ("bitrate", f"{facts.bitrate / 1000:.3g} kbit/s; with 1 to {facts.streams} streams: {steps}"),
        ("causal", yes(facts.causal)),
        ("latency", f"{1000 * facts.latency:.0f} ms, encode and decode together"),
        ("parameters", f"{facts.params:,}"),
        ("streaming", item.streaming),
        ("compared", item.compared),
        ("resampler", f"soxr-hq; of the published code: {item.reference_resampler}"),
        *laws,
        ("code", facts.code_licence),
        ("weights", f"{facts.weights_licence}, {_had(item)}"),
        ("source", facts.source),
        ("paper", facts.paper),
    ]


def _had(item: Entry) -> str:
    """How the weights are come by."""
    if item.unpublished:
        return item.unpublished
    return "bundled" if item.bundled else f"fetched on first use (`voxzoo weights {item.name}`)"
