import io
import json
import os
import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from voxzoo import Facts, Tokens, TokensError, VoxzooError

FACTS = Facts(
    name="two-rates",
    kind="acoustic",
    sample_rate=1200,
    frame_rates=(Fraction(25, 2), Fraction(25)),
    codebook_sizes=(16, 40000),
    causal=True,
    latency=0.0,
    params=0,
    code_licence="MIT",
    weights_licence="MIT",
    source="here",
    paper="none",
)
PRINT = "ab" * 32


def make(frames: int = 3, clips: int = 1, **changes: Any) -> Tokens:
    """Frames of the slow stream; the fast one has twice as many."""
    rng = np.random.default_rng(frames)
    codes = [rng.integers(0, size, (clips, frames * r)) for size, r in ((16, 1), (40000, 2))]
    extras = {"scales": rng.random((clips, frames)).astype(np.float32)}
    given = {"codes": codes, "lengths": np.full(clips, frames * 96), "facts": FACTS, "fingerprint": PRINT, "extras": extras}
    return Tokens(**{**given, **changes})


def equal(a: Tokens, b: Tokens) -> bool:
    return (
        all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in zip(a.codes, b.codes, strict=True))
        and np.array_equal(a.lengths, b.lengths)
        and a.facts == b.facts
        and (a.fingerprint, a.resampler, a.batched) == (b.fingerprint, b.resampler, b.batched)
        and a.extras.keys() == b.extras.keys()
        and all(np.array_equal(np.asarray(a.extras[k]), np.asarray(b.extras[k])) for k in a.extras)
    )


# ---------------------------------------------------------------- what they hold


def test_counts_and_rates() -> None:
    tokens = make(5, clips=2)
    assert len(tokens) == 2
    assert tokens.frames.tolist() == [[5, 10], [5, 10]]
    assert tokens.durations.tolist() == [0.4, 0.4]
    assert tokens.bitrate == pytest.approx(12.5 * 4 + 25 * np.log2(40000))
    assert tokens.streams(1).bitrate == 50.0
    assert "two-rates" in repr(tokens)
    assert "2 clip(s)" in repr(tokens)


def test_padding_is_not_counted() -> None:
    tokens = make(
        1, codes=[np.array([[1, 2], [3, -1]]), np.array([[1, 2, 3, 4], [5, 6, -1, -1]])], lengths=[192, 96], extras={}
    )
    assert tokens.frames.tolist() == [[2, 4], [1, 2]]
    assert tokens[1].codes[1].tolist() == [[5, 6]]
    assert tokens[-1].lengths.tolist() == [96]
    assert tokens[-1].codes[0].tolist() == [[3]]
    with pytest.raises(IndexError):
        _ = tokens[2]
    assert [len(clip) for clip in tokens] == [1, 1]


def test_streams() -> None:
    tokens = make()
    assert equal(tokens.streams(2), tokens)
    assert len(tokens.streams(1).codes) == 1
    for k in (0, 3, -1):
        with pytest.raises(TokensError, match="expected 1 to 2"):
            tokens.streams(k)


def test_concatenate() -> None:
    whole, parts = make(6), []
    for i, j in ((0, 2), (2, 2), (2, 6)):
        codes = [whole.codes[0][:, i:j], whole.codes[1][:, 2 * i : 2 * j]]
        parts.append(replace(whole, codes=codes, lengths=[96 * (j - i)], extras={"scales": whole.extras["scales"][:, i:j]}))
    assert equal(Tokens.concatenate(parts), whole)
    assert equal(Tokens.concatenate([part.torch() for part in parts]).numpy(), whole)
    with pytest.raises(TokensError, match="no tokens"):
        Tokens.concatenate([])
    with pytest.raises(TokensError, match="differ"):
        Tokens.concatenate([whole, whole.streams(1)])
    with pytest.raises(TokensError, match="differ"):
        Tokens.concatenate([whole, replace(whole, fingerprint="other")])


def test_torch_and_numpy() -> None:
    tokens = make()
    assert isinstance(tokens.torch().codes[0], torch.Tensor)
    assert tokens.torch().codes[0].dtype == torch.int64
    assert isinstance(tokens.torch().numpy().codes[0], np.ndarray)
    assert equal(tokens.torch().numpy(), tokens)


