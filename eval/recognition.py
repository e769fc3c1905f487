"""Intelligibility: what a speech recogniser still understands.

The recogniser hears the decoded sound, and the original once for all models. Its transcript is compared with the clip's text
(WER, CER) and with its own transcript of the original (dWER), which needs no text and leaves out most of the recogniser's own
errors. Error rates are pooled: all edits over all words.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import MissingExtraError
from .listening import decoded_at, original_at
from .metric import Measure, MetricError, Original, Pair
from .word_errors import character_errors, is_english, is_unspaced, normalise, word_errors

__all__ = [
    "RATE",
    "Recogniser",
    "intelligibility",
    "open_pocketsphinx",
    "open_whisper",
    "recognise_pocketsphinx",
    "recognise_whisper",
]

RATE = 16000
Recogniser = Callable[[np.ndarray, str | None], str]  # (samples (T,) at 16 kHz, language or None) -> transcript
Values = dict[str, float | str | list[float]]


def recognise_pocketsphinx(samples: np.ndarray) -> str:
    """English words of a clip, by pocketsphinx with the model in its wheel; "" where it hears none.

    The features' mean is taken over the clip alone and the front end starts anew: what was heard before changes nothing.

    Args:
        samples: float (T,) at 16 kHz in [-1, 1].

    Raises:
        MissingExtraError: pocketsphinx is not installed.
    """
    decoder = _pocketsphinx()
    decoder.reinit_feat()
    decoder.start_utt()
    decoder.process_raw(np.round(np.asarray(samples) * 32767.0).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return hypothesis.hypstr if hypothesis else ""


def recognise_whisper(samples: np.ndarray, folder: str, language: str | None = None) -> str:
    """Words of a clip of any length, by a Whisper checkpoint in a local folder of transformers.

    Greedy, without the fallback to sampling; over 30 s window by window, with timestamps, as `generate` does it. `language`
    is passed on where a multilingual model knows it, otherwise the model finds it out.

    Args:
        samples: float (T,) at 16 kHz in [-1, 1].
        folder: as `save_pretrained` writes it, with tokenizer and feature extractor.
        language: code like "en" or "de-DE".

    Raises:
        MetricError: the folder is no such checkpoint, or transformers cannot be imported.
    """
    processor, model = _whisper(folder)
    long = len(samples) > 30 * RATE
    padding = {"truncation": False, "padding": "longest"} if long else {}
    inputs = processor(samples, sampling_rate=RATE, return_tensors="pt", return_attention_mask=True, **padding)
    spoken = _whisper_language(model, language)
    out = model.generate(**inputs, **spoken, num_beams=1, do_sample=False, return_timestamps=long)
    return str(processor.batch_decode(out, skip_special_tokens=True)[0]).strip()


def intelligibility(recognise: Recogniser, prefix: str = "", english_only: bool = False) -> Measure:
    """The measure made of a recogniser: `wer`, `cer`, `dwer`, weighted by `words`, `characters`, `heard`, after `prefix`.

    Raises `MissingExtraError` when jiwer is not installed.
    """

    word_errors("a", "a")  # where jiwer is missing, that is said now and not at the first clip

    def measure(pair: Pair) -> Values:
        original = pair.original
        if english_only:
            _check_english(original)
        language = "en" if english_only else original.language

        def hear(samples: np.ndarray) -> str:
            return normalise(recognise(samples, language), language)

        def hear_original() -> str:
            return original.keep(("heard", recognise), lambda: hear(original_at(original, RATE)))

        decoded = decoded_at(pair, RATE)
        found = hear_original() if np.array_equal(pair.decoded, original.samples) else hear(decoded)
        values = {**_against_text(original.text, language, found), **_against_original(hear_original, found)}
        return {prefix + name: value for name, value in values.items()}

    return measure


def open_pocketsphinx(checkpoint: str | None) -> Measure:
    """The pocketsphinx family of the benchmark."""
    _pocketsphinx()
    return intelligibility(_hear_pocketsphinx, english_only=True)


def open_whisper(checkpoint: str | None) -> Measure:
    """The Whisper family of the benchmark; `checkpoint` is the folder."""
    folder = checkpoint or ""
    _whisper(folder)
    return intelligibility(lambda samples, language: recognise_whisper(samples, folder, language), prefix="whisper_")


def _hear_pocketsphinx(samples: np.ndarray, language: str | None) -> str:
    return recognise_pocketsphinx(samples)


def _check_english(original: Original) -> None:
    if original.language is not None and not is_english(original.language):
        raise MetricError(f"the recogniser is for English, the clip is {original.language!r}")
    if original.language is None and original.text and is_unspaced(original.text):
        raise MetricError("the recogniser is for English, the text is not English")


def _against_text(text: str | None, language: str | None, found: str) -> Values:
    if text is None or not text.strip():
        reason = "the clip has no text"
        return {"wer": reason, "cer": reason}
    wanted = normalise(text, language)
    if not wanted:
        reason = "the text has no words"
        return {"wer": reason, "cer": reason}
    characters = character_errors(wanted, found)
    values: Values = {"cer": characters.rate, "characters": float(characters.length)}
    if is_unspaced(wanted):
        return {**values, "wer": "the text is in a script without spaces between words"}
    words = word_errors(wanted, found)
    return {**values, "wer": words.rate, "words": float(words.length)}


def _against_original(hear_original: Callable[[], str], found: str) -> Values:
    try:
        heard = hear_original()
    except MetricError as error:
        return {"dwer": str(error)}
    if not heard:
        return {"dwer": "nothing is recognised in the original"}
    if is_unspaced(heard):
        return {"dwer": "the transcript is in a script without spaces between words"}
    words = word_errors(heard, found)
    return {"dwer": words.rate, "heard": float(words.length)}


@cache
def _pocketsphinx() -> Any:
    try:
        import pocketsphinx
    except ImportError:
        raise MissingExtraError("pocketsphinx", "eval") from None
    return pocketsphinx.Decoder(samprate=RATE, loglevel="FATAL")


@cache
def _whisper(folder: str) -> tuple[Any, Any]:
    if (Path(folder) / "model.bin").is_file() and not (Path(folder) / "preprocessor_config.json").is_file():
        raise MetricError(f"{folder!r} is a CTranslate2 model: give the Whisper folder of transformers it was made from")
    if not (Path(folder) / "config.json").is_file():
        raise MetricError(f"{folder!r} is not a Whisper folder of transformers: it has no config.json")
    try:
        from transformers import WhisperForConditionalGeneration, WhisperProcessor
        from transformers.utils import logging
    except ImportError:
        raise MetricError("Whisper needs transformers, which is not installed; run: pip install transformers") from None
    except OSError:  # it imports torchaudio where that is installed, and a CUDA build of it does not load without CUDA
        raise MetricError(
            "transformers cannot be imported: the installed torchaudio is not for this torch; uninstall it"
        ) from None
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        processor = WhisperProcessor.from_pretrained(folder, local_files_only=True)
        model = WhisperForConditionalGeneration.from_pretrained(folder, local_files_only=True, dtype="float32")
    except Exception as error:  # transformers raises many kinds
        raise MetricError(f"{folder!r} is not a Whisper folder of transformers: {error}") from None
    return processor, model.eval()


def _whisper_language(model: Any, language: str | None) -> dict[str, str]:
    settings = model.generation_config
    if not getattr(settings, "is_multilingual", True):
        return {}
    code = (language or "").strip().lower().replace("_", "-").partition("-")[0]
    known = f"<|{code}|>" in (getattr(settings, "lang_to_id", None) or {})
    return {"task": "transcribe", **({"language": code} if known else {})}
