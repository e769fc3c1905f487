"""An analysis as text: the lines and tables of each group, which Markdown and the command line share."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["FIGURES", "REFERENCES", "Rows", "at", "blocks"]

Rows = list[list[str]]  # the head first

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
FIGURES = {  # group: head, path of a figure, path of what chance gives (ABX: 0.5)
    "speaker": (
        ("same text", "same_text_distance.same_text", "same_text_distance.different_text"),
        ("speaker probe", "speaker_probe.accuracy", "speaker_probe.chance"),
        ("gender probe", "gender_probe.accuracy", "gender_probe.chance"),
        ("information", "information.value", "information.shuffled"),
    ),
    "phones": (
        ("PNMI", "content.pnmi", "content.shuffled.pnmi"),
        ("phone purity", "content.phone_purity", "content.shuffled.phone_purity"),
        ("cluster purity", "content.cluster_purity", "content.shuffled.cluster_purity"),
        ("ABX within", "abx_within.error", ""),
        ("ABX across", "abx_across.error", ""),
    ),
}
PAIRS = {"ABX within": "abx_within.phone_pairs", "ABX across": "abx_across.phone_pairs"}  # what those are means over
REFERENCES = {"log_mel": "log-mel", "phones": "phones"}  # that layers are compared with
MEASURES = {"cka": "CKA", "cca": "CCA", "svcca": "SVCCA", "pwcca": "PWCCA"}
SHORT = ("size", "usage", "perplexity", "entropy", "ngram", "gini", "rarest20", "zipf", "mean_run", "dedup_rate", "bpe")


def number(value: Any) -> str:
    """A number as people read it: four significant digits, whole numbers in full; "" for None."""
    if value is None:
        return ""
    if isinstance(value, (bool, str)):
        return str(value)
    if isinstance(value, float) and math.isfinite(value) and value != int(value):
        digits = max(0, 3 - math.floor(math.log10(abs(value))))
        return f"{value:,.{min(digits, 6)}f}"
    return f"{int(value):,}"


def percent(value: float | None) -> str:
    """A share as percent."""
    return "" if value is None else f"{100 * value:.1f} %"


def counted(count: int, what: str = "clip") -> str:
    """As "1 clip", "2 clips"."""
    return f"{number(count)} {what}" + ("" if count == 1 else "s")


def decimal(value: float | None) -> str:
    """Three decimals; "" for None."""
    return "" if value is None else f"{value:.3f}"


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
        return percent(value.get("saved")) if value else ""
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


def _tokens(section: Mapping[str, Any], short: bool) -> Iterator[str | Rows]:
    sample, bitstream = section["sample"], section["bitstream"]
    yield (
        f"{counted(section['clips'])}, {number(section['seconds'])} s, {number(section['tokens'])} tokens. For n-grams: "
        f"{counted(sample['clips'])} ({percent(sample['share'])} of the tokens), {number(sample['held_out'])} held out."
    )
    yield rate_rows(section)
    if "missing" in section["rates"]["ngram"]:
        yield f"Missing, held-out n-grams: {section['rates']['ngram']['missing']}."
    if "missing" in bitstream:
        yield f"Missing, bitstreams: {bitstream['missing']}."
    else:
        saved = ", ".join(f"{name} {percent(share)}" for name, share in bitstream["saving"].items())
        yield f"Entropy-coded bitstreams of {counted(bitstream['clips'])} save against packed bits: {saved}."
    yield stream_rows(section, SHORT if short else tuple(STREAM))
    lowest = " `*`: estimated from too few tokens, and too low; held-out n-grams and bitstreams are not."
    biased = any(value is True for key, value in section["rates"].items() if key.endswith("_biased"))
    yield "Entropies and n-grams are in bits per token." + (lowest if biased else "")
    if section["damaged"]:
        rows = [[d["shard"], "all" if d["clips"] is None else number(d["clips"]), d["reason"]] for d in section["damaged"]]
        yield [["damaged shard", "clips left out", "reason"], *rows]


# ---------------------------------------------------------------------- robustness
def robustness_rows(section: Mapping[str, Any]) -> Rows:
    """A row for each transform and check: unit edit distance in percent, frames that agree."""
    distances, agreements = section.get("unit_edit_distance", {}), section.get("agreement", {})
    chance = section.get("chance", {})
    rows = [["disturbance", "UED, stream 0", "UED, frames", "agreement, stream 0", "agreement, all", "missing"]]
    entries = [(name, distances.get(name, {}), agreements.get(name, {})) for name in dict.fromkeys([*distances, *agreements])]
    entries.append(("(by chance)", chance.get("unit_edit_distance", {}), chance.get("agreement", {})))
    for name, distance, agreement in entries:
        coding = distance.get("deduplicated", {})
        values = [(coding.get("streams") or [{}])[0].get("weighted"), coding.get("frames", {}).get("weighted")]
        cells = ["" if value is None else f"{value:.1f} %" for value in values]
        shares = [percent((agreement.get("streams") or [None])[0]), percent(agreement.get("share"))]
        rows.append(
            [name, *cells, *shares, distance.get("missing") or agreement.get("missing") or _failed(distance or agreement)]
        )
    return rows


def _failed(part: Mapping[str, Any]) -> str:
    """How many clips have no value, and why."""
    return "; ".join(f"{counted(count)}: {reason}" for reason, count in part.get("failed", {}).items())


def _robustness(section: Mapping[str, Any], short: bool) -> Iterator[str | Rows]:
    failed = _failed(section)
    yield f"{counted(section['clips'])}, {number(section['seconds'])} s." + (f" Left out, {failed}." if failed else "")
    rows = robustness_rows(section)
    if short:  # reasons below the table, each once
        yield [row[:-1] for row in rows if row is rows[0] or any(row[1:-1])]
        for reason in dict.fromkeys(row[-1] for row in rows[1:] if row[-1]):
            yield f"Missing, {', '.join(row[0] for row in rows[1:] if row[-1] == reason)}: {reason}."
    else:
        yield rows
    yield (
        "UED: unit edit distance in percent of the clean units, length-weighted, de-duplicated; lower is better. Agreement: "
        "frames that keep their code; higher is better."
    )


# ---------------------------------------------------------------------- speaker, phones
def _content(name: str, section: Mapping[str, Any]) -> Iterator[str | Rows]:
    """A row for each stream and for the features before them, each figure with what chance gives beside it."""
    rows = {str(stream["stream"]): stream for stream in section.get("streams", [])}
    features = section.get("features", {})
    if any(at(features, figure[1]) is not None for figure in FIGURES[name]):
        rows[f"features ({features.get('layer')})"] = features
    shown = [figure for figure in FIGURES[name] if any(at(row, figure[1]) is not None for row in rows.values())]
    heads = [[head, "phone pairs" if head in PAIRS else "(chance)"] for head, _, _ in shown]
    table = [["stream", *(head for part in heads for head in part)]]
    for row, figures in rows.items():
        cells = [row]
        for head, path, chance in shown:
            beside = number(at(figures, PAIRS[head])) if head in PAIRS else decimal(at(figures, chance))
            cells += [_interval(figures, path), beside]
        table.append(cells)
    if shown:
        yield table
    yield from _lacking(name, rows, features)


def _interval(figures: Mapping[str, Any], path: str) -> str:
    """A figure, with its interval where it has one."""
    low, high = (at(figures, f"{path.rpartition('.')[0]}.{end}") for end in ("low", "high"))
    return decimal(at(figures, path)) + ("" if low is None else f" [{decimal(low)}, {decimal(high)}]")


def _lacking(name: str, rows: Mapping[str, Any], features: Mapping[str, Any]) -> Iterator[str]:
    """What is missing and why, each reason once."""
    lines = [f"Missing, features: {features['missing']}."] if "missing" in features else []
    for head, path, _ in FIGURES[name]:
        parts = [row.get(path.partition(".")[0]) or {} for row in rows.values()]
        lines += [f"Missing, {head}: {part['missing']}." for part in parts if "missing" in part]
    yield from dict.fromkeys(lines)


def _speaker(section: Mapping[str, Any], short: bool) -> Iterator[str | Rows]:
    yield f"{counted(section['clips'])} of {counted(section['speakers'], 'speaker')}."
    yield from _content("speaker", section)
    yield (
        "Same text: edits per unit between two readers of a text, (chance): of two texts; information: I(token; speaker) / "
        "H(speaker). What exceeds chance tells of the speaker. In brackets: 95 % intervals."
    )


def _phones(section: Mapping[str, Any], short: bool) -> Iterator[str | Rows]:
    left = "".join(f" Left out, {counted(count)}: {reason}." for reason, count in section.get("left_out", {}).items())
    yield f"{counted(section['clips'])} with phones ({', '.join(section.get('source', []))}).{left}"
    yield from _content("phones", section)
    yield "PNMI and purities: higher is better. ABX errors: lower is better, chance is 0.5, few phone pairs say little."


# ---------------------------------------------------------------------- layers
def _layers(section: Mapping[str, Any], short: bool) -> Iterator[str | Rows]:
    names = section["layers"]
    yield f"{number(section['frames'])} frames."
    for reference, title in REFERENCES.items():
        part = section[reference]
        if "missing" in part:
            yield f"Missing, {title}: {part['missing']}."
            continue
        measures = ("cka", "pwcca") if short else tuple(MEASURES)
        rows = [["layer", "width", *(head for m in measures for head in (f"{MEASURES[m]}, {title}", "(chance)"))]]
        for i, name in enumerate(names):
            values = [decimal(part[key][m][i] if key else part[m][i]) for m in measures for key in ("", "shuffled")]
            rows.append([f"{i} {name}", number(section["widths"][i]), *values])
        yield rows
    for name, reason in section.get("left_out", {}).items():
        yield f"Left out, layer {name}: {reason}."
    for measure, matrix in {} if short else section["between"].items():
        yield f"{MEASURES[measure]} between layers:"
        yield [["layer", *map(str, range(len(names)))], *([str(i), *map(decimal, row)] for i, row in enumerate(matrix))]


# ---------------------------------------------------------------------- the whole
def at(figures: Any, path: str) -> float | None:
    """The number at a dotted path; None where there is none."""
    for key in path.split("."):
        figures = figures.get(key) if isinstance(figures, Mapping) else None
    return figures if isinstance(figures, (int, float)) else None


def blocks(name: str, section: Mapping[str, Any], short: bool = False) -> Iterator[str | Rows]:
    """Lines and tables of a group; `short` for a terminal. A group without a result gives none."""
    if "missing" not in section:
        make = {"tokens": _tokens, "robustness": _robustness, "speaker": _speaker, "phones": _phones, "layers": _layers}
        yield from make[name](section, short)