@pytest.mark.parametrize(("change", "words"), [
    ({"codes": []}, "0 streams"),
    ({"codes": [np.zeros((1, 2), np.int64)] * 3}, "3 streams"),
    ({"codes": [np.array([[16]]), np.array([[0, 0]])]}, "code 16"),
    ({"codes": [np.array([[-2]]), np.array([[0, 0]])]}, "code -2"),
    ({"codes": [np.array([0]), np.array([[0, 0]])]}, "shape"),
    ({"codes": [np.array([[0], [0]]), np.array([[0, 0]])]}, "shape"),
    ({"codes": [np.array([[-1, 0]]), np.array([[0, 0]])]}, "padding"),
    ({"codes": [np.array([[0.5]]), np.array([[0, 0]])]}, "expected integers"),
    ({"lengths": [-1]}, "negative"),
    ({"lengths": [96, 96]}, "shape"),
    ({"extras": {"scales": np.zeros((1, 2), np.float32)}}, "scales"),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_what_does_not_fit_is_refused(change: dict[str, Any], words: str, kind: str) -> None:
    if kind == "torch" and "codes" in change:
        change = {"codes": [torch.as_tensor(c) for c in change["codes"]]}
    with pytest.raises(TokensError, match=words):
        make(3, **change)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("clips", [1, 3])
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_round_trip(clips: int, kind: str, tmp_path: Path) -> None:
    tokens = make(4, clips, batched=clips > 1, resampler="other")
    path = tmp_path / "a.safetensors"
    (tokens.torch() if kind == "torch" else tokens).save(path)
    assert os.listdir(tmp_path) == ["a.safetensors"]
    assert equal(Tokens.load(path, "numpy"), tokens)
    assert isinstance(Tokens.load(path).codes[0], torch.Tensor)
    assert equal(Tokens.load(io.BytesIO(path.read_bytes())).numpy(), tokens)
    buffer = io.BytesIO()
    tokens.save(buffer)
    assert buffer.getvalue() == path.read_bytes()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_any_tokens_survive_a_file(frames: list[int], random: Any) -> None:
    widest = max(frames)
    codes = [np.full((len(frames), widest * r), -1) for r in (1, 2)]
    for i, n in enumerate(frames):
        codes[0][i, :n] = [random.randrange(16) for _ in range(n)]
        codes[1][i, : 2 * n] = [random.randrange(40000) for _ in range(2 * n)]
    tokens = make(codes=codes, lengths=[96 * n for n in frames], extras={})
    again = Tokens.load(io.BytesIO(tokens.to_bytes()), "numpy")
    assert equal(again, tokens)
    assert again.frames[:, 0].tolist() == frames


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    data, path = make(40).to_bytes(), tmp_path / "cut.safetensors"
    for n in [*range(0, len(data), 50), len(data) - 1]:
        path.write_bytes(data[:n])
        with pytest.raises(TokensError, match=r"cut\.safetensors") as caught:
            Tokens.load(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(data + b"more")
    with pytest.raises(TokensError):
        Tokens.load(path)


def test_flipped_bytes_give_tokens_or_a_tokens_error() -> None:
    data = make(6).to_bytes()
    header = 8 + struct.unpack("<Q", data[:8])[0]
    refused = 0
    for at in [*range(0, header, 3), *range(header, len(data), 5)]:
        for flip in (0x01, 0x80):
            damaged = bytearray(data)
            damaged[at] ^= flip
            try:
                Tokens.load(io.BytesIO(bytes(damaged)))
            except TokensError:
                refused += 1
    assert refused > header / 6  # nearly every flip in the structure is noticed


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\0" * 100, b"RIFF" + b"\0" * 60, b"{}" * 30, b"\x02\0\0\0\0\0\0\0{}", b"\xff" * 8 + b"{"]
)
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(TokensError):
        Tokens.load(io.BytesIO(content))


def metadata(**changes: str | None) -> dict[str, str]:
    data = make().to_bytes()
    found = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    return {key: value for key, value in {**found, **changes}.items() if value is not None}


@pytest.mark.parametrize(("arrays", "change", "words"), [
    ({}, {"format": "voxzoo.tokens/2"}, "voxzoo.tokens/2"),
    ({}, {"format": None}, "not a tokens file"),
    ({}, {"fingerprint": None}, "fingerprint"),
    ({}, {"facts": "{"}, "damaged"),
    ({}, {"facts": "[]"}, "facts"),
    ({}, {"facts": "{}"}, "facts"),
    ({"codes.1": np.full((1, 6), 40001, np.int32)}, {}, "code 40001"),
    ({"codes.0": np.full((1, 3), -2, np.int16)}, {}, "code -2"),
    ({"codes.0": np.full((1, 3), np.nan, np.float32)}, {}, "codes.0 are float32"),
    ({"codes.0": np.zeros(3, np.int16)}, {}, "shape"),
    ({"codes.0": None}, {}, "codes.0"),
    ({"lengths": None}, {}, "lengths"),
    ({"lengths": np.zeros(1, np.float32)}, {}, "lengths"),
    ({"codes.2": np.zeros((1, 3), np.int16)}, {}, "3 streams"),
], ids=str)  # fmt: skip
def test_files_that_lie_are_refused(arrays: dict[str, Any], change: dict[str, str | None], words: str) -> None:
    whole = {"codes.0": np.zeros((1, 3), np.int16), "codes.1": np.zeros((1, 6), np.int32), "lengths": np.array([288])}
    content = {key: value for key, value in {**whole, **arrays}.items() if value is not None}
    with pytest.raises(TokensError, match=words) as caught:
        Tokens.load(io.BytesIO(save(content, metadata(**change))))
    assert "\n" not in str(caught.value)


def test_missing_folder_and_unwritable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TokensError, match=r"none\.safetensors.*No such file"):
        Tokens.load(tmp_path / "none.safetensors")
    with pytest.raises(TokensError, match="cannot be read"):
        Tokens.load(tmp_path)
    with pytest.raises(TokensError, match="cannot write"):
        make().save(tmp_path / "none" / "a.safetensors")
    path = tmp_path / "a.safetensors"
    make(2).save(path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(TokensError, match="No space left"):
        make(3).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_errors_share_one_root() -> None:
    assert issubclass(TokensError, VoxzooError)


def test_a_device_is_written_not_replaced() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(TokensError, match=r"cannot write '/dev/full': No space left on device"):
        make().save("/dev/full")
    assert Path("/dev/full").is_char_device()
