"""Packing to every form and back; the forms as others read them; what cannot be packed."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import voxzoo
from voxzoo import CorpusError, Facts, TokensError, VoxzooError
from voxzoo.cli import pack as verb
from voxzoo.cli.main import main
from voxzoo.corpus.engine import Options, tokenize
from voxzoo.corpus.layout_parallel import Flat
from voxzoo.corpus.layouts import layout_names
from voxzoo.corpus.pack import FORMS, PackOptions, pack
from voxzoo.corpus.unpack import open_packed, unpack

from token_shards import FACTS, FIELDS, SNAC, like, make_shards  # isort: skip

UNITS = like(frame_rates=["25"], codebook_sizes=[6561])
KINDS: dict[str, Facts] = {"two": FACTS, "snac": like(**SNAC), "units": UNITS}
IDS: dict[str, Any] = {"text_ids_column": "ids"}


def make(folder: Path, kind: str = "two", **options: Any) -> str:
    make_shards(folder, [17, 1, 6], KINDS[kind], group_rows=5, extras=("scales",), **options)
    return str(folder)


def shards(folder: str | Path) -> list[pa.Table]:
    return [pq.read_table(path) for path in sorted(Path(folder).glob("part-*.parquet"))]


def assert_same_shards(first: str | Path, second: str | Path) -> None:
    assert [path.name for path in sorted(Path(first).iterdir())] == [path.name for path in sorted(Path(second).iterdir())]
    for a, b in zip(shards(first), shards(second), strict=True):
        assert a.schema.equals(b.schema, check_metadata=True)
        assert a.equals(b)
    for name in ("dataset.json", "rejected.jsonl"):
        assert (Path(first) / name).read_bytes() == (Path(second) / name).read_bytes()


BOTH = {"text_ids_column": "ids", "other_column": "pair"}


@pytest.mark.parametrize(
    ("form", "kind", "layout", "options"),
    [
        *((form, "two", "valle", IDS) for form in FORMS),
        *((form, "units", "spirit-lm", {"parameters": {"order": "text-speech"}}) for form in FORMS),
        ("hf", "two", "moshi", BOTH),
        ("megatron", "two", "moshi", BOTH),
        ("parquet", "snac", "orpheus", IDS),
        ("megatron", "units", "cosyvoice2", IDS),
        ("jsonl", "units", "omniflatten", BOTH),
        ("parquet", "units", "minicpm-o", {"no_text": True, "other_column": "pair"}),
    ],
)
def test_every_row_comes_back(tmp_path: Path, form: str, kind: str, layout: str, options: dict[str, Any]) -> None:
    source = make(tmp_path / "tokens", kind)
    out, back = str(tmp_path / "out"), str(tmp_path / "back")
    todo = PackOptions(source, out, layout, form, **options)
    if (layout, form) == ("spirit-lm", "megatron"):
        with pytest.raises(CorpusError, match=r"the layout makes text .'string'., and Megatron's files hold ids"):
            pack(todo)
        assert not Path(out).exists()
        assert [path.name for path in tmp_path.iterdir()] == ["tokens"]
        return
    counted: list[tuple[int, float]] = []
    done = pack(todo, lambda *clips: counted.append(clips))
    assert (done.clips, sum(clips for clips, _ in counted)) == (24, 24)
    seconds = sum(sum(table["duration"].to_pylist()) for table in shards(source))
    assert sum(sound for _, sound in counted) == pytest.approx(seconds)
    assert unpack(out, back, lambda *clips: counted.append(clips)).clips == 24
    assert np.sum(counted, axis=0) == pytest.approx([48, 2 * seconds])
    assert_same_shards(source, back)


def test_the_sequences_are_the_layout_s(tmp_path: Path) -> None:
    source = make(tmp_path / "tokens", "units")
    done = pack(
        PackOptions(source, str(tmp_path / "out"), "glm-4-voice", "parquet", {"audio_offset": "1000"}, text_ids_column="ids")
    )
    packed = open_packed(tmp_path / "out")
    assert (len(packed), packed.layout.to_dict()["audio_offset"]) == (24, 1000)
    rows = [row for table in shards(source) for row in table.to_pylist()]
    for row, said, one in zip(rows, packed.utterances(), packed, strict=True):
        assert said.codes[0].tolist() == row["codes"][0]
        assert said.text.tolist() == (json.loads(row["ids"]) if row["ids"] else [])
        assert one["ids"].tolist()[:1] == said.text.tolist()[:1] or not len(said.text)
    assert done.longest == max(len(one["ids"]) for one in packed)
    assert done.steps == sum(len(one["ids"]) for one in packed)
    assert done.vocabulary == 7561
    assert done.without_text == sum(row["ids"] is None for row in rows)
    table = pq.read_table(tmp_path / "out/part-00000.parquet")
    assert table.column_names[:3] == ["id", "source_ids", "ids"] or table.column_names[:2] == ["id", "ids"]
    assert table["source_ids"].to_pylist() == [row["ids"] for row in rows[:17]]


def test_megatron_byte_by_byte(tmp_path: Path) -> None:
    """The published header: MMIDIDX, version 1, type, counts; sizes, starts in bytes, documents. Ids one after the other."""
    for fill, code, item in ((0, 8, "<H"), (70000, 4, "<i")):
        source = make(tmp_path / f"tokens{code}", "units")
        out = tmp_path / f"out{code}"
        pack(PackOptions(source, str(out), "flat", "megatron", {"offset": str(fill)}))
        clips = [row["codes"][0] for table in shards(source) for row in table.to_pylist()]
        sizes = [len(clip) for clip in clips]
        width = struct.calcsize(item)
        wanted = b"MMIDIDX\x00\x00" + struct.pack("<Q", 1) + struct.pack("<B", code) + struct.pack("<QQ", 24, 25)
        wanted += b"".join(struct.pack("<i", size) for size in sizes)
        wanted += b"".join(struct.pack("<q", width * sum(sizes[:i])) for i in range(24))
        wanted += b"".join(struct.pack("<q", i) for i in range(25))
        assert (out / "ids.idx").read_bytes() == wanted
        assert (out / "ids.bin").read_bytes() == b"".join(struct.pack(item, c + fill) for clip in clips for c in clip)


def test_datasets_opens_it(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    source = make(tmp_path / "tokens")
    pack(PackOptions(source, str(tmp_path / "out"), "parallel", "hf"))
    found = datasets.load_from_disk(str(tmp_path / "out"))
    rows = [row for table in shards(source) for row in table.to_pylist()]
    assert found["id"][:] == [row["id"] for row in rows]
    assert found[5]["source_ids"] == rows[5]["ids"]
    assert [list(column) for column in zip(*found[5]["ids"], strict=True)] == rows[5]["codes"]
    make_shards(tmp_path / "empty", [])
    pack(PackOptions(str(tmp_path / "empty"), str(tmp_path / "none"), "parallel", "hf"))
    assert len(datasets.load_from_disk(str(tmp_path / "none"))) == 0


@pytest.mark.slow  # its import alone
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its files open
def test_webdataset_reads_it(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    source = make(tmp_path / "tokens")
    pack(PackOptions(source, str(tmp_path / "out"), "delay", "webdataset"))
    tars = [str(path) for path in sorted((tmp_path / "out").glob("*.tar"))]
    samples = list(webdataset.WebDataset(tars, shardshuffle=False).decode())
    packed = list(open_packed(tmp_path / "out"))
    assert [sample["json"]["id"] for sample in samples] == [f"clip/{i:05d}" for i in range(24)]
    assert all(np.array_equal(sample["ids.npy"], one["ids"]) for sample, one in zip(samples, packed, strict=True))


def test_json_lines(tmp_path: Path) -> None:
    source = make(tmp_path / "tokens")
    pack(PackOptions(source, str(tmp_path / "out"), "parallel", "jsonl"))
    rows = shards(source)[0].to_pylist()
    for line, row in zip((tmp_path / "out/part-00000.jsonl").read_text().splitlines(), rows, strict=True):
        data = json.loads(line)
        assert [list(frame) for frame in zip(*row["codes"], strict=True)] == data["ids"]
        assert data["score"] == row["score"]


# ---------------------------------------------------------------------- text
@pytest.fixture
def tokenizer(tmp_path: Path, transformers: ModuleType) -> str:
    """Word by word, with a begin and the first audio token of GLM-4-Voice."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["[UNK]", "<s>", "one", "two", "three", "four", "five", "s0", "[", "]", "<|audio_0|>"]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    folder = tmp_path / "words"
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", bos_token="<s>").save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("kind", "layout", "template", "wanted"),
    [
        ("units", "cosyvoice2", None, [2, 3, 4]),
        ("snac", "orpheus", None, [1, 2, 3, 4]),
        ("units", "minicpm-o", "[ {speaker} ] {text}", [8, 7, 9, 2, 3, 4]),
        ("units", "glm-4-voice", None, [2, 3, 4]),
    ],
)
def test_text_from_a_tokenizer(
    tmp_path: Path, tokenizer: str, kind: str, layout: str, template: str | None, wanted: list[int]
) -> None:
    source = make(tmp_path / "tokens", kind)
    out = tmp_path / "out"
    pack(PackOptions(source, str(out), layout, text_tokenizer=tokenizer, text_template=template))
    packed = open_packed(out)
    rows = [row for table in shards(source) for row in table.to_pylist()]
    number = next(
        i for i, row in enumerate(rows) if row["text"] and row["text"].startswith("one two three") and row["speaker"] == "s0"
    )
    found = list(packed.utterances())
    assert found[number].text.tolist()[: len(wanted)] == wanted
    assert all(not len(said.text) for said, row in zip(found, rows, strict=True) if row["text"] is None)
    text = packed.about["text"]
    assert (text["vocabulary"], "tokenizer.json" in text["sha256"]) == (11, True)
    if layout == "glm-4-voice":
        assert packed.layout.to_dict()["audio_offset"] == 10
    unpack(str(out), str(tmp_path / "back"))
    assert_same_shards(source, tmp_path / "back")


