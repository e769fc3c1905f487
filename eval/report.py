"""The report of a benchmark: one page that needs nothing but itself, and the same as Markdown and PNG for papers."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import VoxzooError
from ..core.files import replacing
from .plots import write_plots
from .report_data import page_data, to_json
from .tables import table_markdown

__all__ = ["page", "write_report"]

FORMAT = "voxzoo.bench/1"
PAGE = Path(__file__).parent / "page"
SCRIPTS = ("dom.js", "chart.js", "about.js", "table.js", "curves.js", "scatter.js", "examples.js", "tokens.js", "script.js")


def write_report(results: Mapping[str, Any], folder: Path) -> None:
    """Write `report.html`, `table.md` and `plots/*.png` into `folder`.

    Args:
        results: what `results.json` holds, format "voxzoo.bench/1".
        folder: of the run; the sound that `results["examples"]` names lies in it. Only these examples are embedded: a clip of
            6 s at 16 kHz takes about 0.15 MB for each entry.

    Raises `VoxzooError` for results of another format, `MissingExtraError` without matplotlib, and `OSError`.
    """
    if results.get("format") != FORMAT:
        raise VoxzooError(f"these results have format {results.get('format')!r}; a report is made of {FORMAT!r}")
    _write(folder / "report.html", page(page_data(results, folder)))
    _write(folder / "table.md", table_markdown(results))
    write_plots(results, folder / "plots")


def page(data: Mapping[str, Any]) -> str:
    """The page: template, style and scripts of `page/` around the data. Its policy lets nothing else load or run."""
    style = _text("style.css")
    script = '"use strict";\n(() => {\n' + "\n".join(_text(name) for name in SCRIPTS) + "\n})();\n"
    policy = (
        f"default-src 'none'; script-src '{_sha256(script)}'; style-src '{_sha256(style)}'; img-src data:; media-src blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {"policy": policy, "style": style, "script": script, "data": to_json(data)}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _text("template.html"))


def _text(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def _sha256(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _write(path: Path, text: str) -> None:
    """As UTF-8; lone surrogates (of file names that are no UTF-8) become `\\udcXX`, which JSON reads back."""
    with replacing(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
