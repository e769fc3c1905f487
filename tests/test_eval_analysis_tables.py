"""An analysis as text: numbers as people read them, and the lines and tables of each group."""

from __future__ import annotations

from typing import Any

import pytest

from voxzoo.eval.analysis_output import markdown
from voxzoo.eval.analysis_plots import plots
from voxzoo.eval.analysis_tables import blocks, number, percent, robustness_rows

PHONES: dict[str, Any] = {
    "clips": 3,
    "source": ["the column `phones`"],
    "left_out": {"no text": 2},
    "streams": [
        {
            "stream": 0,
            "content": {"pnmi": 0.5, "phone_purity": 0.25, "shuffled": {"pnmi": 0.1, "phone_purity": 0.125}},
            "abx_within": {"error": 0.0625, "phone_pairs": 1200, "shuffled": 0.5},
            "abx_across": {"missing": "one speaker"},
        },
        {
            "stream": 1,
            "content": {"missing": "too | few"},
            "abx_within": {"error": 0.5, "phone_pairs": 3, "shuffled": {"missing": "x"}},
        },
    ],
    "features": {"layer": "encoder", "abx_within": {"error": 0.01, "phone_pairs": 1200, "shuffled": 0.5}},
}
SPEAKER: dict[str, Any] = {
    "clips": 12,
    "speakers": 4,
    "streams": [{"stream": 0, "speaker_probe": {"accuracy": 0.75, "low": 0.5, "high": 0.9, "chance": 0.25}}],
    "features": {"missing": "tokens alone"},
}
LAYERS: dict[str, Any] = {
    "layers": ["first", "last"],
    "widths": [256, 64],
    "frames": 1000,
    "left_out": {"still": "the same in every frame"},
    "between": {"cka": [[1.0, 0.25], [0.25, 1.0]]},
    "log_mel": {
        **{m: [0.5, 0.75] for m in ("cka", "cca", "svcca", "pwcca")},
        "shuffled": {m: [0.1, 0.125] for m in ("cka", "cca", "svcca", "pwcca")},
    },
    "phones": {"missing": "no clip has phones"},
}


def results(**groups: Any) -> dict[str, Any]:
    about = {
        "source": {"path": "x"},
        "model": "toy",
        "fingerprint": "f",
        "voxzoo": "0",
        "numpy": "2",
        "sample": "some clips",
        "problems": {"a": "lost"},
    }
    return {"about": about, "groups": groups, "definitions": {name: {"pnmi": "so and so"} for name in groups}}


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234567, "1,234,567"), (0.123456, "0.1235"), (12.3456, "12.35"), (98765.4, "98,765"), (2.0, "2"), (None, ""), ("x", "x"),
     (1e-9, "0.000000"), (0, "0"), (-0.52, "-0.5200")],
)  # fmt: skip
def test_numbers(value: Any, text: str) -> None:
    assert number(value) == text


def test_shares() -> None:
    assert (percent(0.1234), percent(None)) == ("12.3 %", "")


def test_content_stands_beside_chance() -> None:
    text = markdown(results(phones=PHONES, speaker=SPEAKER), [("phones_streams.png", "lines"), ("other.png", "none")])
    for line in (
        "3 clips with phones (the column `phones`). Left out, 2 clips: no text.",
        "| stream | PNMI | (chance) | phone purity | (chance) | ABX within | phone pairs |",
        "| 0 | 0.500 | 0.100 | 0.250 | 0.125 | 0.062 | 1,200 |",
        "| 1 |  |  |  |  | 0.500 | 3 |",
        "| features (encoder) |  |  |  |  | 0.010 | 1,200 |",
        "Missing, PNMI: too | few.",
        "Missing, ABX across: one speaker.",
        "12 clips of 4 speakers.",
        "| 0 | 0.750 [0.500, 0.900] | 0.250 |",
        "Missing, features: tokens alone.",
        "![lines](phones_streams.png)",
        "- `pnmi`: so and so.",
        "- a: lost",
    ):
        assert line in text.splitlines()
    assert "other.png" not in text


def test_layers_stand_beside_chance() -> None:
    lines = markdown(results(layers=LAYERS)).splitlines()
    assert "| 0 first | 256 |" + 4 * " 0.500 | 0.100 |" in lines
    assert "| 1 last | 64 |" + 4 * " 0.750 | 0.125 |" in lines
    assert "Missing, phones: no clip has phones." in lines
    assert "Left out, layer still: the same in every frame." in lines
    assert lines[lines.index("CKA between layers:") + 5] == "| 1 | 0.250 | 1.000 |"
    short = list(blocks("layers", LAYERS, short=True))
    assert ["layer", "width", "CKA, log-mel", "(chance)", "PWCCA, log-mel", "(chance)"] in [block[0] for block in short]
    assert "CKA between layers:" not in short


def test_a_missing_section_is_said_and_shown_nowhere_else() -> None:
    empty = results(tokens={"missing": "no luck"}, robustness={"missing": "none"}, layers={"missing": "neither"})
    assert "## Tokens\n\nMissing: no luck." in markdown(empty)
    assert not [block for name, section in empty["groups"].items() for block in blocks(name, section)]
    assert list(plots(empty)) == []


def test_robustness_rows() -> None:
    distance = {"deduplicated": {"streams": [{"weighted": 12.34}, {"weighted": 1.0}], "frames": {"weighted": 50.0}}}
    section: dict[str, Any] = {
        "clips": 2,
        "seconds": 1.5,
        "unit_edit_distance": {"noise": distance, "room": {"missing": "no recordings"}},
        "agreement": {"noise": {"share": 0.5, "streams": [0.75, 0.25]}, "repeat": {"share": 1.0, "streams": [1.0, 1.0]}},
        "chance": {"unit_edit_distance": {"missing": "one clip"}, "agreement": {"share": 0.01}},
    }
    lines = list(blocks("robustness", section, short=True))
    assert "Missing, room: no recordings." in lines
    assert [row[0] for row in lines[1]] == ["disturbance", "noise", "repeat", "(by chance)"]
    part = {**distance, "failed": {"too short": 2}}
    assert robustness_rows({"unit_edit_distance": {"noise": part}})[1][-1] == "2 clips: too short"
    assert robustness_rows(section)[1:] == [
        ["noise", "12.3 %", "50.0 %", "75.0 %", "50.0 %", ""],
        ["room", "", "", "", "", "no recordings"],
        ["repeat", "", "", "100.0 %", "100.0 %", ""],
        ["(by chance)", "", "", "", "1.0 %", "one clip"],
    ]


def test_plots_of_streams_and_layers() -> None:
    pytest.importorskip("matplotlib")
    names = [name for name, _, png in plots(results(phones=PHONES, layers=LAYERS)) if png.startswith(b"\x89PNG")]
    assert names == ["phones_streams", "layers_log_mel"]
