"""Sources: what each form lists, in which order, under which ids."""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from voxzoo import CorpusError
from voxzoo.corpus.clips import Clip, Span
from voxzoo.corpus.columns import Columns
from voxzoo.corpus.sources import open_source


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def listed(spec: object) -> list[Clip]:
    source = open_source(str(spec))
    clips = list(source.clips())
    assert [c.id for c in source.listing()] == [c.id for c in clips]
    for start in range(len(clips) + 1):
        assert list(source.clips(start)) == clips[start:]
    return clips


def ids(spec: object) -> list[str]:
    return [clip.id for clip in listed(spec)]


def test_a_folder_is_searched_in_depth_and_sorted(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.FLAC", "a.wav", "b/1.wav", "b/notes.txt", ".hidden.wav", ".git/x.wav")
    assert ids(tmp_path) == ["a", "b/1", "b/2"]
    assert [clip.path for clip in listed(tmp_path)] == [str(tmp_path / n) for n in ("a.wav", "b/1.wav", "b/2.FLAC")]


def test_ids_of_a_folder_are_unique(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "a.flac", "a.wav.mp3", "b.wav")
    assert ids(tmp_path) == ["a.flac", "a.wav", "a.wav.mp3", "b"]


@pytest.mark.parametrize(
    "name", ["with space.wav", "new\nline.wav", "日本語.wav", "quote'\".wav", "\udcff\udcfe.wav", "%s{}.wav"]
)
def test_any_name_a_file_can_have(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name)
    (clip,) = listed(tmp_path)
    assert os.path.exists(clip.open())
    assert clip.weight() == 1


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path / "in", "a/1.wav")
    (tmp_path / "in/a/up").symlink_to(tmp_path / "in")
    (tmp_path / "out").mkdir()
    touch(tmp_path / "out", "2.wav")
    (tmp_path / "in/b").symlink_to(tmp_path / "out")
    (tmp_path / "in/broken.wav").symlink_to(tmp_path / "nothing")
    assert ids(tmp_path / "in") == ["a/1", "b/2", "broken"]


def test_a_folder_named_as_sound_is_listed_and_searched(tmp_path: Path) -> None:
    touch(tmp_path, "x.wav/y.wav")
    assert ids(tmp_path) == ["x", "x.wav/y"]


