"""What bitstreams are made of: bits of codes, integer counts, and the range coder against a slow one in plain Python."""

import sys
from collections.abc import Iterable, Sequence
from math import ceil, log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxzoo import MissingExtraError, TokensError
from voxzoo.core import _adaptive, _static
from voxzoo.core._packing import Cursor, pack, packed_bytes, unpack, varint
from voxzoo.core._range_coder import Counts, RangeDecoder, RangeEncoder, integer_counts

pytest.importorskip("constriction")
# ---------------------------------------------------------------- a slow range coder, from the words of `_range_coder.py` alone

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


sizes = st.sampled_from([1, 2, 3, 16, 500, 1000, 1024, 2401, 6561, 40000, 65536, 65537, 10**6, 2**40 - 1, 2**57])


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


def alike(size: int) -> list[int]:
    """Counts of one of `size` alike."""
    return [(1 << 24) // size] * (size - 1) + [(1 << 24) - (1 << 24) // size * (size - 1)]


@settings(deadline=None, max_examples=50)
@given(st.lists(weights, min_size=1, max_size=3), st.lists(st.integers(0, 10**6), max_size=60))
def test_the_coder_uses_the_intended_integers(tables: list[list[int]], picks: list[int]) -> None:
    """Equal bytes to those of a coder that knows nothing but integers: the library rounds nothing."""
    models = [Counts(np.array(t)) for t in tables]
    coder, steps = RangeEncoder(), []
    for pick in picks:
        model, symbol, size = pick % len(models), pick % len(tables[pick % len(models)]), pick % 70_000 + 1
        coder.counted(np.array([symbol]), models[model])
        coder.alike(np.array([pick % size]), np.array([size]))
        steps += [(symbol, models[model].values.tolist()), (pick % size, alike(size))]
    data = coder.to_bytes()
    assert data == slow_encode(step for step in steps if len(step[1]) > 1)
    decoder = Decoder(data)
    assert [decoder.decode(counts) for _, counts in steps] == [s for s, _ in steps]


@pytest.mark.parametrize("size", [2, 3, 1024, 6561, 65536])
def test_every_boundary_of_a_table(size: int) -> None:
    """Each symbol of a table with counts from 1 to a million, coded alone, decodes with both coders."""
    rng = np.random.default_rng(size)
    counts = Counts((10 ** rng.uniform(0, 6, size)).astype(np.int64) * rng.integers(0, 2, size))
    even = np.array(alike(size))
    scale = ((1 << 64) - 1) >> 24
    for symbol in {0, 1, size - 2, size - 1, *rng.integers(0, size, 50).tolist()}:
        for values in (counts.values, even):
            end = int(values[: symbol + 1].sum())
            for point in (scale * (end - int(values[symbol])), scale * end - 1):
                decoder = RangeDecoder(point.to_bytes(8, "big"))
                found = decoder.alike(np.array([size])) if values is even else decoder.counted(1, counts)
                assert found.tolist() == [symbol]


# ---------------------------------------------------------------- coders

any_streams = st.lists(st.tuples(st.sampled_from([1, 2, 3, 10, 500, 2000]), st.integers(0, 120)), max_size=4)


def calm_codes(streams: list[tuple[int, int]], seed: int, calm: float) -> list[np.ndarray]:
    """Codes that repeat the one before with probability `calm`."""
    rng, out = np.random.default_rng(seed), []
    for size, count in streams:
        codes = np.minimum(rng.geometric(0.02, count) - 1, size - 1)
        for i in np.flatnonzero(rng.random(count) < calm):
            codes[i] = codes[i - 1] if i else codes[i]
        out.append(codes)
    return out


def slow_adaptive(data: bytes, numbers: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    """From the words of `_adaptive.py` alone, a code at a time."""
    decoder = Decoder(data)

    def one_of(size: int) -> int:
        return decoder.decode(alike(size)) if size > 1 else 0

    kinds: dict[int, list[int]] = {k: [0] * n for k, n in enumerate(numbers)}
    chosen = [k for k, size in enumerate(sizes) if size > 1 and one_of(2)]
    told = {k: (one_of(numbers[k] + 1), one_of(numbers[k] + 1)) for k in chosen}
    for k, (held, again) in told.items():
        counts = integer_counts(np.array([numbers[k] - held - again, again, held])).tolist()
        kinds[k] = [decoder.decode(counts) for _ in range(numbers[k])]
    out: list[list[int]] = []
    for k, size in enumerate(sizes):
        new: list[int] = []
        codes: list[int] = []
        for kind in kinds[k]:
            codes.append(codes[-1] if kind == 2 else new[one_of(len(new))] if kind == 1 else one_of(size))
            new += codes[-1:] * (kind == 0)
        out.append(codes)
    return out


@settings(deadline=None, max_examples=60)
@given(any_streams, st.integers(0, 2**32), st.sampled_from([0.0, 0.5, 1.0]))
def test_coders_there_and_back(streams: list[tuple[int, int]], seed: int, calm: float) -> None:
    codes, sizes, numbers = calm_codes(streams, seed, calm), [s for s, _ in streams], [n for _, n in streams]
    data = _adaptive.encode(codes, sizes)
    assert all(np.array_equal(a, b) for a, b in zip(codes, _adaptive.decode(data, numbers, sizes), strict=True))
    assert slow_adaptive(data, numbers, sizes) == [c.tolist() for c in codes]
    assert 8 * len(data) <= sum(n * log2(s) for s, n in streams) + len(streams) + 8  # never more than a bit a stream
    levels = [_static.table(c, size) for c, size in zip(codes, sizes, strict=True)]
    tables = [None if found is None else _static.counts_of(found) for found in levels]
    static = _static.encode(codes, sizes, tables)
    assert all(np.array_equal(a, b) for a, b in zip(codes, _static.decode(static, numbers, sizes, tables), strict=True))
    slow = Decoder(static)
    for found, size, table in zip(codes, sizes, tables, strict=True):
        counts = alike(size) if table is None else table.values.tolist()
        assert [slow.decode(counts) if size > 1 else 0 for _ in found] == found.tolist()


def test_adaptive_bits_are_those_of_its_kinds() -> None:
    codes = calm_codes([(1024, 2000)], 0, 0.6)[0]
    held = int((codes[1:] == codes[:-1]).sum())
    new = len(set(codes.tolist()))
    again = len(codes) - held - new
    entropy = sum(n * log2(len(codes) / n) for n in (held, new, again))
    told, seen = 0.0, set[int]()
    for i, code in enumerate(codes.tolist()):
        if i and code == codes[i - 1]:
            continue
        told += log2(len(seen)) if code in seen else 10
        seen.add(code)
    assert 8 * len(_adaptive.encode([codes], [1024])) == pytest.approx(1 + 2 * log2(2001) + entropy + told, abs=9)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=40), st.integers(0, 50), st.integers(1, 200))
