"""Cuts and Shar folders as lhotse itself writes them give the samples that lhotse itself loads."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from voxzoo import Audio, CorpusError
from voxzoo.corpus.sources import open_source

lhotse = pytest.importorskip("lhotse")


@pytest.fixture(scope="module")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Four MonoCuts of two recordings, with supervisions and custom fields."""
    folder, rng, made = tmp_path_factory.mktemp("sound"), np.random.default_rng(0), []
    for name, rate, channels in (("one", 16000, 1), ("two", 22050, 2)):
        path = folder / f"{name}.flac"
        soundfile.write(path, (0.1 * rng.standard_normal((2 * rate, channels))).clip(-1, 1), rate)
        recording = lhotse.Recording.from_file(path)
        for i, (start, duration) in enumerate(((0.0, 2.0), (0.31237, 1.00001))):
            said = [lhotse.SupervisionSegment(f"{name}{i}{j}", name, 0, 0.4, text=f"word{j}", speaker="s", language="en")
                    for j in range(1 + i)]  # fmt: skip
            made.append(
                lhotse.MonoCut(f"{name}-{i}", start, duration, channels - 1, said, recording=recording, custom={"snr": i})
            )
    return lhotse.CutSet.from_cuts(made)


def read(spec: object) -> dict[str, tuple[np.ndarray, int, dict[str, Any]]]:
    source = open_source(str(spec))
    clips = list(source.clips())
    assert list(source.clips(2)) == clips[2:]
    assert not [clip.problem for clip in clips if clip.problem]
    sounds = [Audio.read(clip.open()) for clip in clips]
    return {clip.id: (s.samples, s.sample_rate, dict(clip.columns)) for clip, s in zip(clips, sounds, strict=True)}


@pytest.mark.parametrize("name", ["cuts.jsonl", "cuts.jsonl.gz"])
def test_a_manifest_of_cuts(cuts: Any, tmp_path: Path, name: str) -> None:
    cuts.to_file(tmp_path / name)
    found = read(tmp_path / name)
    assert list(found) == [cut.id for cut in cuts] == ["one-0", "one-1", "two-0", "two-1"]
    for cut in cuts:
        samples, rate, _ = found[cut.id]
        assert rate == cut.sampling_rate
        assert np.array_equal(samples, cut.load_audio()[0])
    assert found["one-0"][2] == {"snr": 0, "text": "word0", "speaker": "s", "language": "en"}
    assert found["two-1"][2]["text"] == "word0 word1"


def test_cuts_that_were_resampled_keep_their_own_sound(cuts: Any, tmp_path: Path) -> None:
    cuts.resample(8000).to_file(tmp_path / "cuts.jsonl")
    found = read(tmp_path / "cuts.jsonl")
    assert all(np.array_equal(found[cut.id][0], cut.load_audio()[0]) for cut in cuts)


def test_shar(cuts: Any, tmp_path: Path) -> None:
    (tmp_path / "shar").mkdir()
    cuts.to_shar(tmp_path / "shar", fields={"recording": "flac"}, shard_size=3)
    found = read(tmp_path / "shar")
    assert list(found) == [cut.id for cut in cuts]
    for cut in cuts:
        assert np.array_equal(found[cut.id][0], cut.load_audio()[0]), cut.id
    (tmp_path / "shar/recording.000001.tar").write_bytes(b"x" * 700)
    *good, lost = open_source(str(tmp_path / "shar")).clips()
    assert len(good) == 3
    assert "recording.000001.tar' is damaged" in str(lost.problem)
    (tmp_path / "shar/recording.000001.tar").unlink()
    with pytest.raises(CorpusError, match=r"has no sound beside it.*recording\.000001\.tar' is not there"):
        open_source(str(tmp_path / "shar"))


def test_several_channels_are_clips_of_their_own(cuts: Any, tmp_path: Path) -> None:
    cut = next(cut for cut in cuts if cut.id == "two-1")
    both = lhotse.MultiCut("m", cut.start, cut.duration, [0, 1], [], recording=cut.recording)
    lhotse.CutSet.from_cuts([both]).to_file(tmp_path / "cuts.jsonl")
    found = read(tmp_path / "cuts.jsonl")
    assert list(found) == ["m-0", "m-1"]
    assert np.array_equal(np.stack([found["m-0"][0], found["m-1"][0]]), both.load_audio())


def test_what_cannot_be_read_is_told_line_by_line(cuts: Any, tmp_path: Path) -> None:
    cut = next(iter(cuts))
    lines = [json.dumps(c.to_dict()) for c in (cut, cut.pad(duration=9.0), cut.perturb_speed(0.9))]
    bare = {k: v for k, v in cut.to_dict().items() if k != "recording"}
    command = cut.to_dict()
    command["recording"]["sources"][0] |= {"type": "command", "source": "rm x"}
    lines += [json.dumps(bare), json.dumps(command), "{", "[]"]
    with gzip.open(tmp_path / "cuts.jsonl.gz", "wt") as file:
        file.write("\n".join(lines))
    good, *bad = open_source(str(tmp_path / "cuts.jsonl.gz")).clips()
    assert good.problem is None
    wanted = (
        "a MixedCut",
        "changed by Speed",
        "no recording",
        "of type 'command'",
        "not a cut of lhotse",
        "not a cut of lhotse",
    )
    for clip, words in zip(bad, wanted, strict=True):
        assert words in str(clip.problem)
        assert f"cuts.jsonl.gz:{bad.index(clip) + 2}" in str(clip.problem)
