"""How much of the text is in the tokens: the error rate of characters read off them by a recognizer trained for it.

    python benchmarks/character_error_rate.py --train MANIFEST --test MANIFEST -m MODEL [-m MODEL ...] [--minutes 6] [--lang en]

For each model (a name or folder, of which the first stream is read) the clips with a `text` in --lang are tokenized once, and a
recognizer of the same size is trained for the same number of minutes on the tokens of --train: an embedding, a convolution to
25 frames/s where there are more, two bidirectional LSTM layers of 256, connectionist temporal classification. It reads --test
greedily, without a language model. Printed: edits over characters of the texts (lower case, letters, apostrophes and spaces
only), with a 95 % interval from 1000 bootstrap draws of clips. Compare models of one run; the recognizer sees few hours.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import voxzoo
from voxzoo.eval.bootstrap import interval
from voxzoo.eval.word_errors import character_errors, normalise

LETTERS = " 'abcdefghijklmnopqrstuvwxyz"  # class 0 is CTC's blank
SLOWEST = 25  # frames/s that the recognizer reads
BATCH = 32
WIDTH = 256


@dataclass
class Read:
    """A clip's units and text."""

    units: Tensor
    text: str


def read(manifest: Path, lang: str, model: voxzoo.Model, most: int | None = None) -> list[Read]:
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows = [row for row in rows if row.get("text") and row.get("lang", lang) == lang]
    found = []
    for i in np.random.default_rng(0).permutation(len(rows))[:most]:
        row = rows[i]
        text = "".join(c for c in normalise(row["text"]) if c in LETTERS)
        if text.strip():
            found.append(Read(model.encode(manifest.parent / row["path"], streams=1).codes[0][0], text))
    return found


class Recognizer(nn.Module):
    """Units (B, N) -> log-probabilities of characters (B, N // stride, classes)."""

    def __init__(self, units: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.embed = nn.Embedding(units + 1, WIDTH, padding_idx=units)
        self.conv = nn.Conv1d(WIDTH, WIDTH, max(3, 2 * stride - 1), stride, max(3, 2 * stride - 1) // 2)
        self.lstm = nn.LSTM(WIDTH, WIDTH, 2, batch_first=True, bidirectional=True, dropout=0.2)
        self.out = nn.Linear(2 * WIDTH, len(LETTERS) + 1)

    def forward(self, units: Tensor) -> Tensor:
        x = F.dropout(self.embed(units), 0.2, self.training)
        x = F.gelu(self.conv(x.transpose(1, 2))).transpose(1, 2)
        return self.out(F.dropout(self.lstm(x)[0], 0.2, self.training)).log_softmax(-1)

    def lengths(self, counts: list[int]) -> Tensor:
        return torch.tensor([(n - 1) // self.stride + 1 for n in counts])


def batches(clips: list[Read], rng: np.random.Generator) -> Iterator[list[Read]]:
    """For ever, in random order, clips of like length together."""
    while True:
        order = sorted(range(len(clips)), key=lambda i: len(clips[i].units) * rng.uniform(0.9, 1.1))
        groups = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
        for i in rng.permutation(len(groups)):
            yield [clips[j] for j in groups[i]]


def train(clips: list[Read], units: int, stride: int, minutes: float) -> Recognizer:
    torch.manual_seed(0)
    model = Recognizer(units, stride)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, betas=(0.9, 0.98), weight_decay=0.01)
    began = time.monotonic()
    for batch in batches(clips, np.random.default_rng(0)):
        done = (time.monotonic() - began) / (60 * minutes)
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, 2 * (1 - done))
        logs = model(nn.utils.rnn.pad_sequence([clip.units for clip in batch], True, units))
        targets = torch.tensor([LETTERS.index(c) + 1 for clip in batch for c in clip.text])
        sizes = torch.tensor([len(clip.text) for clip in batch])
        loss = F.ctc_loss(
            logs.transpose(0, 1), targets, model.lengths([len(c.units) for c in batch]), sizes, zero_infinity=True
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


def spelled(best: Tensor) -> str:
    """Repeats merged, blanks dropped."""
    return "".join(LETTERS[c - 1] for c in torch.unique_consecutive(best).tolist() if c)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("-m", "--model", action="append", required=True)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--lang", default="en")
    parser.add_argument("--clips", type=int, default=2500, help="at most so many are trained on")
    args = parser.parse_args()
    for name in args.model:
        model = voxzoo.load(name)
        known, unknown = read(args.train, args.lang, model, args.clips), read(args.test, args.lang, model)
        stride = max(1, round(float(model.facts.frame_rates[0]) / SLOWEST))
        recognizer = train(known, model.facts.codebook_sizes[0], stride, args.minutes)
        with torch.no_grad():
            got = [spelled(recognizer(clip.units[None])[0].argmax(-1)) for clip in unknown]
        errors = [character_errors(clip.text, text) for clip, text in zip(unknown, got, strict=True)]
        rate = interval([e.rate for e in errors], [e.length for e in errors])
        span = f"{rate.mean:.1%} [{rate.low:.1%}, {rate.high:.1%}]"
        print(f"{name:24} {span} of {sum(e.length for e in errors)} characters; trained on {len(known)} clips", flush=True)


if __name__ == "__main__":
    main()
