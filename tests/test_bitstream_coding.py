"""What bitstreams are made of: bits of codes, integer counts, and the range coder against a slow one in plain Python."""

import sys
from collections.abc import Iterable, Sequence
from math import ceil, log2
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxzoo import MissingExtraError, TokensError
from voxzoo.core import _entropy
from voxzoo.core._entropy import AdaptiveModel, StaticModel, integer_counts, pack_table, unpack_table
from voxzoo.core._packing import Cursor, pack, packed_bytes, unpack, varint

constriction = pytest.importorskip("constriction")
# ---------------------------------------------------------------- a slow range coder, from the words of `_entropy.py` alone

PRECISION, WORD, STATE = 24, 32, 64


def slow_encode(steps: Iterable[tuple[int, Sequence[int]]]) -> bytes:
    """Symbols, each with its counts. One big integer is `lower`, so that carries need no thought."""
    lower, span, words, empty = 0, (1 << STATE) - 1, 0, True
    for symbol, counts in steps:
        assert sum(counts) == 1 << PRECISION
        empty = False
        scale = span >> PRECISION
        lower += scale * sum(counts[:symbol])
        span = scale * counts[symbol]
        if span < 1 << STATE - WORD:
            lower, span, words = lower << WORD, span << WORD, words + 1
    if empty:
        return b""
    size = words * WORD // 8 + STATE // 8
    for zeros in range(8, -1, -1):
        value = -(-lower >> 8 * zeros)
        if value << 8 * zeros < lower + span:
            return value.to_bytes(size - zeros, "big").rstrip(b"\0")
    raise AssertionError


