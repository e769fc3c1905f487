"""An analysis as text: Markdown with tables and definitions, and the short summary of the command line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["markdown", "saving_line", "stream_rows", "summary"]

RATES = {
    "nominal": "nominal",
    "packed": "packed into whole bits",
    "entropy": "entropy",
    "conditional": "conditional entropy",
    "cross_codebook": "cross-codebook entropy",
}
STREAM = {  # key: head of the column
    "size": "codes",
    "tokens": "tokens",
    "usage": "usage",
    "dead": "dead",
    "perplexity": "perplexity",
    "entropy": "H",
    "conditional_entropy": "H(t given t-1)",
    "cross_codebook_entropy": "H(k given k-1)",
    "ngram": "held-out 2-gram",
    "gini": "Gini",
    "rarest20": "rarest 20 %",
    "rarest20_used": "rarest 20 % of used",
    "top20": "top 20 %",
    "zipf": "Zipf",
    "mean_run": "run",
    "dedup_rate": "dedup/s",
    "bpe": "BPE saves",
}
SHARES = ("usage", "rarest20", "rarest20_used", "top20")
SHORT = ("size", "usage", "perplexity", "entropy", "ngram", "gini", "rarest20", "zipf", "mean_run", "dedup_rate", "bpe")


def number(value: Any) -> str:
    """A number as people read it: four significant digits, whole numbers in full; "" for None."""
    if value is None:
        return ""
    if isinstance(value, (bool, str)):
        return str(value)
    if isinstance(value, float) and math.isfinite(value) and value != int(value):
        digits = max(0, 3 - math.floor(math.log10(abs(value))))
        return f"{value:.{min(digits, 6)}f}"
    return f"{int(value):,}"


def percent(value: float | None) -> str:
    """A share as percent."""
    return "" if value is None else f"{100 * value:.1f} %"


# ---------------------------------------------------------------------- tokens
def stream_rows(section: Mapping[str, Any], keys: Sequence[str] = tuple(STREAM)) -> list[list[str]]:
    """A table with a row for each stream, the head first. Entropies that are too low for want of data are marked with `*`."""
    streams = section["streams"]
    shown = [key for key in keys if key != "cross_codebook_entropy" or len(streams) > 1]
    return [
        ["stream", *(STREAM[key] for key in shown)],
        *([str(k), *(_cell(s, key) for key in shown)] for k, s in enumerate(streams)),
    ]


def _cell(stream: Mapping[str, Any], key: str) -> str:
    value = stream.get(key)
    if key == "ngram":
        return number(value.get("2")) if value else ""
    if key == "bpe":
        return percent(value["saved"]) if value else ""
    if key in SHARES:
        return percent(value)
    biased = stream.get(f"{key.removesuffix('_entropy')}_biased") and value is not None
    return number(value) + ("*" if biased else "")


def rate_rows(section: Mapping[str, Any]) -> list[list[str]]:
    """The rates of all streams: [what, bit/s, against nominal]."""
    rates = section["rates"]
    found = [(text + ("*" if rates.get(f"{key}_biased") else ""), rates[key]) for key, text in RATES.items()]
    found += [(f"held-out {n}-gram", bits) for n, bits in rates["ngram"].items() if n != "missing"]
    files = section["bitstream"].get("files", {})
    found += [(f"bitstream, {name}", file["rate"]) for name, file in files.items()]
    found += [
        (f"bitstream, {name}, a file for each clip", files[name]["single_files"]) for name in ("packed", "adaptive") if files
    ]
    nominal = rates["nominal"]
    rows = [[text, number(bits), percent(bits / nominal) if nominal else ""] for text, bits in found if bits is not None]
    return [["rate", "bit/s", "of nominal"], *rows]


def saving_line(section: Mapping[str, Any]) -> str:
    """What entropy coding saves, in a sentence; "" where there is no bitstream."""
    saving = section["bitstream"].get("saving", {})
    parts = ", ".join(f"{name} {percent(share)}" for name, share in saving.items())
    return (
        f"Entropy-coded bitstreams of {section['bitstream']['clips']} clips save against packed bits: {parts}." if parts else ""
    )


def _tokens(section: Mapping[str, Any]) -> Iterator[str]:
    sample = section["sample"]
    yield (
        f"{number(section['clips'])} clips, {number(section['seconds'])} s, {number(section['tokens'])} tokens. For n-grams: "
        f"{number(sample['clips'])} clips ({percent(sample['share'])} of the tokens), {number(sample['held_out'])} held out."
    )
    yield _table(rate_rows(section))
    if "missing" in section["rates"]["ngram"]:
        yield f"Held-out n-grams are missing: {section['rates']['ngram']['missing']}."
    if "missing" in section["bitstream"]:
        yield f"Bitstreams are missing: {section['bitstream']['missing']}."
    else:
        yield saving_line(section)
    yield _table(stream_rows(section))
    yield "Entropies are in bits per token; `*`: plug-in estimate from too few pairs, too low."
    if section["damaged"]:
        rows = [[d["shard"], "all" if d["clips"] is None else number(d["clips"]), d["reason"]] for d in section["damaged"]]
        yield _table([["damaged shard", "clips left out", "reason"], *rows])


# ---------------------------------------------------------------------- robustness
def robustness_rows(section: Mapping[str, Any]) -> list[list[str]]:
    """A row for each transform and check: unit edit distance in percent, frames that agree."""
    distances, agreements = section.get("unit_edit_distance", {}), section.get("agreement", {})
    chance = section.get("chance", {})
    rows = [["disturbance", "UED, stream 0", "UED, frames", "agreement", "missing"]]
    entries = [(name, distances.get(name, {}), agreements.get(name, {})) for name in dict.fromkeys([*distances, *agreements])]
    entries.append(("(by chance)", chance.get("unit_edit_distance", {}), chance.get("agreement", {})))
    for name, distance, agreement in entries:
        coding = distance.get("deduplicated", {})
        values = [(coding.get("streams") or [{}])[0].get("weighted"), coding.get("frames", {}).get("weighted")]
        cells = ["" if value is None else f"{value:.1f} %" for value in values]
        reason = distance.get("missing") or agreement.get("missing") or ""
        rows.append([name, *cells, percent(agreement.get("share")), reason])
    return rows


def _robustness(section: Mapping[str, Any]) -> Iterator[str]:
    heard = f"{number(section.get('clips'))} clips, {number(section.get('seconds'))} s"
    yield f"{heard}. UED: unit edit distance in percent of the clean units, length-weighted, de-duplicated."
    yield _table(robustness_rows(section))


# ---------------------------------------------------------------------- other sections
def _any_section(section: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Figures by their names; lists and dicts of equal dicts as tables, a row each, one table for each figure they have."""
    simple = [[key, _leaf(value)] for key, value in section.items() if not _is_nested(value)]
    if simple:
        yield _table([["figure", "value"], *simple])
    for key, value in section.items():
        here = f"{path}.{key}" if path else key
        if _is_matrix(value):
            yield f"**{here}**"
            yield _table([["", *map(str, range(len(value[0])))], *([str(i), *map(number, row)] for i, row in enumerate(value))])
        elif isinstance(value, list) and _is_nested(value):
            yield from _rows({str(i): {k: v for k, v in row.items() if k != "stream"} for i, row in enumerate(value)}, here)
        elif isinstance(value, Mapping) and value and all(isinstance(row, Mapping) for row in value.values()):
            yield from _rows(value, here)
        elif isinstance(value, Mapping) and value:
            yield f"**{here}**"
            yield from _any_section(value, here)


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and any(isinstance(item, (list, Mapping)) for item in value))


