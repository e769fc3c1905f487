"""Do tokens say what is said, and not who says it? Every measure of it, for several tokenizers, with bootstrap intervals.

    python benchmarks/speaker_invariance.py MANIFEST -m dcspin=vox-dcspin-16k -m kmeans=RUN/kmeans -m s3=vox-s3-16k \\
        [--noise MANIFEST] [--rooms MANIFEST] [--clips 40] [--sentences 40] [--output FILE.json] [--only phones ued ...]

MANIFEST names recordings of speakers that no tokenizer was trained on. Made speech of espeak-ng (tests/espeak.py: eight voices
read the same sentences, times of phones exact) serves where texts must be equal. Of every figure the 95 % interval over clips
follows (sentences, for distances of texts), and * where that of its difference from the first tokenizer is away from 0: by the
bootstrap for means over clips, by a jackknife over groups of clips for information and ABX, which are none.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import espeak

import voxzoo
from voxzoo import Audio
from voxzoo.core.errors import VoxzooError
from voxzoo.core.model import Model
from voxzoo.eval.abx import abx
from voxzoo.eval.additive_noise import coloured_noise_at, recorded_noise_at
from voxzoo.eval.alignments import align
from voxzoo.eval.bootstrap import interval, paired
from voxzoo.eval.edit_distance import deduplicate, levenshtein
from voxzoo.eval.invariance import text_distance
from voxzoo.eval.phonetic import frame_labels, one_silence, phone_content_of_counts, triphones
from voxzoo.eval.probes import histograms, label_information, probe
from voxzoo.eval.reverberation import measured_reverberation, synthetic_reverberation
from voxzoo.eval.time_pitch import pitch, tempo
from voxzoo.eval.transform import Transform
from voxzoo.training.perturb import Strength, perturbed

RATE, GROUPS, CLIP_GROUPS = 16000, 8, 20
Codes = list[np.ndarray]
Figure = tuple[float, float | None, float | None]  # value, and the ends of its interval
Item = tuple[int, Any, np.ndarray, Any]  # group, clip, tokens and span of a triphone


def codes_of(model: Model, sounds: Sequence[np.ndarray]) -> Codes:
    found: Codes = []
    for i in range(0, len(sounds), 8):
        tokens = model.encode([Audio(np.clip(wav, -1, 1), RATE) for wav in sounds[i : i + 8]])
        found += [tokens[j].codes[0][0].numpy() for j in range(len(tokens))]
    return found


class Table:
    """Rows of figures, a column for each tokenizer; differences from the first one."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.rows: dict[str, dict[str, Any]] = {}
        print(f"{'':42}" + "".join(f"{name:>32}" for name in names))

    def row(self, title: str, figures: Sequence[Figure], differences: Sequence[Figure | None] = ()) -> None:
        """Print and keep one row."""
        cells = []
        for i, (value, low, high) in enumerate(figures):
            told = f"{value:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")
            other = differences[i] if i < len(differences) else None
            away = other is not None and other[1] is not None and other[2] is not None and other[1] * other[2] > 0
            cells.append(told + ("*" if away else " "))
        print(f"{title:42}" + "".join(f"{cell:>32}" for cell in cells), flush=True)
        self.rows[title] = {"figures": dict(zip(self.names, figures, strict=True)), "difference": list(differences)}

    def paired_row(self, title: str, values: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> None:
        """Weighted means over the same clips."""
        figures, differences = [], []
        for x, w in zip(values, weights, strict=True):
            found, apart = (
                interval(x.tolist(), w.tolist()),
                paired(x.tolist(), values[0].tolist(), w.tolist(), weights[0].tolist()),
            )
            figures.append((found.mean or 0.0, found.low, found.high))
            differences.append(None if x is values[0] else (apart.difference or 0.0, apart.low, apart.high))
        self.row(title, figures, differences)


def phones(table: Table, what: str, codes: Sequence[Codes], rates: Sequence[float], times: Sequence[Any]) -> None:
    """PNMI, its excess over chance, and phone purity."""
    measures: dict[str, list[tuple[float, np.ndarray]]] = defaultdict(list)
    for clips, rate in zip(codes, rates, strict=True):
        labels = [one_silence(frame_labels(p, len(c), rate)) for p, c in zip(times, clips, strict=True)]
        names, place = np.unique(np.concatenate(labels), return_inverse=True)
        size = max(int(c.max()) for c in clips) + 1
        group = np.repeat(np.arange(len(clips)) % CLIP_GROUPS, [len(c) for c in clips])
        tables = []
        for phone in (place, np.random.default_rng(0).permutation(place)):
            counts = np.zeros((CLIP_GROUPS, size * len(names)))
            np.add.at(counts, (group, np.concatenate(clips) * len(names) + phone), 1)
            whole = counts.sum(0)
            tables.append([phone_content_of_counts(row.reshape(size, -1)) for row in (whole, *(whole - counts))])
        real, chance = tables
        found = {
            "PNMI, higher is better": [c.pnmi for c in real],
            "PNMI above chance": [a.pnmi - b.pnmi for a, b in zip(real, chance, strict=True)],
            "phone purity": [c.phone_purity for c in real],
        }
        for name, values in found.items():
            measures[name].append((values[0], np.array(values[1:])))
    for name, rows in measures.items():
        jackknife_row(table, f"{what}: {name}", rows)


def abx_rows(table: Table, codes: Sequence[Codes], rates: Sequence[float], clips: Sequence[Any]) -> None:
    """ABX of tokens of made speech, lower is better."""
    groups = np.array([clip.sentence for clip in clips]) % GROUPS
    for mode in ("within", "across"):
        rows = []
        for own, rate in zip(codes, rates, strict=True):
            items: list[Item] = []
            for clip, group, row in zip(clips, groups, own, strict=True):
                items += [(group, clip, row[s.first : s.last], s) for s in triphones(clip.phones, len(row), rate)]
            parts = [abx_error([x for x in items if x[0] != group], mode) for group in range(GROUPS)]
            rows.append((abx_error(items, mode), np.array(parts)))
        jackknife_row(table, f"made speech: ABX {mode} speakers", rows)


def abx_error(items: list[Item], mode: Any) -> float:
    told = ([x[2] for x in items], [x[3].label for x in items], [x[1].speaker for x in items], [x[3].context for x in items])
    return abx(*told, mode=mode, distance="equal").error


def jackknife_row(table: Table, title: str, rows: Sequence[tuple[float, np.ndarray]]) -> None:
    """Of each tokenizer the figure, and what it is without each of the groups."""
    (first, without), *others = rows
    differences = [None, *(jackknife(value - first, parts - without) for value, parts in others)]
    table.row(title, [jackknife(*row) for row in rows], differences)


def jackknife(whole: float, parts: np.ndarray) -> Figure:
    spread = 1.96 * float(np.sqrt((len(parts) - 1) / len(parts) * np.square(parts - parts.mean()).sum()))
    return whole, whole - spread, whole + spread


def changes(noise: Sequence[Audio], rooms: Sequence[Audio]) -> list[Transform]:
    def voice(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        out: np.ndarray = perturbed(torch.from_numpy(samples)[None], rate, Strength(), rng)[0].numpy()
        return out

    found = [
        Transform("another voice (as in training)", "pitch, formants and equaliser drawn anew", voice),
        Transform("another voice, mild", "half of the ranges", lambda s, r, g: _mild(s, r, g)),
        *(pitch(semitones) for semitones in (-4, 4)),
        *(tempo(factor) for factor in (0.9, 1.1)),
        *(coloured_noise_at("pink", ratio) for ratio in (20, 10)),
        synthetic_reverberation(0.3),
    ]
    return found + ([recorded_noise_at(noise, 10)] if noise else []) + ([measured_reverberation(rooms)] if rooms else [])


def _mild(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    mild = Strength(formants=1.2, pitch=1.4, spread=1.2, equalizer=6.0)
    out: np.ndarray = perturbed(torch.from_numpy(samples)[None], rate, mild, rng)[0].numpy()
    return out


def edits(clean: Codes, other: Codes) -> tuple[np.ndarray, np.ndarray]:
    """Unit edit distance of each clip and its weight."""
    a, b = ([deduplicate(c) for c in codes] for codes in (clean, other))
    units = np.array([len(c) for c in a], float)
    return levenshtein(a, b) / units, units


def texts(table: Table, codes: Sequence[Codes], clips: Sequence[Any]) -> None:
    """Distance of the same sentence in different voices, over that of different sentences."""
    of_text = defaultdict(list)
    for i, clip in enumerate(clips):
        of_text[clip.sentence].append(i)
    values = []
    for own in codes:
        told = ([c.text for c in clips], [c.speaker for c in clips])
        chance = text_distance(own, *told).different_text or 1.0
        short = [deduplicate(c) for c in own]
        rows = []
        for members in of_text.values():
            pairs = [(a, b) for a in members for b in members if a != b]
            found = levenshtein([short[a] for a, _ in pairs], [short[b] for _, b in pairs]) / [len(short[a]) for a, _ in pairs]
            rows.append(float(np.mean(found)) / chance)
        values.append(np.array(rows))
    ones = [np.ones(len(v)) for v in values]
    table.paired_row("made speech: same text, other voice / chance", values, ones)


def speakers(
    table: Table, what: str, codes: Sequence[Codes], sizes: Sequence[int], names: list[str], groups: list[Any]
) -> None:
    """What a probe reads of the speaker from histograms of tokens, and what one token tells of the speaker."""
    figures = []
    for own, size in zip(codes, sizes, strict=True):
        found = probe(histograms(own, size), names, groups)
        figures.append((found.accuracy, found.low, found.high))
    table.row(f"{what}: speaker probe, chance {found.chance:.3f}", figures)
    told = [label_information(own, names) for own in codes]
    table.row(f"{what}: speaker information above chance", [(one.value - one.shuffled, None, None) for one in told])


def costs(table: Table, models: Sequence[Model], codes: Sequence[Codes], sounds: Sequence[np.ndarray]) -> None:
    """Bits, use of the codebook, speed, and agreement of streams in other chunks."""
    bits, used, even, fast = [], [], [], []
    for model, own in zip(models, codes, strict=True):
        share = np.bincount(np.concatenate(own), minlength=model.facts.codebook_sizes[0]) / sum(map(len, own))
        entropy = -(share[share > 0] * np.log2(share[share > 0])).sum()
        bits.append((float(entropy) * float(model.facts.frame_rates[0]), None, None))
        used.append((float((share > 0).mean()), None, None))
        even.append((float(2**entropy), None, None))
        codes_of(model, sounds[:2])
        began = time.perf_counter()
        codes_of(model, sounds[:16])
        fast.append((sum(map(len, sounds[:16])) / RATE / (time.perf_counter() - began), None, None))
    table.row("bit/s nominal", [(model.facts.bitrate, None, None) for model in models])
    table.row("bit/s after entropy of single tokens", bits)
    table.row("share of codes used", used)
    table.row("perplexity of codes", even)
    table.row(f"x real time, {torch.get_num_threads()} threads", fast)
    for name, model, own in zip(table.names, models, codes, strict=True):
        if hasattr(model, "chunked"):
            told = []
            for seconds in (0.16, 0.32, 0.64, 1.28):
                other = codes_of(model.chunked(seconds), sounds[:16])
                same = sum(int((a == b).sum()) for a, b in zip(own[:16], other, strict=True)) / sum(map(len, own[:16]))
                told.append(f"{seconds:g} s {100 * same:.1f} %")
            print(f"{name}: tokens equal to those offline, by chunk: {', '.join(told)}")


def recordings(manifest: Path, most: int) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    chosen = sorted(np.random.default_rng(0).permutation(len(rows))[:most])
    return [{**rows[i], "wav": Audio.read(manifest.parent / rows[i]["path"]).resample(RATE).samples} for i in chosen]


def aligned(rows: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], Any]]:
    """Rows of English with the times of their phones, where they can be told."""
    found = []
    for row in rows:
        if row.get("lang") == "en" and row.get("text"):
            try:
                found.append((row, align(Audio(row["wav"], RATE), row["text"])))
            except VoxzooError:
                continue
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("-m", "--model", action="append", required=True, metavar="NAME=MODEL")
    parser.add_argument("--noise", type=Path)
    parser.add_argument("--rooms", type=Path)
    parser.add_argument("--clips", type=int, default=40, help="recordings that are disturbed")
    parser.add_argument("--sentences", type=int, default=40)
    parser.add_argument("--only", nargs="+", choices=("phones", "abx", "texts", "speakers", "ued", "costs"))
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    wanted = args.only or ("phones", "abx", "texts", "speakers", "ued", "costs")
    named = dict(given.partition("=")[::2] for given in args.model)
    models = [voxzoo.load(model) for model in named.values()]
    rates = [float(model.facts.frame_rates[0]) for model in models]
    sizes = [model.facts.codebook_sizes[0] for model in models]
    rows = recordings(args.manifest, 10**6)
    made = espeak.corpus(8, args.sentences)
    sounds = [row["wav"] for row in rows]
    real, spoken = [codes_of(m, sounds) for m in models], [codes_of(m, [u.samples for u in made]) for m in models]
    table = Table(list(named))
    if "phones" in wanted:
        phones(table, "made speech", spoken, rates, [u.phones for u in made])
        known = aligned(rows)
        place = {id(row): i for i, row in enumerate(rows)}
        chosen = [[own[place[id(row)]] for row, _ in known] for own in real]
        phones(table, f"{len(known)} recordings", chosen, rates, [times for _, times in known])
    if "abx" in wanted:
        abx_rows(table, spoken, rates, made)
    if "texts" in wanted:
        texts(table, spoken, made)
    if "speakers" in wanted:
        speakers(table, "made speech", spoken, sizes, [u.speaker for u in made], [u.sentence for u in made])
        speakers(table, "recordings", real, sizes, [str(row["speaker"]) for row in rows], list(range(len(rows))))
    if "ued" in wanted:
        sources: list[Callable[[], list[Audio]]] = [
            lambda path=path: [Audio(row["wav"], RATE) for row in recordings(path, 60)] if path else []  # type: ignore[misc]
            for path in (args.noise, args.rooms)
        ]
        few = sorted(np.random.default_rng(1).permutation(len(rows))[: args.clips])
        for change in changes(*(source() for source in sources)):
            heard = [change(Audio(sounds[i], RATE)).samples for i in few]
            found = [edits([own[i] for i in few], codes_of(m, heard)) for m, own in zip(models, real, strict=True)]
            table.paired_row(f"unit edit distance: {change.name}", [f[0] for f in found], [f[1] for f in found])
    if "costs" in wanted:
        costs(table, models, real, sounds)
    if args.output:
        args.output.write_text(json.dumps({"models": named, "rows": table.rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