class Decoder:
    """Gives one symbol after another."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 8
        self.point = int.from_bytes(data[:8].ljust(8, b"\0"), "big")  # less lower
        self.span = (1 << STATE) - 1

    def decode(self, counts: Sequence[int]) -> int:
        scale = self.span >> PRECISION
        quantile, symbol = self.point // scale, 0
        assert quantile < 1 << PRECISION
        while quantile >= counts[symbol]:
            quantile -= counts[symbol]
            symbol += 1
        self.point -= scale * sum(counts[:symbol])
        self.span = scale * counts[symbol]
        if self.span < 1 << STATE - WORD:
            self.point = self.point << WORD | int.from_bytes(self.data[self.at : self.at + 4].ljust(4, b"\0"), "big")
            self.span, self.at = self.span << WORD, self.at + 4
        return symbol


sizes = st.sampled_from([1, 2, 3, 16, 500, 1000, 1024, 2401, 6561, 40000, 65536, 65537, 10**6, 2**40 - 1, 2**61])


# ---------------------------------------------------------------- bits


@given(st.integers(0, 2**63 - 1))
def test_varints(value: int) -> None:
    data = varint(value)
    assert Cursor(data).varint() == value
    assert len(data) == max(1, ceil(value.bit_length() / 7))


def test_varints_end() -> None:
    for data in (b"", b"\x80", b"\xff" * 12):
        with pytest.raises(TokensError):
            Cursor(data).varint()


@settings(deadline=None)
@given(st.lists(st.tuples(sizes, st.integers(0, 30)), min_size=1, max_size=5), st.integers(0, 2**32))
def test_packing_there_and_back(streams: list[tuple[int, int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = [rng.integers(0, size, n) for size, n in streams]
    counts, of = [n for _, n in streams], [size for size, _ in streams]
    data = pack(codes, of)
    assert len(data) == packed_bytes(counts, of)
    back = unpack(data, counts, of)
    assert all(np.array_equal(a, b) for a, b in zip(codes, back, strict=True))
    if data:
        with pytest.raises(TokensError):
            unpack(data[:-1], counts, of)


def test_packed_bits_are_what_is_documented() -> None:
    assert pack([np.array([1, 2]), np.array([3])], [4, 4]) == bytes([0b01_10_11_00])
    assert pack([np.array([5]), np.array([1, 0, 1])], [8, 2]) == bytes([0b101_1_0_1_00])
    digits = [1, 2, 0, 2, 1]  # of size 3 five take 8 bits
    assert pack([np.array(digits)], [3]) == bytes([1 * 81 + 2 * 27 + 0 + 2 * 3 + 1])
    assert pack([np.array([6560, 0, 1, 2, 7])], [6561]) == ((6560 * 6561**3 + 6561 + 2) << 13 | 7).to_bytes(8, "big")


@pytest.mark.parametrize(("size", "bits"), [(1024, 10), (500, 9), (6561, 12.75), (3, 1.6), (1, 0), (65536, 16)])
def test_bits_per_code(size: int, bits: float) -> None:
    count = 8 * 9 * 5 * 7
    assert packed_bytes([count], [size]) == ceil(count * bits / 8)
    assert bits < log2(size) * 1.05 + 1e-9 or size < 600


def test_codes_out_of_range_are_noticed() -> None:
    for size in (3, 500, 6561):
        with pytest.raises(TokensError, match="code"):
            unpack(b"\xff" * 8, [4], [size])


# ---------------------------------------------------------------- counts and coder


weights = st.lists(st.integers(0, 10**6), min_size=2, max_size=300)


@given(weights)
def test_counts_are_exact(found: list[int]) -> None:
    counts = integer_counts(np.array(found))
    assert int(counts.sum()) == 1 << 24
    assert int(counts.min()) >= 1
    free, total = (1 << 24) - len(found), max(1, sum(found))
    wanted = [1 + w * free // total for w in found]
    wanted[found.index(max(found))] += (1 << 24) - sum(wanted)
    assert counts.tolist() == wanted


@settings(deadline=None)
@given(st.lists(weights, min_size=1, max_size=3), st.lists(st.integers(0, 10**6), max_size=60))
def test_the_coder_uses_the_intended_integers(tables: list[list[int]], picks: list[int]) -> None:
    """Equal bytes to those of a coder that knows nothing but integers: the library rounds nothing."""
    models = [_entropy.Counts(np.array(t)) for t in tables]
    steps = [(pick % len(models), pick) for pick in picks]
    pairs = [(p % len(tables[m]), models[m]) for m, p in steps]
    data = _entropy.encode([(np.array([s]), m) for s, m in pairs])
    assert data == slow_encode((s, m.values.tolist()) for s, m in pairs)
    decoder = Decoder(data)
    assert [decoder.decode(m.values.tolist()) for _, m in pairs] == [s for s, _ in pairs]


@pytest.mark.parametrize("size", [2, 3, 1024, 6561, 65536])
def test_every_boundary_of_a_table(size: int) -> None:
    """Each symbol of a table with counts from 1 to a million, coded alone, decodes with both coders."""
    rng = np.random.default_rng(size)
    counts = _entropy.Counts((10 ** rng.uniform(0, 6, size)).astype(np.int64) * rng.integers(0, 2, size))
    ends = np.cumsum(counts.values)
    scale = ((1 << 64) - 1) >> 24
    for symbol in {0, 1, size - 2, size - 1, *rng.integers(0, size, 50).tolist()}:
        for point in (scale * int(ends[symbol] - counts.values[symbol]), scale * int(ends[symbol]) - 1):
            words = np.frombuffer(point.to_bytes(8, "big"), ">u4").astype(np.uint32)
            decoder = constriction.stream.queue.RangeDecoder(words)
            assert decoder.decode(counts.coder, 1).tolist() == [symbol]


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 2000), st.integers(0, 120), st.integers(0, 2**32), st.sampled_from([0.0, 0.5, 1.0]))
def test_models_there_and_back(size: int, count: int, seed: int, calm: float) -> None:
    rng = np.random.default_rng(seed)
    codes = np.minimum(rng.geometric(0.02, count) - 1, size - 1)
    for i in np.flatnonzero(rng.random(count) < calm):
        codes[i] = codes[i - 1] if i else codes[i]
    models = [AdaptiveModel(size), StaticModel(StaticModel.levels(np.bincount(codes, minlength=size)))]
    steps = [step for m in models for step in m.encoding(codes)]
    data = _entropy.encode(steps)
    assert abs(8 * len(data) - _entropy.cost(steps)) <= 24
    assert all(np.array_equal(codes, back) for back in _entropy.decode(data, models, [count, count]))
    slow = Decoder(data)
    for symbols, counts in steps:
        assert [slow.decode(counts.values.tolist()) for _ in symbols] == symbols.tolist()


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=40), st.integers(1, 50))
def test_noise_decodes_or_is_refused(data: bytes, count: int) -> None:
    models = [AdaptiveModel(100), StaticModel(np.arange(49))]
    try:
        found = _entropy.decode(data, models, [count, count])
    except TokensError:
        return
    assert [len(f) for f in found] == [count, count]
    assert min(f.min() for f in found) >= 0
    assert found[0].max() < 100
    assert found[1].max() < 49


def test_static_is_within_a_percent_of_entropy() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(500, 0.5))
    codes = rng.choice(500, 75_000, p=p)
    histogram = np.bincount(codes, minlength=500)
    q = histogram[histogram > 0] / len(codes)
    entropy = float(-(q * np.log2(q)).sum()) * len(codes)
    levels = StaticModel.levels(histogram)
    size = 8 * (len(pack_table(levels)) + len(_entropy.encode(StaticModel(levels).encoding(codes))))
    assert entropy < size < 1.01 * entropy


@given(st.lists(st.integers(0, 48), min_size=2, max_size=400))
def test_tables_there_and_back(levels: list[int]) -> None:
    data = pack_table(np.array(levels))
    assert unpack_table(data, len(levels)).tolist() == levels
    for wrong in (len(levels) - 1, len(levels) + 1):
        with pytest.raises(TokensError, match="table"):
            unpack_table(data, wrong)


def test_bad_tables() -> None:
    for data in (b"", b"\xff\xff", pack_table(np.array([49, 0]))):
        with pytest.raises(TokensError, match="table"):
            unpack_table(data, 2)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "constriction", None)
    steps: Any = StaticModel(np.array([1, 2])).encoding(np.array([0, 1]))
    with pytest.raises(MissingExtraError, match=r"voxzoo\[bitstream\]"):
        _entropy.encode(steps)