def test_a_folder_that_cannot_be_listed_is_a_clip_with_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/1.wav", "b/2.wav")
    scan = os.scandir

    def guarded(path: str) -> object:
        if path.endswith("/a"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", guarded)
    closed, open_ = listed(tmp_path)
    assert (closed.id, open_.id) == ("a", "b/2")
    assert "cannot be listed: Permission denied" in str(closed.problem)


def test_output_folders_within_the_source_are_left_out(tmp_path: Path) -> None:
    pq.write_table(pa.table({"audio": [b"x"]}), tmp_path / "p.parquet")
    touch(tmp_path, "tokens/.voxzoo/lock", "tokens/part-00000.parquet")
    assert ids(tmp_path) == ["p-00000000"]


def test_glob_and_single_file(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.wav", "b/2.wav", "b/3.txt")
    assert ids(tmp_path / "*" / "*") == ["a/1", "b/2"]
    assert ids(tmp_path / "**" / "*.wav") == ["a/1", "b/2"]
    assert ids(tmp_path / "b" / "2.wav") == ["2"]


def test_jsonl_keeps_columns_and_resolves_paths(tmp_path: Path) -> None:
    rows = [
        {"id": 7, "path": "x/1.wav", "text": "héllo", "n": 3},
        {"audio_filepath": "/abs/2.wav"},
        {"path": "3.wav", "id": None},
    ]
    (tmp_path / "m.jsonl").write_text("\ufeff" + "\n\n".join(map(json.dumps, rows)), encoding="utf-8")
    first, second, third = listed(tmp_path / "m.jsonl")
    assert (first.id, first.path, first.columns) == ("7", str(tmp_path / "x/1.wav"), {"text": "héllo", "n": 3})
    assert (second.id, second.path) == ("/abs/2", "/abs/2.wav")
    assert third.id == "3"


def test_bad_lines_of_a_manifest_are_clips_with_problems(tmp_path: Path) -> None:
    lines = ['{"path": "1.wav"}', "{broken", "[1]", '{"id": "x"}', '{"path": "2.wav", "offset": "x"}']
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    clips = listed(tmp_path / "m.jsonl")
    assert [clip.problem is None for clip in clips] == [True, False, False, False, False]
    assert [clip.id for clip in clips] == ["1", "line-00000002", "line-00000003", "x", "line-00000005"]
    assert "offset='x'" in str(clips[4].problem)


def test_csv_and_tsv(tmp_path: Path) -> None:
    with open(tmp_path / "m.csv", "w", newline="") as file:
        csv.writer(file).writerows([["id", "path", "text"], ["a", "new\nline, quoted.wav", 'he said "x"'], ["b", "2.wav"]])
    first, second = listed(tmp_path / "m.csv")
    assert (first.id, first.path, first.columns) == ("a", str(tmp_path / "new\nline, quoted.wav"), {"text": 'he said "x"'})
    assert "2 cells" in str(second.problem)
    (tmp_path / "m.tsv").write_text('path\ttext\n1.wav\t"open\n2.wav\tb\n')
    assert [(clip.id, clip.columns["text"]) for clip in listed(tmp_path / "m.tsv")] == [("1", '"open'), ("2", "b")]


def test_rows_that_csv_cannot_read_are_clips_with_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxzoo.corpus.manifests.FIELD_LIMIT", 1000)
    limit = csv.field_size_limit(1000)
    try:
        (tmp_path / "m.csv").write_text(f"path,text\n1.wav,{'x' * 2000}\n2.wav,b\n")
        first, *_, last = listed(tmp_path / "m.csv")
    finally:
        csv.field_size_limit(limit)
    assert "larger than field limit" in str(first.problem)
    assert last.id == "2"


def test_wav_scp(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("utt1 dir with blanks/1.wav\nutt2\t/abs.wav\nutt3 sox x.wav -t wav - |\nutt4\n")
    one, two, three, four = listed(tmp_path / "wav.scp")
    assert (one.id, one.path) == ("utt1", str(tmp_path / "dir with blanks/1.wav"))
    assert (two.id, two.path) == ("utt2", "/abs.wav")
    assert "command" in str(three.problem)
    assert "without a path" in str(four.problem)


def make_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("name", ["t.tar", "t.tar.gz"])
def test_webdataset(tmp_path: Path, name: str) -> None:
    members = {"a/1.wav": b"one", "a/1.json": b'{"speaker": 5}', "a/1.txt": b"words\n", "2.json": b"{}", "3.flac": b"three!",
               "4.json": b"nope", "4.wav": b"four", "5.l.wav": b"L", "5.r.wav": b"R"}  # fmt: skip
    make_tar(tmp_path / name, members)
    clips = listed(tmp_path / name)
    assert [clip.id for clip in clips] == ["a/1", "2", "3", "4", "5.l.wav", "5.r.wav"]
    assert clips[0].columns == {"speaker": 5, "txt": "words"}
    assert [clip.open().read() for clip in clips if not clip.problem] == [b"one", b"three!", b"L", b"R"]
    assert "holds no sound" in str(clips[1].problem)
    assert "not a JSON object" in str(clips[3].problem)


def test_several_tars_put_their_name_before_the_key(tmp_path: Path) -> None:
    for name in ("t-0.tar", "t-1.tar"):
        make_tar(tmp_path / name, {"000.wav": b"x"})
    assert ids(tmp_path) == ids(tmp_path / "t-*.tar") == ["t-0/000", "t-1/000"]


def test_a_truncated_tar_gives_what_it_holds_and_a_problem(tmp_path: Path) -> None:
    make_tar(tmp_path / "t.tar", {f"{i}.wav": b"x" * 3000 for i in range(5)})
    whole = (tmp_path / "t.tar").read_bytes()
    (tmp_path / "t.tar").write_bytes(whole[:9000])
    clips = listed(tmp_path / "t.tar")
    assert [clip.id for clip in clips if not clip.problem][:2] == ["0", "1"]
    assert any("damaged" in str(clip.problem) for clip in clips) or isinstance(clips[-1].source, Span)


AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.mark.parametrize("with_id", [True, False])
def test_parquet_as_hugging_face_writes_it(tmp_path: Path, with_id: bool) -> None:
    n = 50
    columns = {"audio": pa.array([{"bytes": bytes([i]), "path": f"{i}.wav"} for i in range(n)], AUDIO),
               "text": pa.array([f"t{i}" for i in range(n)]), "meta": pa.array([{"a": i} for i in range(n)])}  # fmt: skip
    if with_id:
        columns["id"] = pa.array([f"utt{i}" for i in range(n)])
    pq.write_table(pa.table(columns), tmp_path / "p.parquet", row_group_size=20)
    clips = listed(tmp_path / "p.parquet")
    assert [clip.open().read() for clip in clips] == [bytes([i]) for i in range(n)]
    assert [clip.id for clip in clips] == [f"utt{i}" if with_id else f"p-{i:08d}" for i in range(n)]
    assert clips[3].columns == {"text": "t3", "meta": {"a": 3}}
    assert open_source(str(tmp_path / "p.parquet")).fields() == [("text", pa.string(), False), ("meta", pa.string(), True)]


def test_damage_in_a_parquet_file_costs_the_rows_after_it(tmp_path: Path) -> None:
    sounds = [os.urandom(3000) for _ in range(40)]
    table = pa.table({"id": [f"utt{i}" for i in range(40)], "audio": sounds})
    pq.write_table(table, tmp_path / "p.parquet", row_group_size=20, compression="zstd", use_dictionary=False)
    data = bytearray((tmp_path / "p.parquet").read_bytes())
    start = pq.read_metadata(tmp_path / "p.parquet").row_group(0).column(1).data_page_offset
    data[start : start + 2000] = bytes(2000)
    (tmp_path / "p.parquet").write_bytes(data)
    source = open_source(str(tmp_path / "p.parquet"))
    clips = list(source.clips())
    assert len(clips) == len(list(source.listing())) == 40
    assert all("cannot be read" in str(clip.problem) for clip in clips[:20])
    assert [clip.source for clip in clips[20:]] == sounds[20:]


def test_text_of_every_kind_is_carried_as_text(tmp_path: Path) -> None:
    text = pa.array(["a", None])
    kinds = {
        "large": text.cast(pa.large_string()),
        "coded": text.dictionary_encode(),
        "half": pa.array([1.5, 2], pa.float32()).cast(pa.float16()),
    }
    pq.write_table(pa.table({"audio": [b"x", b"y"], **kinds}), tmp_path / "p.parquet")
    source = open_source(str(tmp_path / "p.parquet"))
    assert source.fields() == [("large", pa.string(), False), ("coded", pa.string(), False), ("half", pa.string(), True)]
    arrays = Columns(source.fields() or [], []).arrays([clip.columns for clip in source.clips()])
    assert [array.to_pylist() for array in arrays] == [["a", None], ["a", None], ["1.5", "2.0"]]


def test_parquet_of_binary_and_of_paths(tmp_path: Path) -> None:
    pq.write_table(pa.table({"flac": pa.array([b"a", None]), "n": [1, 2]}), tmp_path / "b.parquet")
    one, two = listed(tmp_path / "b.parquet")
    assert one.open().read() == b"a"
    assert "null" in str(two.problem)
    pq.write_table(pa.table({"path": ["x.wav"]}), tmp_path / "p.parquet")
    assert listed(tmp_path / "p.parquet")[0].source == str(tmp_path / "x.wav")
    with pytest.raises(CorpusError, match="other columns"):
        listed(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none", None, "does not exist"),
        ("x*.wav", None, "matches 0 names"),
        ("m.jsonl", "", "lists no clips"),
        ("m.csv", "name,text\n", "expected one called path"),
        ("m.json", '[\n{"path": "x"}\n]', "JSON array"),
        ("m.tsv", "name\nx.wav\t?\n", "fairseq's form"),
        ("cuts.jsonl.gz", "x", "cannot be read: Not a gzipped file"),
        ("nothing://x/y.tar", None, "nothing"),
        ("memory://not/there", None, "holds no sound"),
        ("p.parquet", "x", "not a whole Parquet file"),
        ("x.pdf", "x", "no known kind"),
    ],
)
def test_what_is_no_source_is_said_in_one_line(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    spec = name if ":" in name else str(tmp_path / name)
    with pytest.raises(CorpusError, match=message) as caught:
        list(open_source(spec).clips())
    assert "\n" not in str(caught.value)


def test_an_empty_folder_and_one_of_tokens(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="holds no sound"):
        open_source(str(tmp_path))
    (tmp_path / "dataset.json").write_text("{}")
    (tmp_path / "part-00000.parquet").write_text("")
    with pytest.raises(CorpusError, match="holds tokens already"):
        open_source(str(tmp_path))
