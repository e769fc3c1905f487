"""How much of the phones tokens tell: phone-normalised mutual information, phone purity and cluster purity.

W.-N. Hsu et al., "HuBERT: Self-Supervised Speech Representation Learning by Masked Prediction of Hidden Units",
https://arxiv.org/abs/2106.07447, section 4.3; the definitions are those of fairseq's `measure_teacher_quality.py`. All three
rise with the number of codes, even without any content: read them beside the values of shuffled labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..core.errors import TokensError
from .metric import MetricError

__all__ = [
    "SILENCES",
    "Phone",
    "PhoneContent",
    "Span",
    "frame_labels",
    "joint_counts",
    "mutual_information",
    "one_silence",
    "phone_content",
    "phone_content_of_counts",
    "triphones",
]

SILENCES = frozenset(("", "_", "sil", "sp", "spn", "pau", "h#", "epi", "<sil>", "silence", "+spn+", "+nsn+"))


class Phone(NamedTuple):
    """One phone of a clip: from `start` to `end`, in seconds."""

    start: float
    end: float
    label: str


class Span(NamedTuple):
    """A phone with its neighbours: frames `first` to `last` (exclusive) of a stream, and its context (previous, next)."""

    first: int
    last: int
    label: str
    context: tuple[str, str]


@dataclass(frozen=True)
class PhoneContent:
    """What tokens and phones share, over N frames.

    Attributes:
        pnmi: I(phone; token) / H(phone), in [0, 1].
        phone_purity: sum over tokens of the share of frames of its most frequent phone, in (0, 1].
        cluster_purity: sum over phones of the share of frames of its most frequent token, in (0, 1].
        phone_entropy, token_entropy, information: H(phone), H(token), I(phone; token), bits.
        frames, phones, tokens: frames counted, and distinct phones and tokens among them.
    """

    pnmi: float
    phone_purity: float
    cluster_purity: float
    phone_entropy: float
    token_entropy: float
    information: float
    frames: int
    phones: int
    tokens: int


def frame_labels(phones: Sequence[Phone], frames: int, rate: float) -> np.ndarray:
    """Phone of each frame of a stream: str (frames,), "" where no phone is.

    Frame i stands for the time of its centre, (i + 1/2) / rate seconds, and takes the phone with start <= centre < end; of
    phones that overlap, the one that starts last.
    """
    if frames < 0 or rate <= 0:
        raise TokensError(f"frames={frames}, rate={rate}; expected frames >= 0 and a positive rate in Hz")
    if not phones:
        return np.full(frames, "")
    ordered = sorted(phones, key=lambda phone: phone[0])
    starts, ends = np.array([p[0] for p in ordered]), np.array([p[1] for p in ordered])
    names = np.array([*(p[2] for p in ordered), ""])
    centres = (np.arange(frames) + 0.5) / rate
    which = np.searchsorted(starts, centres, side="right") - 1
    inside = (which >= 0) & (centres < ends[which])
    return names[np.where(inside, which, len(ordered))]


def one_silence(labels: np.ndarray) -> np.ndarray:
    """Labels (N,) with every name of silence, and no phone, as "_"."""
    merged: np.ndarray = np.where(np.isin(np.char.lower(labels), list(SILENCES)), "_", labels)
    return merged


def triphones(phones: Sequence[Phone], frames: int, rate: float) -> list[Span]:
    """Phones between two others, with the frames of all three: the items of the ZeroSpeech ABX tasks.

    A frame belongs when its centre (i + 1/2) / rate lies in [start of the previous phone, end of the next one]. Phones that are
    silence or stand beside silence or a gap, and spans without a frame, are left out.
    """
    out = []
    for before, phone, after in zip(phones, phones[1:], phones[2:], strict=False):
        touching = abs(before[1] - phone[0]) < 1e-3 and abs(phone[1] - after[0]) < 1e-3
        if not touching or any(p[2].lower() in SILENCES for p in (before, phone, after)):
            continue
        first = max(0, math.ceil(before[0] * rate - 0.5 - 1e-9))
        last = min(frames, math.floor(after[1] * rate - 0.5 + 1e-9) + 1)
        if last > first:
            out.append(Span(first, last, phone[2], (before[2], after[2])))
    return out


def joint_counts(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """int64 (A, B): how often each distinct value of `first` (N,) meets each of `second` (N,), both in sorted order.

    Raises `MetricError` for no frames, `TokensError` for unequal lengths.
    """
    if len(first) != len(second):
        raise TokensError(f"{len(first)} labels against {len(second)}; expected one of each for each frame")
    if not len(first):
        raise MetricError("no frames to count")
    rows, i = np.unique(first, return_inverse=True)
    columns, j = np.unique(second, return_inverse=True)
    counts = np.bincount(i * len(columns) + j, minlength=len(rows) * len(columns))
    return counts.reshape(len(rows), len(columns))


def mutual_information(counts: np.ndarray) -> float:
    """Bits, the plug-in estimate from joint counts (A, B); biased upwards on few frames."""
    return max(0.0, _entropy(counts.sum(0)) + _entropy(counts.sum(1)) - _entropy(counts.reshape(-1)))


def phone_content(tokens: np.ndarray, phones: np.ndarray) -> PhoneContent:
    """PNMI and purities of tokens (N,) and phones (N,), frame by frame.

    Raises `MetricError` for no frames or one phone only, `TokensError` for unequal lengths.
    """
    return phone_content_of_counts(joint_counts(tokens, phones))


def phone_content_of_counts(counts: np.ndarray) -> PhoneContent:
    """PNMI and purities of joint counts (tokens, phones). Raises `MetricError` when they hold one phone only."""
    counts = np.asarray(counts)
    total = int(counts.sum())
    of_phones, of_tokens = _entropy(counts.sum(0)), _entropy(counts.sum(1))
    if not total or np.count_nonzero(counts.sum(0)) < 2:
        raise MetricError("the frames hold one phone only: its entropy is zero and there is nothing to tell")
    information = mutual_information(counts)
    return PhoneContent(
        pnmi=min(1.0, information / of_phones),
        phone_purity=float(counts.max(1).sum() / total),
        cluster_purity=float(counts.max(0).sum() / total),
        phone_entropy=of_phones,
        token_entropy=of_tokens,
        information=information,
        frames=total,
        phones=int(np.count_nonzero(counts.sum(0))),
        tokens=int(np.count_nonzero(counts.sum(1))),
    )


def _entropy(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())
