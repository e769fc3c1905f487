"""Files that were spoiled in every way: they are read, salvaged or refused, always soon."""

import contextlib
import io
import random
import time
import zlib
from fractions import Fraction

import numpy as np
import pytest

from voxzoo import Facts, Tokens, TokensError
from voxzoo.core._packing import Cursor
from voxzoo.core.bitstream import CODERS, DamagedBitstreamError, read_bitstream, salvage_bitstream, write_bitstream

pytest.importorskip("constriction")
LIMIT = 5.0  # seconds for one file
FACTS = Facts(
    name="spoiled", kind="dual", sample_rate=24000, frame_rates=(Fraction(25, 2), Fraction(25), Fraction(25)),
    codebook_sizes=(65536, 6561, 10), causal=False, latency=0.1, params=7, code_licence="", weights_licence="", source="",
    paper="",
)  # fmt: skip


def files() -> list[bytes]:
    """One clip with extras, and several, with each coder."""
    k, out = np.arange(80), []
    codes = [(k // 4 * 7919 % 65536)[None, :40], (k * k % 6561)[None], np.where(k % 9, 4, k // 9)[None]]
    single = Tokens(codes, [76_799], FACTS, "0f" * 32, extras={"scales": np.ones((1, 40), np.float32)})
    rows = np.full((3, 60), -1)
    rows[0, :3], rows[2] = 5, 9
    several = Tokens([rows, rows, rows], [960, 0, 99_000], FACTS, "0f" * 32, batched=True)
    for tokens in (single, several):
        for coder in CODERS:
            file = io.BytesIO()
            write_bitstream(tokens, file, coder)
            out.append(file.getvalue())
    return out


def spoiled(data: bytes, rng: random.Random) -> bytes:
    """With bits flipped, bytes set, cut out, put in and doubled; half of it in the header and the first chunk."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        at = rng.randrange(len(out) if rng.random() < 0.5 else min(140, len(out)))
        match rng.randrange(5):
            case 0:
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                out[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
            case 2:
                del out[at : at + rng.randrange(1, 9)]
            case 3:
                out[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 4:
                out[at:at] = out[at : at + rng.randrange(1, 60)]
        out = out or bytearray(b"\0")
    return bytes(out[: rng.randrange(len(out) + 1)] if rng.random() < 0.1 else out)


def with_right_checks(data: bytes) -> bytes:
    """As one who means harm would write it."""
    out, at, number = bytearray(data), 5, -1
    with contextlib.suppress(TokensError):
        while at < len(out):
            cursor = Cursor(bytes(out[at:]))
            size = cursor.varint()
            end = at + cursor.at + (size if number < 0 else size >> 2)
            if end + 4 > len(out):
                break
            begin, mixed = (0, 0) if number < 0 else (at, number * 0x9E3779B1 % 2**32)
            out[end : end + 4] = (zlib.crc32(bytes(out[begin:end])) ^ mixed).to_bytes(4, "little")
            at, number = end + 4, number + 1
    return bytes(out)


def outcome(data: bytes) -> str:
    began = time.process_time()
    try:
        salvage = salvage_bitstream(io.BytesIO(data))
        with contextlib.suppress(TokensError):
            salvage.filled(0)
        read_bitstream(io.BytesIO(data))
        return "read"
    except DamagedBitstreamError:
        return "damaged"
    except TokensError:
        return "refused"
    finally:
        assert time.process_time() - began < LIMIT


@pytest.mark.parametrize("count", [600, pytest.param(20_000, marks=pytest.mark.slow)])
def test_spoiled_files_never_hang_nor_crash(count: int) -> None:
    rng, whole = random.Random(count), files()
    seen = {"read": 0, "damaged": 0, "refused": 0}
    for i in range(count):
        data = spoiled(rng.choice(whole), rng)
        seen[outcome(with_right_checks(data) if i % 4 else data)] += 1
    assert min(seen.values()) > count // 50, seen


def test_right_checks_are_right() -> None:
    assert [with_right_checks(data) for data in files()] == files()


def test_noise_behind_a_header_never_hangs() -> None:
    rng = random.Random(0)
    for data in files():
        cursor = Cursor(data[5:])
        size = cursor.varint()
        header = data[: 5 + cursor.at + size + 4]
        for count in (0, 1, 5, 100, 2000):
            for octets in (rng.randbytes(count), bytes(count), b"\xff" * count, b"\x80" * count):
                assert outcome(header + octets) in ("damaged", "refused")
