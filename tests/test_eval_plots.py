import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_results import HOSTILE, RTL, results

from voxzoo import Audio, AudioError, VoxzooError
from voxzoo.eval.pictures import LEVELS, ROWS, Scale, levels, palette, png, scale_of, spectrogram
from voxzoo.eval.plots import write_plots
from voxzoo.eval.tables import main_metrics, number, scores_markdown, table_markdown


def tone(hertz: float, level: float = 0.0, rate: int = 16000, seconds: float = 1.0) -> Audio:
    time = np.arange(int(rate * seconds)) / rate
    return Audio((10 ** (level / 20) * np.sin(2 * np.pi * hertz * time)).astype(np.float32), rate)


# ---------------------------------------------------------------- spectrograms


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 44100])
def test_a_tone_lies_in_its_row(rate: int) -> None:
    hertz = rate / 2 * 0.3
    picture = spectrogram(tone(hertz, rate=rate))
    assert picture.shape == (ROWS, 100)
    assert int(picture[:, 50].argmax()) == pytest.approx(0.3 * ROWS - 1, abs=1)  # the first row begins above 0 Hz


def test_a_full_scale_sine_on_a_bin_is_near_0_db_and_levels_are_decibels() -> None:
    """Rows of two bins of 31.25 Hz: the mean of the main bin (0 dB) and a neighbour (-6 dB) is -2 dB."""
    loud, soft = (spectrogram(tone(1000.0, level))[:, 10:90].max() for level in (0.0, -20.0))
    assert loud == pytest.approx(10 * np.log10((1 + 0.25) / 2), abs=0.05)
    assert loud - soft == pytest.approx(20, abs=0.01)


