"""Parts of recordings: which samples they are, in every format that can be sought in, and what is refused."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from voxzoo import Audio, AudioError
from voxzoo.corpus.clips import Clip
from voxzoo.corpus.parts import Part, cut
from voxzoo.corpus.sources import open_source

RATE = 22050


@pytest.fixture(scope="module")
def stereo() -> np.ndarray:
    return (0.2 * np.random.default_rng(0).standard_normal((3 * RATE, 2))).clip(-1, 1)


def samples(data: bytes) -> np.ndarray:
    return soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0]


@pytest.mark.parametrize("ending", [".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a"])
def test_a_part_is_what_reading_all_and_cutting_gives(tmp_path: Path, stereo: np.ndarray, ending: str) -> None:
    path, rate = str(tmp_path / f"x{ending}"), 48000 if ending == ".opus" else RATE
    if ending == ".m4a":
        if not shutil.which("ffmpeg"):
            pytest.skip("no ffmpeg")
        soundfile.write(tmp_path / "x.wav", stereo, rate)
        subprocess.run(["ffmpeg", "-v", "error", "-i", str(tmp_path / "x.wav"), path], check=True)
        both = None
    else:
        formats = {".opus": ("OGG", "OPUS"), ".ogg": ("OGG", "VORBIS"), ".mp3": ("MP3", None)}
        form, subtype = formats.get(ending, (None, None))
        soundfile.write(path, stereo, rate, format=form, subtype=subtype)
        both = soundfile.read(path, dtype="float32")[0]
    whole = Audio.read(path)
    clip = Clip("x", path, path, part=Part(0.30001, 0.83457))
    first, count = int(0.30001 * rate + 0.5), int(0.83457 * rate + 0.5)
    got = Audio.read(clip.open())
    assert (len(got), got.sample_rate) == (count, rate)
    exact = {} if ending in (".wav", ".flac") else {"atol": 2e-5}
    np.testing.assert_allclose(got.samples, whole.samples[first : first + count], rtol=0, **(exact or {"atol": 0}))
    if both is not None:
        second = samples(cut(path, "x", Part(0.5, None, 1)))
        assert second.shape == (len(both) - int(0.5 * rate + 0.5), 1)
        np.testing.assert_allclose(second[:, 0], both[int(0.5 * rate + 0.5) :, 1], rtol=0, atol=2e-5)


def test_bytes_are_cut_too_and_a_part_may_end_a_little_late(tmp_path: Path, stereo: np.ndarray) -> None:
    soundfile.write(tmp_path / "x.wav", stereo, RATE, subtype="FLOAT")
    data = (tmp_path / "x.wav").read_bytes()
    got = Audio.read(Clip("x", "x", data, part=Part(2.5, 0.52, 0)).open())
    assert np.array_equal(got.samples, stereo[int(2.5 * RATE + 0.5) :, 0].astype(np.float32))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Part(2.5, 0.6), "ends at 3.000 s or before; 2.5 s to 3.1 s was asked for"),
        (Part(9.0), "9 s to the end was asked for"),
        (Part(-1.0, 2.0), "not a part of a recording"),
        (Part(1.0, 0.0), "not a part of a recording"),
        (Part(0.0, 1.0, 2), "has 2 channels; channel 2 was asked for"),
    ],
)
def test_what_is_no_part_of_the_file(tmp_path: Path, stereo: np.ndarray, part: Part, message: str) -> None:
    soundfile.write(tmp_path / "x.flac", stereo, RATE)
    with pytest.raises(AudioError, match=message):
        Clip("x", str(tmp_path / "x.flac"), str(tmp_path / "x.flac"), part=part).open()


def test_nemo_rows_with_offsets_are_parts_with_ids_of_their_own(tmp_path: Path) -> None:
    rows = [
        {"audio_filepath": "a.wav", "offset": 1.5, "duration": 2.25, "text": "one"},
        {"audio_filepath": "a.wav", "offset": 0.0, "duration": 1.5},
        {"audio_filepath": "a.wav", "offset": 3},
        {"audio_filepath": "b.wav", "duration": 7.0},
        {"audio_filepath": "b.wav", "offset": 0},
        {"audio_filepath": "b.wav", "offset": -1, "duration": 7.0},
    ]
    (tmp_path / "m.json").write_text("\n".join(map(json.dumps, rows)))
    clips = list(open_source(str(tmp_path / "m.json")).clips())
    assert [clip.part for clip in clips] == [Part(1.5, 2.25), Part(0.0, 1.5), Part(3.0, None), None, None, None]
    assert [clip.id for clip in clips[:4]] == ["a-00001500-00003750", "a-00000000-00001500", "a-00003000", "b"]
    assert clips[0].columns == {"offset": 1.5, "duration": 2.25, "text": "one"}
    assert "expected an offset from 0 on" in str(clips[5].problem)


def test_offsets_of_a_table_and_of_fairseq(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,offset,duration\na.wav,0.5,1\nb.wav,,3\n")
    assert [clip.part for clip in open_source(str(tmp_path / "m.csv")).clips()] == [Part(0.5, 1.0), None]
    (tmp_path / "train.tsv").write_text("/data/sound\nx/1.flac\t16000\nx/2.flac\t32000\n")
    clips = list(open_source(str(tmp_path / "train.tsv")).clips())
    assert [(c.id, c.path, c.columns) for c in clips] == [
        ("x/1", "/data/sound/x/1.flac", {"num_frames": 16000}),
        ("x/2", "/data/sound/x/2.flac", {"num_frames": 32000}),
    ]
