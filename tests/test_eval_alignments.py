"""Phone times: read from every form users have, refused with file and line, and aligned with synthetic speech."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from voxzoo import Audio
from voxzoo.core.errors import CorpusError
from voxzoo.eval.alignments import align, phones_of_column, read_ctm, read_phn, read_textgrid
from voxzoo.eval.metric import MetricError
from voxzoo.eval.phonetic import SILENCES, frame_labels

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1.5
tiers? <exists>
size = 3
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1.5
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 1.5
            text = "say ""a 2"" 3"
    item [2]:
        class = "TextTier"
        name = "phones"
        xmin = 0
        xmax = 1.5
        points: size = 1
        points [1]:
            number = 0.5
            mark = "peak"
    item [3]:
        class = "IntervalTier"
        name = "anna - phones"
        xmin = 0
        xmax = 1.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.25
            text = ""
        intervals [2]:
            xmin = 0.25
            xmax = 1
            text = "AH0"
        intervals [3]:
            xmin = 1
            xmax = 1.5
            text = "t͡ʃ"
"""
SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
1.5
<exists>
1
"IntervalTier"
"phones"
0
1.5
3
0
0.25
""
0.25
1
"AH0"
1
1.5
"t͡ʃ"
"""
WANT = [(0, 0.25, ""), (0.25, 1.0, "AH0"), (1.0, 1.5, "t͡ʃ")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("text", [LONG, SHORT])
def test_textgrid(text: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "a.TextGrid"
    path.write_bytes(text.encode(encoding))
    assert read_textgrid(path) == WANT
    assert phones_of_column(str(path), "a") == WANT


def test_textgrid_of_another_tier(tmp_path: Path) -> None:
    path = tmp_path / "a.TextGrid"
    path.write_text(LONG, encoding="utf-8")
    assert read_textgrid(path, "words") == [(0, 1.5, 'say "a 2" 3')]
    with pytest.raises(CorpusError, match=r"no interval tier called 'tones'; there are 'words', 'phones', 'anna - phones'"):
        read_textgrid(path, "tones")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("xmax = 1\n", "xmax = 0.1\n", r"a.TextGrid:41'.*'AH0' from 0.25 to 0.1 s"),
        ('text = "AH0"', "text = AH", r"a.TextGrid:43'.* 1 where a quoted text"),
        ("ooTextFile", "ooBinary", r"a.TextGrid:2'.*not a TextGrid"),
        ('            text = "t͡ʃ"\n', "", r"the end where a quoted text was expected"),
        ("<exists>", "<absent>", "there are none"),
    ],
)
def test_damaged_textgrid(old: str, new: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.TextGrid"
    assert old in LONG
    path.write_text(LONG.replace(old, new), encoding="utf-8")
    with pytest.raises(CorpusError, match=reason):
        read_textgrid(path)


def test_ctm(tmp_path: Path) -> None:
    path = tmp_path / "phones.ctm"
    path.write_text(";; made by hand\na 1 0.25 0.75 AH0 0.98\na 1 0 0.25 sil\n\nb 1 0.1 0.2 T\n")
    assert read_ctm(path) == {"a": [(0, 0.25, "sil"), (0.25, 1.0, "AH0")], "b": [(0.1, pytest.approx(0.3), "T")]}
    assert phones_of_column(str(path), "b")[0].label == "T"
    with pytest.raises(CorpusError, match="no recording 'c'; the first of 2 is 'a'"):
        phones_of_column(str(path), "c")
    for line, reason in (("a 1 0 0.1", "4 cells"), ("a 1 x 0.1 T", "'x' where a number"), ("a 1 0 0 T", "0 <= start < end")):
        path.write_text(f"a 1 0 1 T\n{line}\n")
        with pytest.raises(CorpusError, match=f"phones.ctm:2'.*{reason}"):
            read_ctm(path)


def test_phn(tmp_path: Path) -> None:
    path = tmp_path / "SA1.PHN"
    path.write_text("0 1600 h#\n1600 4000 sh\n")
    assert read_phn(path) == [(0, 0.1, "h#"), (0.1, 0.25, "sh")]
    assert read_phn(path, 8000)[1] == (0.2, 0.5, "sh")
    assert phones_of_column(str(path), "x") == read_phn(path)
    path.write_text("0 1600 h#\n1600 4000\n")
    with pytest.raises(CorpusError, match=r"SA1.PHN:2'.*2 cells"):
        read_phn(path)
    with pytest.raises(CorpusError, match=r"gone.phn' cannot be read: No such file"):
        read_phn(tmp_path / "gone.phn")


def test_column() -> None:
    rows = [[0.25, 1.0, "AH0"], [0, 0.25, ""], [1.0, 1.5, "t͡ʃ"]]
    assert phones_of_column(rows, "a") == WANT
    assert phones_of_column(json.dumps(rows), "a") == WANT
    for value in ([[0, 1]], [["x", 1, "a"]], 7, "[[0, 1", [[1, 0, "a"]], [[float("nan"), 1, "a"]], "a.wav"):
        with pytest.raises(CorpusError, match=r"phones of clip-7"):
            phones_of_column(value, "clip-7")


def test_alignment(espeak: ModuleType) -> None:
    """Of the sentences pocketsphinx can align, speech is told from silence and most boundaries are near the true ones."""
    pytest.importorskip("pocketsphinx")
    near: list[float] = []
    for clip in espeak.corpus(1, 4):
        try:
            phones = align(Audio(clip.samples, 16000), clip.text)
        except MetricError:
            continue
        last = clip, phones
        assert phones[0].start == 0
        assert all(a.end == pytest.approx(b.start) for a, b in itertools.pairwise(phones))
        assert abs(phones[-1].end - len(clip.samples) / 16000) < 0.05
        starts = np.array([start for start, _, _ in clip.phones])
        near += [float(np.abs(starts - p.start).min()) for p in phones]
        assert len({p.label for p in phones} - {"SIL"}) > 5
        assert (np.isin(np.char.lower(frame_labels(phones, 50, 100.0)), list(SILENCES)).mean()) < 0.9
    assert len(near) > 20
    assert np.median(near) < 0.02
    clip, phones = last
    assert align(Audio(clip.samples, 16000), clip.text) == phones  # what was aligned before changes nothing


def test_alignment_that_cannot_be() -> None:
    pytest.importorskip("pocketsphinx")
    noise = Audio((0.01 * np.random.default_rng(0).standard_normal(8000)).astype(np.float32), 16000)
    with pytest.raises(MetricError, match="cannot align"):
        align(noise, "the old captain kept a small boat behind the mill and never thought the journey would take so long")
    with pytest.raises(MetricError, match="dictionary: xyzzyq"):
        align(noise, "say xyzzyq twice")
    with pytest.raises(MetricError, match="no words"):
        align(noise, " ... ")