def test_no_code_of_a_tokenizer_s_folder_runs(tmp_path: Path, transformers: ModuleType) -> None:
    folder = tmp_path / "evil"
    folder.mkdir()
    mark = tmp_path / "ran"
    (folder / "tok.py").write_text(f"open({str(mark)!r}, 'w')\nclass Tok: pass\n")
    auto = {"auto_map": {"AutoTokenizer": ["tok.Tok", None]}, "tokenizer_class": "Tok"}
    (folder / "tokenizer_config.json").write_text(json.dumps(auto))
    with pytest.raises(CorpusError, match="holds no text tokenizer that can be read"):
        pack(PackOptions(make(tmp_path / "tokens", "units"), str(tmp_path / "out"), "cosyvoice2", text_tokenizer=str(folder)))
    assert not mark.exists()


# ---------------------------------------------------------------------- what cannot be packed
@pytest.mark.parametrize(
    ("layout", "options", "message"),
    [
        ("orpheus", IDS, "orpheus needs 2 to 8 streams"),
        ("orpheu", {}, "no layout 'orpheu'"),
        ("valle", {}, "valle places text: name a text tokenizer's folder .--text-tokenizer"),
        ("valle", {"text_ids_column": "nothing"}, "no column 'nothing'; they have id, codes"),
        ("valle", {"text_ids_column": "take"}, "the column 'take' is int64; expected lists of whole numbers"),
        ("valle", {"text_ids_column": "text"}, "clip 'clip/00001': 'one' in the column 'text' is no list"),
        ("valle", {"text_tokenizer": "nowhere"}, "the text tokenizer 'nowhere' is no folder"),
        ("flat", {"form": "zip"}, "no output form 'zip'; there are parquet, hf"),
        ("flat", {"other_column": "pair"}, "flat has no place for a second speaker; leave out"),
        ("moshi", {"other_column": "text", "no_text": True}, "the other speaker's clip '.*' .column 'text'. is not among"),
        ("flat", {"parameters": {"sride": 1}}, "flat has no parameter 'sride'; it has offset, stride"),
    ],
)
def test_wrong_options(tmp_path: Path, layout: str, options: dict[str, Any], message: str) -> None:
    source = make(tmp_path / "tokens")
    with pytest.raises(VoxzooError, match=message):
        pack(PackOptions(source, str(tmp_path / "out"), layout, **options))
    assert [path.name for path in tmp_path.iterdir()] == ["tokens"]