def test_noise_decodes_or_is_refused(data: bytes, count: int, size: int) -> None:
    table = _static.counts_of(np.arange(49))
    for coder in ("adaptive", "static"):
        try:
            if coder == "adaptive":
                found = _adaptive.decode(data, [count, 0, count], [size, 9, 300])
            else:
                found = _static.decode(data, [count, 0, count], [size, 9, 49], [None, None, table])
        except TokensError:
            continue
        assert [len(f) for f in found] == [count, 0, count]
        assert min((f.min() for f in found if len(f)), default=0) >= 0
        assert max(found[0], default=0) < size
        assert max(found[2], default=0) < 300


def test_adaptive_lies_are_refused() -> None:
    """Kinds that point before the first code, and more of them than there are codes."""
    kinds = Counts(np.array([1, 1, 1]))
    for held, again, kind in ((1, 1, 2), (1, 1, 1), (3, 1, None), (0, 9, None)):
        coder = RangeEncoder()
        coder.alike(np.array([1, held, again]), np.array([2, 4 if again < 9 else 10, 4 if again < 9 else 10]))
        if kind is not None:
            coder.counted(np.array([kind, 0, 1]), kinds)
        with pytest.raises(TokensError, match="again"):
            _adaptive.decode(coder.to_bytes(), [3 if again < 9 else 8], [100])


def test_static_is_within_a_percent_of_entropy() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(500, 0.5))
    codes = rng.choice(500, 75_000, p=p)
    histogram = np.bincount(codes, minlength=500)
    q = histogram[histogram > 0] / len(codes)
    entropy = float(-(q * np.log2(q)).sum()) * len(codes)
    levels = _static.table(codes, 500)
    assert levels is not None
    size = 8 * (len(_static.pack_table(levels)) + len(_static.encode([codes], [500], [_static.counts_of(levels)])))
    assert entropy < size < 1.01 * entropy
    assert _static.table(rng.integers(0, 500, 100), 500) is None  # not worth it


@given(st.lists(st.integers(0, 48), min_size=2, max_size=400))
def test_tables_there_and_back(levels: list[int]) -> None:
    data = _static.pack_table(np.array(levels))
    assert _static.unpack_table(data, len(levels)).tolist() == levels
    for wrong in (len(levels) - 1, len(levels) + 1):
        with pytest.raises(TokensError, match="table"):
            _static.unpack_table(data, wrong)


def test_bad_tables() -> None:
    for data in (b"", b"\xff\xff", _static.pack_table(np.array([49, 0]))):
        with pytest.raises(TokensError, match="table"):
            _static.unpack_table(data, 2)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(MissingExtraError, match=r"voxzoo\[bitstream\]"):
        RangeEncoder()
