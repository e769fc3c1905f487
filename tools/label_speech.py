"""Phones for the recipe `vox-s3-16k`: labels of recorded speech, and made speech whose phones and times are known.

    python tools/label_speech.py label MANIFEST OUT.jsonl
    python tools/label_speech.py speak MANIFEST FOLDER [--english MINUTES] [--mandarin MINUTES]

`label` adds to rows with an English `text` the column `phones` (forced alignment by pocketsphinx), or `labels` (its dictionary)
where the sound does not fit the text; to Mandarin ones `labels`. `speak` reads the texts of the manifest aloud by espeak-ng,
in many voices, tempos and pitches, and writes FOLDER/manifest.jsonl. Both want libespeak-ng, and pypinyin for Mandarin. English
phones are those of CMU's dictionary; Mandarin ones have their names where they are much the same, else espeak's after "zh:".
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from voxzoo import Audio
from voxzoo.core.errors import VoxzooError
from voxzoo.eval.alignments import _decoder, align
from voxzoo.eval.word_errors import normalise

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

SILENCE = "SIL"
SHARED = """p P|b B|t T|d D|k K|g G|f F|s S|m M|n N|l L|w W|N NG|h HH|j Y|S SH"""
ENGLISH = """v V|z Z|r R|D DH|T TH|Z ZH|x HH|tS CH|dZ JH|r- R|t# T|t2 T|@L AH L|l# L|n- N|m- M|w# W|? SIL|_ SIL
@ AH|a# AH|@2 AH|@5 AH|@- AH|V AH|I IH|I2 IH|I# IH|i IY|i: IY|I: IY|E EH|E2 EH|a AE|aa AE|A: AA|A AA|0 AA|O2 AA|O AO|O: AO
3 ER|3: ER|U UH|u UW|u: UW|eI EY|aI AY|aI2 AY|OI OY|aU AW|oU OW|A@ AA R|O@ AO R|o@ AO R|e@ EH R|i@ IH R|i@3 IH R|U@ UH R
aI@ AY ER|aI3 AY ER|aU@ AW ER|VR AH R|IR IH R"""
BASES = ("en-us", "en", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbcwmd")
VARIANTS = """m1 m2 m4 m6 m8 f1 f5 klatt2 klatt4 croak Andy Annie Gene grandma grandpa iven john linda Michael Mario Denis steph
antonio belinda edward boris"""
RATE, PITCH, RANGE = 1, 3, 4  # of espeak_SetParameter
Row = dict[str, Any]
Naming = Callable[[str], list[str] | None]


def table(text: str) -> dict[str, list[str]]:
    """espeak's phones -> CMU's."""
    rows = [row.split() for row in re.split(r"[|\n]", text)]
    return {row[0]: row[1:] for row in rows}


CONSONANTS = table(SHARED)
PHONES = CONSONANTS | table(ENGLISH)


def english(name: str) -> list[str] | None:
    """espeak's phone as CMU's, two where it is two there; None for one that is not known."""
    return PHONES.get(name)


def mandarin(name: str) -> list[str] | None:
    """espeak's phone without tone; nothing for a change of language."""
    name = re.sub(r"\d+$", "", name)
    return [SILENCE] if name == "_" else [] if name.startswith("(") else [*CONSONANTS.get(name, [f"zh:{name}"])]


def pinyin(text: str) -> str:
    """Syllables with the number of their tone, as espeak's voice reads them."""
    from pypinyin import Style, lazy_pinyin

    syllables = lazy_pinyin(text, style=Style.TONE3, neutral_tone_with_five=True)
    return " ".join(s for s in syllables if re.fullmatch(r"[a-zü]+\d?", s))


def spoken(
    voice: str, text: str, naming: Naming, rate: int = 170, pitch: int = 50, spread: int = 50
) -> tuple[Audio, list[Any]] | None:
    """Sound at 16 kHz and its phones [start, end, label]; None where a phone is not known."""
    import espeak

    engine = espeak._library()
    if engine is None:
        raise SystemExit("libespeak-ng is not installed")
    for parameter, value in ((RATE, rate), (PITCH, pitch), (RANGE, spread)):
        engine.library.espeak_SetParameter(parameter, value, 0)
    samples, begins = engine.speak(voice, text)
    phones: list[Any] = []
    for start, end, name in espeak._phones(begins, engine.rate, len(samples)):
        labels = naming(name)
        if labels is None:
            return None
        step = (end - start) / max(1, len(labels))
        phones += [[round(start + i * step, 3), round(start + (i + 1) * step, 3), x] for i, x in enumerate(labels)]
    return Audio(samples.astype(np.float32) / 32768, engine.rate).resample(16000), phones


def spelled(text: str) -> list[str]:
    """Phones of the words by pocketsphinx's dictionary; none where it lacks one of them."""
    found = [_decoder().lookup_word(word) for word in normalise(text, "en").split()]
    return [] if None in found else " ".join(found).split()


def labelled(row: Row, folder: Path) -> Row:
    """A row with what is known of its phones; as it is where nothing is."""
    text = row.get("text")
    if text and row.get("lang") == "zh" and not re.search("[A-Za-z]", text):
        found = spoken("cmn-latn-pinyin", pinyin(text), mandarin)
        return row | {"labels": [label for _, _, label in found[1] if label != SILENCE]} if found else row
    if not text or row.get("lang") != "en":
        return row
    try:
        phones = align(Audio.read(folder / row["path"], 16000), text)
        return row | {"phones": [[p.start, p.end, SILENCE if p.label.startswith("+") else p.label] for p in phones]}
    except VoxzooError:
        labels = spelled(text)
        return row | {"labels": labels} if labels else row


def speak(rows: list[Row], folder: Path, minutes: dict[str, float]) -> None:
    """Made speech of the rows' texts."""
    draw = random.Random(7)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "manifest.jsonl", "w", encoding="utf-8") as out:
        for lang, wanted in minutes.items():
            texts = sorted({row["text"] for row in rows if row.get("text") and row.get("lang") == lang})
            done, i = 0.0, 0
            while texts and done < 60 * wanted:
                text, variant = texts[i % len(texts)], draw.choice(VARIANTS.split())
                base = draw.choice(BASES) if lang == "en" else "cmn-latn-pinyin"
                i += 1
                manner = (draw.randint(120, 230), draw.randint(15, 90), draw.randint(20, 80))
                naming = english if lang == "en" else mandarin
                made = spoken(f"{base}+{variant}", text if lang == "en" else pinyin(text), naming, *manner)
                if made is None:
                    continue
                made[0].write(folder / f"{lang}-{i:05d}.flac")
                row = {"path": f"{lang}-{i:05d}.flac", "speaker": f"espeak-{variant}-{base}", "lang": lang, "text": text}
                out.write(json.dumps(row | {"phones": made[1]}, ensure_ascii=False) + "\n")
                done += made[0].duration


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("label", "speak"))
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--english", type=float, default=70.0, help="minutes")
    parser.add_argument("--mandarin", type=float, default=20.0, help="minutes")
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.manifest.read_text(encoding="utf-8").splitlines() if line.strip()]
    if args.task == "speak":
        speak(rows, args.out, {"en": args.english, "zh": args.mandarin})
        return
    with open(args.out, "w", encoding="utf-8") as out:
        for row in rows:
            path = str((args.manifest.parent / row["path"]).resolve())
            out.write(json.dumps(labelled(row, args.manifest.parent) | {"path": path}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