def _is_matrix(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(isinstance(row, list) and row and not _is_nested(row) for row in value)
    )


def _rows(rows: Mapping[str, Any], path: str) -> Iterator[str]:
    """Tables of rows that have the same figures, one for each figure that is itself a dict."""
    keys = list(dict.fromkeys(key for row in rows.values() for key in row))
    nested = [key for key in keys if any(isinstance(row.get(key), Mapping) for row in rows.values())]
    parts = {path: {name: {k: v for k, v in row.items() if k not in nested} for name, row in rows.items()}}
    parts |= {f"{path}: {key}": {name: row.get(key) or {} for name, row in rows.items()} for key in nested}
    for title, part in parts.items():
        flat = {name: dict(_leaves(row)) for name, row in part.items()}
        heads = list(dict.fromkeys(head for row in flat.values() for head in row))
        if heads:
            yield f"**{title}**"
            yield _table([["", *heads], *([name, *(_leaf(row.get(head)) for head in heads)] for name, row in flat.items())])


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield path, value
        return
    for key, item in value.items():
        yield from _leaves(item, f"{path}.{key}" if path else str(key))


def _leaf(value: Any) -> str:
    if isinstance(value, list):
        if len(value) <= 32 and not _is_nested(value):
            return ", ".join(number(item) for item in value)
        return f"({len(value)} values in analysis.json)"
    return number(value)


# ---------------------------------------------------------------------- the whole
def markdown(results: Mapping[str, Any], images: Sequence[tuple[str, str]] = ()) -> str:
    """All of an analysis: about, a part for each group, plots (file name, title), definitions."""
    about = results["about"]
    source = ", ".join(f"{key}: {value}" for key, value in about["source"].items())
    made = f"Model fingerprint {about['fingerprint']}. Voxzoo {about['voxzoo']}, numpy {about['numpy']}."
    parts = [f"# Analysis of {about['model']}", f"Source: {source}. {made}"]
    for name, section in results["groups"].items():
        parts.append(f"## {name.capitalize()}")
        if "missing" in section:
            parts.append(f"Missing: {section['missing']}.")
            continue
        parts += {"tokens": _tokens, "robustness": _robustness}.get(name, _any_section)(section)
        parts += [f"![{title}]({file})" for file, title in images if file.startswith(f"{name}_")]
        parts.append("Definitions:")
        parts.append("\n".join(f"- `{key}`: {text}." for key, text in results["definitions"][name].items()))
    problems = about["problems"]
    if problems:
        parts += ["## Left out", "\n".join(f"- {id}: {reason}" for id, reason in problems.items())]
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def summary(results: Mapping[str, Any]) -> list[list[list[str]]]:
    """The tables of the command line."""
    groups = results["groups"]
    tables = []
    if "missing" not in groups.get("tokens", {"missing": ""}):
        tables += [rate_rows(groups["tokens"]), stream_rows(groups["tokens"], SHORT)]
    if "missing" not in groups.get("robustness", {"missing": ""}):
        rows = robustness_rows(groups["robustness"])
        tables.append([row[:4] for row in rows if not row[4] or row is rows[0]])
    return tables
