"""Intelligibility: a scripted recogniser against written-out rates, pocketsphinx, and a tiny random Whisper from a folder."""

from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxzoo.core.audio import Audio
from voxzoo.eval import recognition
from voxzoo.eval.metric import MetricError, Original, Pair
from voxzoo.eval.recognition import intelligibility, open_pocketsphinx, open_whisper, recognise_pocketsphinx, recognise_whisper

RATE = 16000
pytest.importorskip("jiwer")


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    with resources.as_file(resources.files("voxzoo") / "bundled/demo/speech.wav") as path:
        return Audio.read(path, RATE).samples


def noise(level: float = 0.1, seconds: float = 1.0) -> np.ndarray:
    return np.random.default_rng(0).normal(0, level, int(seconds * RATE)).astype(np.float32)


class Scripted:
    """A recogniser that knows clips by their level, and counts what it hears."""

    def __init__(self, **texts: str) -> None:
        self.texts, self.heard = {float(k[1:]) / 100: v for k, v in texts.items()}, 0
        self.languages: list[str | None] = []

    def __call__(self, samples: np.ndarray, language: str | None) -> str:
        self.heard += 1
        self.languages.append(language)
        return self.texts[min(self.texts, key=lambda level: abs(level - samples.std()))]


def test_rates_against_the_text_and_against_the_original() -> None:
    scripted = Scripted(_10="the cat sat on a mat", _5="a cat sat", _2="The cat sat on the mat!")
    measure = intelligibility(scripted)
    original = Original(Audio(noise(0.1), RATE), RATE, text="The cat sat on the mat.", language="en")
    own = measure(Pair(original, original.samples))
    assert own == pytest.approx({"wer": 1 / 6, "words": 6, "cer": 3 / 22, "characters": 22, "dwer": 0.0, "heard": 6})
    assert measure(Pair(original, noise(0.05)))["wer"] == pytest.approx(4 / 6)
    assert measure(Pair(original, noise(0.05)))["dwer"] == pytest.approx(4 / 6)
    assert measure(Pair(original, noise(0.02)))["wer"] == 0.0
    assert measure(Pair(original, noise(0.02)))["dwer"] == pytest.approx(1 / 6)
    assert scripted.heard == 5  # the original once
    assert set(scripted.languages) == {"en"}


def test_without_text_the_rate_against_the_original_is_there() -> None:
    scripted = Scripted(_10="one two", _5="one")
    for text, reason in ((None, "the clip has no text"), (" ", "the clip has no text"), ("...", "the text has no words")):
        found = intelligibility(scripted)(Pair(Original(Audio(noise(), RATE), RATE, text=text), noise(0.05)))
        assert found == {"wer": reason, "cer": reason, "dwer": 0.5, "heard": 2.0}


def test_scripts_without_spaces_have_characters_only() -> None:
    scripted = Scripted(_10="今天 天气好", _5="今天 天七")
    original = Original(Audio(noise(), RATE), RATE, text="今天天气好。", language="zh")
    found = intelligibility(scripted, prefix="whisper_")(Pair(original, noise(0.05)))
    assert found["whisper_cer"] == pytest.approx(2 / 5)
    assert found["whisper_characters"] == 5
    assert "without spaces" in str(found["whisper_wer"])
    assert "without spaces" in str(found["whisper_dwer"])
    assert "whisper_words" not in found


def test_an_original_in_which_nothing_is_heard() -> None:
    scripted = Scripted(_10="", _5="ghost words")
    found = intelligibility(scripted)(Pair(Original(Audio(noise(), RATE), RATE, text="a b"), noise(0.05)))
    assert found["dwer"] == "nothing is recognised in the original"
    assert found["wer"] == 1.0
    silent = Original(Audio(np.zeros(RATE, np.float32), RATE), RATE, text="a b")
    assert intelligibility(scripted)(Pair(silent, noise(0.05)))["dwer"] == "the original is silent"


def test_other_languages_are_missing_with_their_reason() -> None:
    measure = intelligibility(Scripted(_10="hello"), english_only=True)
    with pytest.raises(MetricError, match="for English, the clip is 'de'"):
        measure(Pair(Original(Audio(noise(), RATE), RATE, text="hallo", language="de"), noise()))
    with pytest.raises(MetricError, match="text is not English"):
        measure(Pair(Original(Audio(noise(), RATE), RATE, text="今天天气好"), noise()))
    assert measure(Pair(Original(Audio(noise(), RATE), RATE, text="hello", language="en-US"), noise()))["wer"] == 0.0


