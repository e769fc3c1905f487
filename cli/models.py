"""`voxzoo models`: the zoo as a table, computed from the registry."""

from __future__ import annotations

import argparse
import re
from typing import Any

from ..core.facts import Facts
from ..core.registry import Entry, entry, models
from ._common import add_json_option, print_json, table

HEAD = ("model", "kind", "kHz", "frames/s", "codebooks", "kbit/s", "causal", "latency", "params", "licence", "bundled")
RIGHT = (2, 5, 7, 8)


def add(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser("models", help="list the models", description="List the models of the zoo.")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    entries = [entry(name) for name in models()]
    if args.json:
        print_json([{**e.facts.to_dict(), "bundled": e.bundled, "about": e.about} for e in entries])
    elif args.markdown:
        print(markdown(entries))
    else:
        print(table([HEAD, *(cells(e) for e in entries)], RIGHT))
    return 0


def cells(item: Entry) -> tuple[str, ...]:
    """The row of one model, as text."""
    facts = item.facts
    latency = f"{1000 * facts.latency:.0f} ms" if facts.latency else "-"
    return (facts.name, facts.kind, f"{facts.sample_rate / 1000:g}", frame_rates(facts), codebooks(facts),
            f"{facts.bitrate / 1000:.3g}", yes(facts.causal), latency, f"{facts.params / 1e6:.1f} M",
            re.split("[;,]", facts.weights_licence)[0], yes(item.bundled))  # fmt: skip


def markdown(entries: list[Entry]) -> str:
    """The table in Markdown, as the README holds it."""
    rule = ["---:" if i in RIGHT else "---" for i in range(len(HEAD))]
    rows = [HEAD, rule, *(cells(e) for e in entries)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def frame_rates(facts: Facts) -> str:
    """Hz, once for each different rate: "50", or "11.7, 23.4, 46.9"."""
    return ", ".join(f"{float(rate):.3g}" for rate in dict.fromkeys(facts.frame_rates))


def codebooks(facts: Facts) -> str:
    """Number times size: "8 x 1024"; unlike sizes are listed."""
    sizes = dict.fromkeys(facts.codebook_sizes)
    return ", ".join(f"{facts.codebook_sizes.count(size)} x {size}" for size in sizes)


def yes(value: bool) -> str:
    """The word for a truth value."""
    return "yes" if value else "no"