def test_ids_outside_the_vocabulary_name_the_clip(tmp_path: Path) -> None:
    source = make(tmp_path / "tokens", "units")
    options = PackOptions(source, str(tmp_path / "out"), "glm-4-voice", parameters={"audio_offset": "7"}, **IDS)
    with pytest.raises(TokensError, match="clip 'clip/00001': text id 11 is outside the vocabulary; expected 0 to 6"):
        pack(options)


def test_a_layout_that_loses_something_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make(tmp_path / "tokens", "units")
    monkeypatch.setattr(Flat, "_pack", lambda self, said: {"ids": said.codes[0] // 2})
    with pytest.raises(CorpusError, match=r"the layout flat does not give clip '.*' back"):
        pack(PackOptions(source, str(tmp_path / "out"), "flat"))


def test_columns_that_json_cannot_hold(tmp_path: Path) -> None:
    fields = [*FIELDS[:2], ("when", pa.timestamp("ms"), False)]
    source = make(tmp_path / "tokens", fields=fields)
    for form in ("jsonl", "webdataset"):
        with pytest.raises(CorpusError, match=f"the column 'when' is timestamp.ms., which {form} cannot hold"):
            pack(PackOptions(source, str(tmp_path / "out"), "flat", form))
    pack(PackOptions(source, str(tmp_path / "out"), "flat", "megatron"))
    unpack(str(tmp_path / "out"), str(tmp_path / "back"))
    assert_same_shards(source, tmp_path / "back")


def test_folders_that_exist_and_runs_that_did_not_end(tmp_path: Path) -> None:
    source = make(tmp_path / "tokens")
    with pytest.raises(CorpusError, match="tokens' exists; name a new or empty folder"):
        pack(PackOptions(source, source, "flat"))
    (tmp_path / "empty").mkdir()
    pack(PackOptions(source, str(tmp_path / "empty"), "flat"))
    with pytest.raises(CorpusError, match="exists; name a new or empty folder"):
        unpack(str(tmp_path / "empty"), source)
    with pytest.raises(CorpusError, match="not a folder of packed sequences"):
        unpack(source, str(tmp_path / "back"))
    about = json.loads((tmp_path / "tokens/dataset.json").read_text())
    (tmp_path / "tokens/dataset.json").write_text(json.dumps({**about, "complete": False}))
    with pytest.raises(CorpusError, match="is not complete: let `voxzoo tokenize` finish it"):
        pack(PackOptions(source, str(tmp_path / "out"), "flat"))


@pytest.mark.parametrize(
    ("form", "name", "message"),
    [
        ("megatron", "ids.bin", r"ids.bin' has \d+ bytes, its index speaks of \d+; it was cut off"),
        ("megatron", "ids.idx", r"ids.idx' is damaged: it has \d+ bytes, \d+ were expected"),
        ("megatron", "rows/part-00000.parquet", "is damaged"),
        ("parquet", "part-00000.parquet", "is damaged"),
        ("hf", "data-00000-of-00003.arrow", "is damaged"),
        ("jsonl", "part-00000.jsonl", "is damaged"),
        ("webdataset", "part-00000.tar", "is damaged"),
    ],
)
def test_files_that_were_cut_off(tmp_path: Path, form: str, name: str, message: str) -> None:
    pack(PackOptions(make(tmp_path / "tokens"), str(tmp_path / "out"), "flat", form))
    path = tmp_path / "out" / name
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(TokensError, match=message):
        unpack(str(tmp_path / "out"), str(tmp_path / "back"))
    assert not (tmp_path / "back").exists()


def test_lines_that_are_missing(tmp_path: Path) -> None:
    pack(PackOptions(make(tmp_path / "tokens"), str(tmp_path / "out"), "flat", "jsonl"))
    path = tmp_path / "out/part-00000.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(TokensError, match=r"part 0 of '.*' has 16 rows; 17 were packed"):
        unpack(str(tmp_path / "out"), str(tmp_path / "back"))
    changed = json.loads(lines[3])
    changed["ids"][0] = 99999
    path.write_text("\n".join([*lines[:3], json.dumps(changed), *lines[4:]]) + "\n")
    with pytest.raises(TokensError, match="clip 'clip/00003': code of stream 0 99999 is outside the vocabulary"):
        unpack(str(tmp_path / "out"), str(tmp_path / "back"))


@pytest.mark.slow  # models
@pytest.mark.parametrize(
    ("model", "layout", "form"), [("vox-rvq-16k", "delay", "megatron"), ("vox-snac-16k", "mini-omni", "webdataset")]
)
def test_speech_sounds_the_same_afterwards(tmp_path: Path, model: str, layout: str, form: str) -> None:
    speech = Path(str(voxzoo.__file__)).parent / "bundled/demo"
    tokenize(Options(source=str(speech), model=model, output=str(tmp_path / "tokens"), workers=0, quiet=True))
    pack(PackOptions(str(tmp_path / "tokens"), str(tmp_path / "out"), layout, form, no_text=True))
    unpack(str(tmp_path / "out"), str(tmp_path / "back"))
    codec = voxzoo.load(model)
    before, after = voxzoo.open(tmp_path / "tokens"), voxzoo.open(tmp_path / "back")
    assert len(before) == len(after) > 0
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(codec.decode(one.tokens()).samples, codec.decode(other.tokens()).samples)


# ---------------------------------------------------------------------- the verbs
def test_the_verbs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tuple(layout_names()) == verb.LAYOUTS
    assert tuple(FORMS) == verb.FORMS
    source, out, back = make(tmp_path / "tokens"), str(tmp_path / "out"), str(tmp_path / "back")
    assert main(["pack", source, "--layout", "flat", "-o", out, "--format", "megatron", "--set", "offset=5", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["clips"], done["layout"], done["form"], done["vocabulary"]) == (24, "flat", "megatron", 5 + 1024 * 2)
    assert main(["unpack", out, "-o", back]) == 0
    assert capsys.readouterr().out.startswith(f"{back}: 24 clips, ")
    assert_same_shards(source, back)
    assert main(["pack", source, "--layout", "flat", "-o", out]) == 2
    assert "exists; name a new or empty folder" in capsys.readouterr().err
    for settings in (["--set", "offset"], ["--set", "a=1", "--set", "a=2"]):
        try:
            status = main(["pack", source, "--layout", "flat", "-o", str(tmp_path / "x"), *settings])
        except SystemExit as error:
            status = int(error.code or 0)
        assert status == 2
    assert main(["pack", source, "--layout", "parallel", "-o", str(tmp_path / "p")]) == 0
    assert "24 clips as parallel" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["pack", "--layouts"])
    listed = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(f"{name}: " in listed for name in layout_names())
    assert "acoustic_delay=1" in listed
