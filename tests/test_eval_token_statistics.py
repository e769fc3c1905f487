"""`TokenStatistics` against slow loops and closed forms; parts that add up; what is refused."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.stats

from voxzoo import TokensError
from voxzoo.eval.clip_sample import ClipSample
from voxzoo.eval.pairs import PairTable, across_streams, plan_tables
from voxzoo.eval.token_definitions import DEFINITIONS
from voxzoo.eval.token_statistics import TokenStatistics

SIZES, RATES = (16, 30, 9), (Fraction(25, 2), Fraction(25), Fraction(50))
Clip = list[np.ndarray]


def clips_of(count: int, seed: int = 0) -> list[Clip]:
    """Clips of three streams at 12.5, 25 and 50 Hz, one of them cut short, codes repeating and some dead."""
    rng = np.random.default_rng(seed)
    clips = []
    for _ in range(count):
        n = int(rng.integers(1, 30))
        frames = (n, 2 * n, 4 * n - int(rng.integers(0, 3)))
        clips.append([np.repeat((rng.random(m) ** 2 * (v - 2)).astype(int), 2)[:m] for m, v in zip(frames, SIZES, strict=True)])
    return clips


def statistics(clips: list[Clip], first: int = 0) -> TokenStatistics:
    made = TokenStatistics(SIZES, RATES)
    for number, clip in enumerate(clips, first):
        made.update(clip, number)
    return made


def conditional(pairs: list[tuple[int, int]]) -> float:
    """H(B | A) by its definition."""
    joint, context = Counter(pairs), Counter(a for a, _ in pairs)
    return -sum(n / len(pairs) * math.log2(n / context[a]) for (a, _), n in joint.items())


def test_a_plain_loop_counts_the_same() -> None:
    clips = clips_of(60)
    found = statistics(clips).summary()
    assert found["clips"] == 60
    assert found["tokens"] == sum(len(stream) for clip in clips for stream in clip)
    assert found["seconds"] == pytest.approx(sum(len(clip[0]) for clip in clips) / 12.5)
    for k, stream in enumerate(found["streams"]):
        codes = [clip[k].tolist() for clip in clips]
        flat = list(itertools.chain(*codes))
        counts = Counter(flat)
        assert stream["tokens"] == len(flat)
        assert stream["entropy"] == pytest.approx(scipy.stats.entropy(list(counts.values()), base=2))
        assert stream["perplexity"] == pytest.approx(2 ** stream["entropy"])
        assert (stream["used"], stream["dead"]) == (len(counts), SIZES[k] - len(counts))
        assert stream["usage"] == len(counts) / SIZES[k]
        neighbours = [pair for clip in codes for pair in itertools.pairwise(clip)]
        assert stream["conditional_entropy"] == pytest.approx(conditional(neighbours))
        assert stream["conditional_pairs"] == len(neighbours)
        runs = Counter(len(list(group)) for clip in codes for _, group in itertools.groupby(clip))
        assert stream["run_lengths"] == [[n, runs[n]] for n in sorted(runs)]
        assert stream["mean_run"] == pytest.approx(len(flat) / runs.total())
        assert stream["dedup_rate"] == pytest.approx(float(RATES[k]) * runs.total() / len(flat))
        assert stream["rank_frequency"][0] == [1, max(counts.values())]


def test_streams_at_unequal_rates_are_paired_by_time() -> None:
    clips = clips_of(60)
    found = statistics(clips).summary()["streams"]
    assert found[0]["cross_codebook_entropy"] is None
    for k in (1, 2):
        pairs = [(int(c[k - 1][t // 2]), int(z)) for c in clips for t, z in enumerate(c[k]) if t // 2 < len(c[k - 1])]
        assert found[k]["cross_codebook_entropy"] == pytest.approx(conditional(pairs))
        assert found[k]["cross_codebook_pairs"] == len(pairs)


@pytest.mark.parametrize("ratio", [Fraction(1), Fraction(3, 2), Fraction(2, 3), Fraction(4)])
def test_alignment_of_any_two_rates(ratio: Fraction) -> None:
    lower, upper = [np.arange(5), np.arange(5, 6), np.arange(0)], [np.arange(3), np.arange(3, 9), np.arange(9, 11)]
    wanted = [
        (int(a[math.floor(t * ratio)]), int(z))
        for a, b in zip(lower, upper, strict=True) for t, z in enumerate(b) if math.floor(t * ratio) < len(a)
    ]  # fmt: skip
    flat = [np.concatenate(parts) for parts in (lower, upper)]
    lengths = [np.array([len(part) for part in parts]) for parts in (lower, upper)]
    context, code = across_streams(flat[0], lengths[0], flat[1], lengths[1], ratio)
    assert list(zip(context.tolist(), code.tolist(), strict=True)) == wanted


def test_rates_are_sums_over_streams() -> None:
    found = statistics(clips_of(60)).summary()
    rates, streams = found["rates"], found["streams"]
    assert rates["nominal"] == pytest.approx(12.5 * 4 + 25 * math.log2(30) + 50 * math.log2(9))
    assert rates["packed"] == 12.5 * 4 + 25 * 5 + 50 * 4
    assert rates["entropy"] == pytest.approx(sum(s["rate"] * s["entropy"] for s in streams))
    assert rates["conditional"] == pytest.approx(sum(s["rate"] * s["conditional_entropy"] for s in streams))
    cross = 12.5 * streams[0]["entropy"] + 25 * streams[1]["cross_codebook_entropy"] + 50 * streams[2]["cross_codebook_entropy"]
    assert rates["cross_codebook"] == pytest.approx(cross)
    assert rates["ngram"]["2"] == pytest.approx(sum(s["rate"] * s["ngram"]["2"] for s in streams))


def test_a_markov_chain_has_its_known_entropy_rate() -> None:
    """Codes kept with probability 0.8, else drawn evenly anew: H(Z_t | Z_{t-1}) is known, and enough pairs are not biased."""
    rng, size = np.random.default_rng(0), 8
    made = TokenStatistics([size], [50])
    for _ in range(50):
        fresh = rng.integers(0, size, 2000)
        keep = np.flatnonzero(rng.random(2000) >= 0.8)
        made.update([fresh[np.concatenate([[0], keep])[np.searchsorted(keep, np.arange(2000), side="right")]]])
    stay, move = 0.8 + 0.2 / size, 0.2 / size
    known = -stay * math.log2(stay) - (size - 1) * move * math.log2(move)
    found = made.summary()["streams"][0]
    assert found["conditional_entropy"] == pytest.approx(known, abs=0.02)
    assert found["ngram"]["2"] == pytest.approx(known, abs=0.03)
    assert not found["conditional_biased"]
    assert found["entropy"] == pytest.approx(3, abs=0.01)
    assert found["mean_run"] == pytest.approx(1 / (1 - stay), rel=0.03)


def test_plug_in_entropy_of_too_few_pairs_is_marked_and_held_out_bits_are_not_fooled() -> None:
    rng = np.random.default_rng(0)
    made = TokenStatistics([500], [50])
    for _ in range(40):
        made.update([rng.integers(0, 500, 100)])
    found = made.summary()
    stream = found["streams"][0]
    assert stream["conditional_entropy"] < 4  # of 8.97 bits there really are
    assert stream["conditional_biased"]
    assert found["rates"]["conditional_biased"]
    assert stream["ngram"]["2"] > 8.9


# ---------------------------------------------------------------------- parts
def test_parts_add_up_whatever_their_order() -> None:
    clips = clips_of(300)
    whole = statistics(clips).summary()
    parts = [statistics(clips[a:b], a) for a, b in ((0, 1), (1, 120), (120, 300))]
    for order in itertools.permutations(range(3)):
        total = TokenStatistics(SIZES, RATES)
        for i in order:
            total.merge(parts[i])
        assert json.dumps(total.summary()) == json.dumps(whole)


def test_in_bulk_as_one_by_one() -> None:
    clips = clips_of(50)
    bulk = TokenStatistics(SIZES, RATES)
    flat = [np.concatenate([clip[k] for clip in clips]).astype(np.uint16) for k in range(3)]
    bulk.update_many(flat, np.array([[len(stream) for stream in clip] for clip in clips]))
    assert json.dumps(bulk.summary()) == json.dumps(statistics(clips).summary())


def test_codebooks_too_large_for_a_table_are_counted_on_the_sample() -> None:
    rng = np.random.default_rng(0)
    clips = [[rng.integers(0, 50, 200) * 1000, rng.integers(0, 4, 200)] for _ in range(30)]
    made = TokenStatistics([65536, 4], [50, 50])
    for clip in clips:
        made.update(clip)
    first, second = made.summary()["streams"]
    assert (first["conditional_from"], second["conditional_from"]) == ("sample", "all clips")
    assert first["conditional_entropy"] == pytest.approx(
        conditional([p for c in clips for p in itertools.pairwise(c[0].tolist())])
    )
    assert first["conditional_pairs"] == 30 * 199
    assert second["cross_codebook_from"] == "all clips"


def test_tables_stay_within_their_bounds() -> None:
    assert plan_tables([(4096, 4096)] * 5) == [True] * 4 + [False]
    assert plan_tables([(4097, 4096), (2, 3)]) == [False, True]


def test_a_table_makes_room_before_it_overflows() -> None:
    table = PairTable(2, 2)
    table.counts[1, 1], table.pairs = (1 << 32) - 1, (1 << 32) - 1
    table.add(np.array([1]), np.array([1]))
    assert table.counts[1, 1] == 1 << 32


# ---------------------------------------------------------------------- the sample
def sample_of(numbers: list[int], frames: int, **bounds: int) -> ClipSample:
    made = ClipSample(1, **bounds)
    for number in numbers:
        made.add([np.full(frames, number % 7)], np.array([[frames]]), np.array([number]))
    return made


def test_the_sample_is_bounded_and_the_same_in_any_order() -> None:
    rng = np.random.default_rng(0)
    whole = sample_of(list(range(2000)), 10, stream_tokens=3000)
    kept = [clip.number for clip in whole.ordered()]
    assert 1000 < int(whole.tokens[0]) <= 3000
    assert whole.tokens[0] == 10 * len(kept)
    assert 700 < np.mean(kept) < 1300  # of all the corpus, not of its beginning
    assert [clip.number for clip in sample_of(rng.permutation(2000).tolist(), 10, stream_tokens=3000).ordered()] == kept
    halves = [sample_of(list(range(a, 2000, 2)), 10, stream_tokens=3000) for a in (0, 1)]
    halves[0].merge(halves[1])
    assert [clip.number for clip in halves[0].ordered()] == kept


def test_one_clip_in_ten_is_held_out_and_at_least_one() -> None:
    train, test = sample_of(list(range(200)), 5).split()
    assert (len(train), len(test)) == (180, 20)
    assert len(sample_of([3, 4], 5).split()[1]) == 1
    assert sample_of([3], 5).split()[1] == []


def test_a_very_long_clip_is_sampled_in_pieces() -> None:
    codes = np.arange(1 << 20) % 1000
    made = ClipSample(1, stream_tokens=1 << 18)
    made.add([codes], np.array([[len(codes)]]), np.array([0]))
    assert 1 << 16 <= int(made.tokens[0]) <= 1 << 18
    assert all(np.array_equal(np.diff(clip.codes[0]) % 1000, np.ones(len(clip.codes[0]) - 1)) for clip in made.kept)


# ---------------------------------------------------------------------- the least there is
def test_one_clip_has_no_held_out_bits() -> None:
    found = statistics(clips_of(1)).summary()
    assert "two clips" in found["rates"]["ngram"]["missing"]
    assert found["streams"][0]["entropy"] >= 0


def test_one_token() -> None:
    made = TokenStatistics([8], [25])
    made.update([np.array([3])])
    stream = made.summary()["streams"][0]
    assert (stream["entropy"], stream["usage"], stream["gini"]) == (0, 1 / 8, 7 / 8)
    assert stream["conditional_entropy"] is None
    assert stream["zipf"] is None
    assert stream["growth"] == [[1, 1.0]]
    assert made.summary()["rates"]["conditional"] is None


def test_a_codebook_of_one_code() -> None:
    made = TokenStatistics([1], [25])
    for _ in range(3):
        made.update([np.zeros(5, int)])
    found = made.summary()
    assert found["rates"]["nominal"] == found["rates"]["ngram"]["3"] == 0
    assert found["streams"][0]["conditional_entropy"] == 0


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([np.array([0, 16]), np.zeros(4, int), np.zeros(8, int)], "stream 0 holds code 16; expected 0 to 15"),
        ([np.array([0, -1]), np.zeros(4, int), np.zeros(8, int)], "holds code -1 .padding"),
        ([np.zeros(2), np.zeros(4, int), np.zeros(8, int)], "stream 0 are float64"),
        ([np.zeros((1, 2), int), np.zeros(4, int), np.zeros(8, int)], "expected integers"),
        ([np.zeros(2, int)], "1 streams of codes; expected 3"),
    ],
)
def test_codes_that_are_refused_are_not_counted(codes: Clip, message: str) -> None:
    made = statistics(clips_of(3))
    before = json.dumps(made.summary())
    with pytest.raises(TokensError, match=message):
        made.update(codes)
    assert json.dumps(made.summary()) == before


def test_other_things_that_are_refused() -> None:
    with pytest.raises(TokensError, match="at least one in each"):
        TokenStatistics(SIZES, RATES).summary()
    with pytest.raises(TokensError, match="expected as many of each"):
        TokenStatistics([4], [25, 50])
    with pytest.raises(TokensError, match="do not add"):
        TokenStatistics([4], [25]).merge(TokenStatistics([5], [25]))
    with pytest.raises(TokensError, match="do not sum"):
        TokenStatistics([4], [25]).update_many([np.zeros(3, int)], np.array([[2]]))


def test_everything_printed_has_a_definition() -> None:
    def leaves(value: Any) -> set[str]:
        return set(value) if isinstance(value, dict) else set()

    found = statistics(clips_of(20)).summary()
    known = " ".join([*DEFINITIONS, *DEFINITIONS.values()])
    plain = {"clips", "seconds", "tokens", "rates", "streams", "size", "rate", "used", "rank_frequency"}
    for key in leaves(found) | leaves(found["rates"]) | leaves(found["streams"][1]):
        stem = key.removesuffix("_entropy").removesuffix("_pairs").removesuffix("_from").removesuffix("_biased")
        assert stem in plain or stem in known, key


# ---------------------------------------------------------------------- speech
@pytest.mark.slow
def test_mfcc_clusters_of_synthetic_speech_are_near_the_published_figures(espeak: ModuleType) -> None:
    """MFCC 1 to 19 at 50 Hz, k-means 100: perplexity 84.6, Gini 0.295, L(0.2) 9.0 %, Zipf -0.52, runs 1.83, 27.3 tokens/s."""
    librosa, cluster = pytest.importorskip("librosa"), pytest.importorskip("sklearn.cluster")
    sounds = [u.samples for u in espeak.corpus(8, 16)]
    settings = {"sr": 16000, "n_mfcc": 20, "n_fft": 400, "hop_length": 320, "n_mels": 40, "center": False}
    features = [librosa.feature.mfcc(y=samples, **settings)[1:].T for samples in sounds]
    flat = np.concatenate(features)
    flat = (flat - flat.mean(0)) / flat.std(0)
    codes = cluster.MiniBatchKMeans(100, random_state=0, n_init=1, batch_size=4096).fit_predict(flat)
    made = TokenStatistics([100], [50])
    for part in np.split(codes, np.cumsum([len(f) for f in features])[:-1]):
        made.update([part])
    found = made.summary()
    stream = found["streams"][0]
    assert stream["perplexity"] == pytest.approx(84.6, abs=8)
    assert stream["usage"] == 1
    assert stream["gini"] == pytest.approx(0.295, abs=0.07)
    assert stream["rarest20"] == pytest.approx(0.09, abs=0.02)
    assert stream["zipf"] == pytest.approx(-0.52, abs=0.12)
    assert stream["mean_run"] == pytest.approx(1.83, abs=0.1)
    assert stream["dedup_rate"] == pytest.approx(27.3, abs=1.5)
    assert found["rates"]["nominal"] == pytest.approx(332, abs=0.5)
    assert found["rates"]["conditional"] < found["rates"]["ngram"]["2"] < 0.65 * found["rates"]["entropy"]