# ---------------------------------------------------------------------- pocketsphinx
def test_pocketsphinx_does_not_depend_on_what_was_heard_before(speech: np.ndarray) -> None:
    pytest.importorskip("pocketsphinx")
    clip, other = speech[: 3 * RATE // 2], 0.2 * speech[5 * RATE : 11 * RATE // 2] + noise(0.01, 0.5)
    before = recognise_pocketsphinx(clip)
    mean = recognition._pocketsphinx().get_cmn()
    recognise_pocketsphinx(other)
    assert recognition._pocketsphinx().get_cmn() != mean  # there is a state that could leak
    assert recognise_pocketsphinx(clip) == before
    assert len(before.split()) > 1


def test_the_pocketsphinx_family(speech: np.ndarray) -> None:
    pytest.importorskip("pocketsphinx")
    measure = open_pocketsphinx(None)
    clip = speech[: 3 * RATE // 2]
    original = Original(Audio(clip, RATE), RATE, text=recognise_pocketsphinx(clip))
    own = measure(Pair(original, clip))
    assert own["wer"] == own["cer"] == own["dwer"] == 0.0
    assert own["words"] == own["heard"] > 1
    masked = measure(Pair(original, (0.1 * clip + noise(0.1, 1.5)).astype(np.float32)))
    assert masked["wer"] == masked["dwer"] > 0.5


def test_what_cannot_be_heard_is_missing_with_its_reason(speech: np.ndarray) -> None:
    pytest.importorskip("pocketsphinx")
    measure = open_pocketsphinx(None)
    original = Original(Audio(speech, RATE), RATE, text="anything")
    with pytest.raises(MetricError, match="decoded sound is not finite"):
        measure(Pair(original, np.full(RATE, np.nan, np.float32)))
    with pytest.raises(MetricError, match="decoded sound is silent"):
        measure(Pair(original, np.zeros(RATE, np.float32)))
    with pytest.raises(MetricError, match=r"shorter than 0\.25 s"):
        measure(Pair(original, speech[:1600]))


# ---------------------------------------------------------------------- Whisper
@pytest.fixture
def folder(tmp_path: Path, transformers: Any) -> str:
    """A Whisper of one layer with random weights, in the form its checkpoints are published in."""
    import torch
    from tokenizers.pre_tokenizers import ByteLevel

    specials = "endoftext,startoftranscript,en,de,translate,transcribe,startoflm,startofprev,nospeech,notimestamps"
    names = [f"<|{name}|>" for name in specials.split(",")] + [f"<|{0.02 * i:.2f}|>" for i in range(1501)]
    ids = {name: 256 + i for i, name in enumerate(names)}
    vocabulary = {c: i for i, c in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = transformers.WhisperTokenizer(vocab={**vocabulary, names[0]: 256}, merges=[])
    tokenizer.add_tokens(names[1:], special_tokens=True)
    assert {name: tokenizer.convert_tokens_to_ids(name) for name in names} == ids
    ends = {"decoder_start_token_id": 257, "bos_token_id": 256, "eos_token_id": 256, "pad_token_id": 256}
    small = {f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in
             (("layers", 1), ("attention_heads", 2), ("ffn_dim", 32))}  # fmt: skip
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        max_target_positions=32,
        init_std=0.5,
        begin_suppress_tokens=None,
        **small,
        **ends,
    )
    model = transformers.WhisperForConditionalGeneration(config)
    model.generation_config = transformers.GenerationConfig(
        **ends, max_length=16, is_multilingual=True, lang_to_id={f"<|{c}|>": ids[f"<|{c}|>"] for c in ("en", "de")},
        task_to_id={"translate": ids["<|translate|>"], "transcribe": ids["<|transcribe|>"]},
        no_timestamps_token_id=ids["<|notimestamps|>"], prev_sot_token_id=ids["<|startofprev|>"],
        max_initial_timestamp_index=50,
    )  # fmt: skip
    model.half().save_pretrained(tmp_path)  # as large checkpoints are stored
    transformers.WhisperProcessor(transformers.WhisperFeatureExtractor(), tokenizer).save_pretrained(tmp_path)
    return str(tmp_path)


def test_whisper_from_a_folder(folder: str, speech: np.ndarray) -> None:
    text = recognise_whisper(speech, folder, "en")
    assert text
    assert text == recognise_whisper(speech, folder, "en")
    assert str(recognition._whisper(folder)[1].dtype) == "torch.float32"
    assert text != recognise_whisper(noise(0.1), folder, "en")
    measure = open_whisper(folder)
    original = Original(Audio(speech, RATE), RATE, text="some words", language="en")
    own = measure(Pair(original, speech))
    assert set(own) >= {"whisper_wer", "whisper_cer", "whisper_dwer"}
    with pytest.raises(MetricError, match="silent"):
        measure(Pair(original, np.zeros_like(speech)))


def test_whisper_is_told_the_language_it_knows(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, model = recognition._whisper(folder)
    given: list[dict[str, Any]] = []
    generate = model.generate
    monkeypatch.setattr(model, "generate", lambda **kwargs: given.append(kwargs) or generate(**kwargs))
    for language in ("de-DE", "xx", None):
        recognise_whisper(noise(), folder, language)
    assert [call.get("language") for call in given] == ["de", None, None]
    assert all(call["num_beams"] == 1 and call["do_sample"] is False and call["task"] == "transcribe" for call in given)
    recognise_whisper(noise(seconds=31.0), folder, "en")
    assert given[-1]["return_timestamps"] is True
    assert given[-1]["input_features"].shape[-1] == 3100
    model.generation_config.is_multilingual = False
    recognise_whisper(noise(), folder, "en")
    assert "language" not in given[-1]


def test_folders_that_are_no_whisper(tmp_path: Path, transformers: Any) -> None:
    with pytest.raises(MetricError, match=r"has no config\.json"):
        open_whisper(str(tmp_path))
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises(MetricError, match="CTranslate2"):
        open_whisper(str(tmp_path))
    (tmp_path / "model.bin").unlink()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MetricError, match="is not a Whisper folder"):
        open_whisper(str(tmp_path))