def test_against_a_plain_loop() -> None:
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 4000).astype(np.float32)
    picture = spectrogram(Audio(sound, 16000))
    size, frames = 512, 25
    window = np.array([0.5 - 0.5 * np.cos(2 * np.pi * n / size) for n in range(size)])
    for frame in (0, 7, 24):
        centre = round((frame + 0.5) * 4000 / frames)
        taken = [sound[i] if 0 <= i < 4000 else 0.0 for i in range(centre - size // 2 - 1, centre + size // 2 - 1)]
        power = [abs(np.vdot(np.exp(2j * np.pi * k * np.arange(size) / size), taken * window)) ** 2 for k in range(257)]
        rows = [(power[1 + 2 * r] + power[2 + 2 * r]) / 2 * (2 / window.sum()) ** 2 for r in range(ROWS)]
        np.testing.assert_allclose(picture[:, frame], 10 * np.log10(rows), atol=1e-3)


def test_silence_long_and_tiny_clips() -> None:
    assert (spectrogram(Audio(np.zeros(1600, np.float32), 16000)) == -100).all()
    assert spectrogram(Audio(np.zeros(20 * 16000, np.float32), 16000)).shape == (ROWS, 600)
    assert spectrogram(Audio(np.ones(1, np.float32), 16000)).shape == (ROWS, 1)
    with pytest.raises(AudioError, match="empty"):
        spectrogram(Audio(np.zeros(0, np.float32), 16000))


def test_one_scale_for_all_pictures() -> None:
    loud, soft = np.full((2, 2), -13.0), np.full((2, 2), -55.0)
    scale = scale_of([soft, loud])
    assert scale == Scale(-90.0, -10.0)
    assert scale_of([]) == Scale(-80.0, 0.0)
    assert levels(np.array([[-200.0], [0.0]]), scale).tolist() == [[LEVELS - 1], [0]]  # the last row on top
    assert levels(np.full((1, 1), -50.0), scale).tolist() == [[LEVELS // 2]]


def test_png_is_read_back_by_matplotlib(tmp_path: Path) -> None:
    image = pytest.importorskip("matplotlib.image")
    indices = np.random.default_rng(0).integers(0, LEVELS, (5, 7)).astype(np.uint8)
    (tmp_path / "x.png").write_bytes(png(indices, palette()))
    read = np.round(image.imread(tmp_path / "x.png")[..., :3] * 255)
    np.testing.assert_array_equal(read, palette()[indices])


# ---------------------------------------------------------------- Markdown


def test_markdown_is_safe_and_whole() -> None:
    made = results()
    made["entries"][1]["label"] = "a|b`*[x](y)\n# <b>"
    text = table_markdown(made)
    assert "<" not in text
    lines = text.splitlines()
    assert "a\\|b\\`\\*\\[x\\](y) \\# &lt;b&gt;" in text
    for start in (i for i, line in enumerate(lines) if line.startswith("| entry")):
        end = next(i for i in range(start, len(lines)) if not lines[i].startswith("|"))
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines[start:end]}) == 1
    for metric in made["metrics"]:
        assert f"- **{metric['label']}**" in text
    assert "bootstrap" in text


def test_markdown_counts_what_is_missing_and_marks_the_best() -> None:
    table = scores_markdown(results(), ["pesq_wb", "wer"], intervals=True)
    rows = {line.split(" | ")[0][2:]: line for line in table.splitlines()}
    assert rows["opus:12"].count("**") == 4
    assert "(1 missing)" in rows["gsm"]
    assert "| \u2013 |" in rows["original"]
    assert "**" not in rows["original"]
    assert re.search(r"\d \[\d+\.\d, \d+\.\d\] \|$", rows["gsm"])
    assert table.splitlines()[0] == "| entry | kbit/s | PESQ-WB \u2191 | WER (%) \u2193 |"
    with pytest.raises(VoxzooError, match=r"no metric 'nothing'; they have pesq_wb"):
        scores_markdown(results(), ["nothing"])


@pytest.mark.parametrize(
    ("value", "digits", "shown"), [(None, 2, "\u2013"), (-0.001, 2, "0.00"), (-1.5, 1, "\u22121.5"), (2.345, 0, "2")]
)
def test_numbers(value: float | None, digits: int, shown: str) -> None:
    assert number(value, digits) == shown


def test_main_metrics_fall_back_on_what_is_there() -> None:
    assert [m["name"] for m in main_metrics(results())] == ["pesq_wb", "stoi", "dnsmos_ovrl", "wer"]
    made = results()
    made["metrics"] = [m for m in made["metrics"] if m["name"] in ("si_sdr", "lag", "rtf")]
    assert [m["name"] for m in main_metrics(made)] == ["si_sdr"]
    made["metrics"] = []
    assert main_metrics(made) == []


# ---------------------------------------------------------------- plots


def size_of(path: Path) -> tuple[int, int, float]:
    """Pixels across and down, and dots per inch, of a PNG whose parts are all sound."""
    data, at, found = path.read_bytes(), 8, {}
    while at < len(data):
        (length,), kind = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0]
        found[kind] = body
        at += 12 + length
    width, height = struct.unpack(">II", found[b"IHDR"][:8])
    return width, height, struct.unpack(">I", found[b"pHYs"][:4])[0] * 0.0254


def test_plots_are_written_for_print(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    written = write_plots(results(), tmp_path / "plots")
    names = [path.name for path in written]
    rates = [f"rate_distortion_{name}.png" for name in ("pesq_wb", "stoi", "dnsmos_ovrl", "wer")]
    assert names == ["scores.png", *rates, "lorenz.png", "rank_frequency.png", "usage_growth.png"]
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == sorted(names)
    for path in written:
        width, height, dots = size_of(path)
        assert dots == pytest.approx(300, abs=0.1)
        assert 1000 < width < 2500
        assert 500 < height < 2500


def hostile(made: dict[str, Any]) -> dict[str, Any]:
    for n, (entry, label) in enumerate(zip(made["entries"][1:], [HOSTILE, RTL, "$x^{$", "語:3", "_"], strict=True)):
        entry["label"], entry["model"] = label, entry["model"] and label + str(n)
    return made


def bare(made: dict[str, Any]) -> dict[str, Any]:
    for entry in made["entries"]:
        entry.update(tokens=None, bitrate=None)
    return made


def nothing(made: dict[str, Any]) -> dict[str, Any]:
    for entry in made["entries"]:
        entry["summary"] = {
            m["name"]: {"mean": None, "low": None, "high": None, "count": 0, "missing": {"x": 1}} for m in made["metrics"]
        }
    return made


@pytest.mark.parametrize(
    ("change", "count"),
    [
        (hostile, 8),
        (bare, 1),
        (nothing, 3),
        pytest.param(lambda made: {**made, "entries": made["entries"][:2]}, 8, marks=pytest.mark.slow),
    ],
)
def test_plots_of_poor_results(tmp_path: Path, change: Any, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("voxzoo.eval.plots.DPI", 30)
    assert len(write_plots(change(results(clips=1)), tmp_path)) == count


def test_tables_and_pictures_need_no_matplotlib_and_no_torch() -> None:
    code = "import sys, voxzoo.eval.pictures, voxzoo.eval.report; print({'torch', 'matplotlib'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
