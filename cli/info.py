"""`voxzoo info MODEL`: everything the registry knows of one model."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from ..core.registry import Entry, entry
from ._common import add_json_option, print_json
from .models import codebooks, frame_rates, yes
from .weights import report as weights_report


def add(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        "info", help="facts, laws and sources of one model", description="Print what is known of a model."
    )
    parser.add_argument("model", metavar="MODEL", help="a name from `voxzoo models`")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print one entry."""
    item = entry(args.model)
    if args.json:
        print_json({**item.facts.to_dict(), "bundled": item.bundled, "about": item.about, "streaming": item.streaming,
                    "compared": item.compared,
                    "reference_resampler": item.reference_resampler,
                    "exceptions": dict(item.exceptions), "config": dict(item.config),
                    "weights": weights_report(item)})  # fmt: skip
        return 0
    print(f"{item.name}: {item.about}\n")
    for name, value in lines(item):
        print(textwrap.fill(value, 110, initial_indent=f"{name:<18}", subsequent_indent=" " * 18, break_on_hyphens=False))
    return 0


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
