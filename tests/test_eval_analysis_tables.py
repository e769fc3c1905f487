"""An analysis as Markdown: numbers as people read them, and tables from whatever a section holds."""

from __future__ import annotations

from typing import Any

import pytest

from voxzoo.eval.analysis_plots import plots
from voxzoo.eval.analysis_tables import markdown, number, percent, robustness_rows, summary

SECTION: dict[str, Any] = {
    "clips": 3,
    "streams": [
        {"stream": 0, "content": {"pnmi": 0.5, "shuffled": {"pnmi": 0.1}}, "rate": 2.0},
        {"stream": 1, "content": {"missing": "too | few"}, "rate": None},
    ],
    "between": {"cka": [[1.0, 0.25], [0.25, 1.0]]},
    "log_mel": {"cka": [0.5, 0.75], "shuffled": {"cka": [0.1, 0.1]}},
    "names": ["a", "b"],
}


def results(**groups: Any) -> dict[str, Any]:
    about = {
        "source": {"path": "x"},
        "model": "toy",
        "fingerprint": "f",
        "voxzoo": "0",
        "numpy": "2",
        "problems": {"a": "lost"},
    }
    return {"about": about, "groups": groups, "definitions": {name: {"pnmi": "so and so"} for name in groups}}


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234567, "1,234,567"), (0.123456, "0.1235"), (12.3456, "12.35"), (98765.4, "98765"), (2.0, "2"), (None, ""), ("x", "x"),
     (1e-9, "0.000000"), (0, "0"), (-0.52, "-0.5200")],
)  # fmt: skip
def test_numbers(value: Any, text: str) -> None:
    assert number(value) == text


def test_shares() -> None:
    assert (percent(0.1234), percent(None)) == ("12.3 %", "")


def test_any_section_becomes_tables() -> None:
    text = markdown(results(phones=SECTION), [("phones_streams.png", "lines"), ("other.png", "none")])
    for line in (
        "| clips | 3 |",
        "| names | a, b |",
        "|  | rate |",
        "|  | pnmi | shuffled.pnmi | missing |",
        "| 0 | 0.5000 | 0.1000 |  |",
        "| 1 |  |  | too \\| few |",
        "**between.cka**",
        "| 0 | 1 | 0.2500 |",
        "| cka | 0.5000, 0.7500 |",
        "![lines](phones_streams.png)",
        "- `pnmi`: so and so.",
        "- a: lost",
    ):
        assert line in text.splitlines()
    assert "other.png" not in text


def test_a_missing_section_is_said_and_shown_nowhere_else() -> None:
    empty = results(tokens={"missing": "no luck"}, robustness={"missing": "none"}, layers={"missing": "neither"})
    assert "## Tokens\n\nMissing: no luck." in markdown(empty)
    assert summary(empty) == []
    assert list(plots(empty)) == []


def test_robustness_rows() -> None:
    distance = {"deduplicated": {"streams": [{"weighted": 12.34}, {"weighted": 1.0}], "frames": {"weighted": 50.0}}}
    section = {
        "unit_edit_distance": {"noise": distance, "room": {"missing": "no recordings"}},
        "agreement": {"noise": {"share": 0.5}, "repeat": {"share": 1.0}},
        "chance": {"unit_edit_distance": {"missing": "one clip"}, "agreement": {"share": 0.01}},
    }
    assert robustness_rows(section)[1:] == [
        ["noise", "12.3 %", "50.0 %", "50.0 %", ""],
        ["room", "", "", "", "no recordings"],
        ["repeat", "", "", "100.0 %", ""],
        ["(by chance)", "", "", "1.0 %", "one clip"],
    ]


def test_plots_of_streams_and_layers() -> None:
    pytest.importorskip("matplotlib")
    names = [name for name, _, png in plots(results(phones=SECTION, layers=SECTION)) if png.startswith(b"\x89PNG")]
    assert names == ["phones_streams", "layers_log_mel"]
