"""What is left of speech after each stage of a semantic tokenizer's way back: the vocoder, then tokens spoken by the flow.

    python benchmarks/spoken_tokens.py MANIFEST [-m vox-s3-16k] [--lang en] [--clips 40] [--steps 10] [--guidance 0.7]

Of each clip of the manifest in --lang four sounds are scored: the original; the vocoder's copy (mel and back); tokens in the
speaker's own voice, taken from another clip of that speaker where there is one and from the clip itself elsewhere; the tokens
in the default voice. Printed are means over clips, rates pooled over words:

    WER         of pocketsphinx against the text, of the clips that have one
    dWER        against what pocketsphinx reads off the original, of all clips
    DNSMOS      P.808 and P.835 overall (1 to 5)
    similarity  cosine of GE2E speaker embeddings to the original clip (to another clip of the same speaker: the last row)
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

import voxzoo
from voxzoo.core.flow import FlowSettings
from voxzoo.eval.dnsmos import dnsmos_p808, dnsmos_p835
from voxzoo.eval.recognition import recognise_pocketsphinx
from voxzoo.eval.speaker_embedding import embed_ge2e
from voxzoo.eval.speaker_similarity import cosine
from voxzoo.eval.word_errors import Errors, normalise, word_errors

RATE = 16000


def read(manifest: Path, lang: str, most: int) -> list[dict[str, Any]]:
    """Rows with `audio` at 16 kHz and `reference`, the sound that tells the voice."""
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows = [row for row in rows if row.get("lang", lang) == lang]
    rows = [rows[i] for i in sorted(np.random.default_rng(0).permutation(len(rows))[:most])]
    of_speaker = defaultdict(list)
    for row in rows:
        row["audio"] = voxzoo.Audio.read(manifest.parent / row["path"]).resample(RATE)
        of_speaker[row.get("speaker")].append(row)
    for row in rows:
        others = [other for other in of_speaker[row.get("speaker")] if other is not row]
        row["other"] = others[0]["audio"] if others else None
        row["reference"] = row["other"] or row["audio"]
    return rows


def score(sound: np.ndarray, row: dict[str, Any]) -> dict[str, Any]:
    heard = normalise(recognise_pocketsphinx(sound))
    scores: dict[str, Any] = {
        "P.808": dnsmos_p808(sound),
        "P.835": dnsmos_p835(sound)["ovrl"],
        "similarity": cosine(embed_ge2e(sound), row["embedding"]),
    }
    if row["heard"]:
        scores["dWER"] = word_errors(row["heard"], heard)
    if row.get("text"):
        scores["WER"] = word_errors(normalise(row["text"]), heard)
    return scores


def mean(values: list[Any]) -> str:
    if not values:
        return "-"
    if isinstance(values[0], Errors):
        return f"{100 * sum(v.edits for v in values) / sum(v.length for v in values):.1f} %"
    return f"{np.mean(values):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("-m", "--model", default="vox-s3-16k")
    parser.add_argument("--lang", default="en")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--guidance", type=float, default=0.7)
    parser.add_argument("--write", type=Path, help="a folder for the sounds")
    args = parser.parse_args()
    model = voxzoo.load(args.model)
    speech, settings = model.speech, FlowSettings(args.steps, args.guidance)
    table: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for row in read(args.manifest, args.lang, args.clips):
        audio = row["audio"]
        row["embedding"] = embed_ge2e(audio.samples)
        row["heard"] = normalise(recognise_pocketsphinx(audio.samples))
        tokens = model.encode(audio)
        sounds = {
            "original": audio,
            "vocoder alone": speech.vocoder.synthesize(speech.vocoder.mel(audio)),
            "tokens, own voice": speech.decode(tokens, voice=row["reference"], settings=settings),
            "tokens, default voice": speech.decode(tokens, settings=settings),
        }
        for name, sound in sounds.items():
            if args.write:
                args.write.mkdir(parents=True, exist_ok=True)
                sound.write(args.write / f"{row['id']}-{name.replace(', ', '-').replace(' ', '-')}.wav")
            for metric, value in score(sound.resample(RATE).samples, row).items():
                table[name][metric].append(value)
        if row["other"] is not None:
            table["another clip"]["similarity"].append(cosine(embed_ge2e(row["other"].samples), row["embedding"]))
    columns = ("WER", "dWER", "P.808", "P.835", "similarity")
    print(f"{args.model}, {args.steps} steps, guidance {args.guidance:g}, {len(table['original']['similarity'])} clips")
    print(" | ".join(["", *columns]))
    for name, scores in table.items():
        print(" | ".join([name, *(mean(scores[column]) for column in columns)]), flush=True)


if __name__ == "__main__":
    main()
