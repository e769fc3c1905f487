"""Codewords read without joblib and scikit-learn, in every form they are written in; and files that would run code, refused."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.cluster import KMeans, MiniBatchKMeans

from voxzoo import WeightsError
from voxzoo.core import kmeans_files
from voxzoo.core.kmeans_files import read_centers, read_pickle

FRAMES = np.random.default_rng(0).standard_normal((300, 7)).astype(np.float32)


@pytest.fixture(scope="module")
def estimators() -> list[Any]:
    """As many kinds of attributes as there are: numbers of both widths, generators of random numbers."""
    return [
        MiniBatchKMeans(5, n_init=1, random_state=np.random.RandomState(0)).fit(FRAMES),
        KMeans(5, n_init=1, random_state=0).fit(FRAMES.astype(np.float64)),
    ]


@pytest.mark.parametrize(
    "settings",
    [{}, {"compress": 3}, {"compress": ("gzip", 3)}, {"compress": ("bz2", 3)}, {"compress": ("xz", 3)},
     {"compress": ("lzma", 3)}, {"protocol": 2}, {"protocol": 5}],
)  # fmt: skip
def test_files_of_joblib(settings: dict[str, Any], estimators: list[Any], tmp_path: Path) -> None:
    for estimator in estimators:
        joblib.dump(estimator, tmp_path / "km.bin", **settings)
        assert np.array_equal(read_centers(tmp_path / "km.bin", 7), estimator.cluster_centers_.astype(np.float32))


@pytest.mark.parametrize("protocol", range(6))
def test_files_of_pickle(protocol: int, estimators: list[Any], tmp_path: Path) -> None:
    for estimator in estimators:
        (tmp_path / "km.bin").write_bytes(pickle.dumps(estimator, protocol))
        assert np.array_equal(read_centers(tmp_path / "km.bin"), estimator.cluster_centers_.astype(np.float32))


def test_arrays_and_dicts(tmp_path: Path) -> None:
    for array in (FRAMES, np.asfortranarray(FRAMES), FRAMES.astype(">f8"), FRAMES.astype(np.float16)):
        for thing in (array, {"cluster_centers": array, "n_clusters": 300}):
            joblib.dump(thing, tmp_path / "km.bin")
            assert np.array_equal(read_centers(tmp_path / "km.bin"), array.astype(np.float32))
        np.save(tmp_path / "km.npy", array)
        assert np.array_equal(read_centers(tmp_path / "km.npy"), array.astype(np.float32))
    np.savez(tmp_path / "km.npz", centers=FRAMES)
    assert np.array_equal(read_centers(tmp_path / "km.npz"), FRAMES)


def test_a_file_of_an_older_joblib(tmp_path: Path) -> None:
    """Its arrays follow at once, without the padding that the file tells of today."""
    joblib.dump({"centers": FRAMES}, tmp_path / "new")
    data = (tmp_path / "new").read_bytes()
    wanted = FRAMES.tobytes()
    start = data.index(wanted)
    padding = next(n for n in range(1, 20) if data[start - n : start] == bytes([n - 1]) + b"\xff" * (n - 1))
    old = data[: start - padding] + data[start:]
    (tmp_path / "old").write_bytes(old.replace(b"numpy_array_alignment_bytes", b"numpy_array_alignment_other"))
    assert np.array_equal(read_centers(tmp_path / "old"), FRAMES)


class Hostile:
    """What is called when it is unpickled."""

    def __init__(self, call: Any, *args: Any) -> None:
        self.call = call, args

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    "hostile",
    [Hostile(os.system, "touch owned"), Hostile(eval, "1"), Hostile(subprocess.Popen, "true"), Hostile(getattr, "os", "system"),
     Hostile(joblib.load, "x")],
)  # fmt: skip
def test_code_is_refused_and_not_run(hostile: Any, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    joblib.dump({"cluster_centers_": FRAMES, "more": hostile}, "km.bin", protocol=protocol)
    with pytest.raises(WeightsError, match=r"'km\.bin' holds pickled code \(.+\), which is refused") as caught:
        read_centers(Path("km.bin"))
    assert "\n" not in str(caught.value)
    assert not Path("owned").exists()


def test_nothing_is_imported_for_a_file(tmp_path: Path) -> None:
    joblib.dump(MiniBatchKMeans(3, n_init=1).fit(FRAMES), tmp_path / "km.bin")
    code = (
        "import sys, pathlib; from voxzoo.core.kmeans_files import read_centers;"
        f"print(read_centers(pathlib.Path({str(tmp_path / 'km.bin')!r})).shape);"
        "print({'joblib', 'sklearn', 'torch'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["(3,", "7)", "set()"]


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        ({"a": 1}, "no codewords"),
        (FRAMES[0], r"shape \(7,\)"),
        (np.arange(6).reshape(2, 3), "int64"),
        (np.full((2, 3), np.nan), "not finite"),
        (np.zeros((0, 3), np.float32), r"shape \(0, 3\)"),
        (np.array([[None, 1]]), "array of 'O8'"),
        (["x"], "no codewords"),
    ],
)
def test_what_is_no_codebook(thing: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "km.bin").write_bytes(pickle.dumps(thing, 4))
    with pytest.raises(WeightsError, match=message):
        read_centers(tmp_path / "km.bin")


def test_another_width_is_refused(tmp_path: Path) -> None:
    joblib.dump(FRAMES, tmp_path / "km.bin")
    with pytest.raises(
        WeightsError, match="300 codewords of 7 numbers, the layer gives 768: they were learnt on another model"
    ):
        read_centers(tmp_path / "km.bin", 768)


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "km.bin"
    joblib.dump(MiniBatchKMeans(3, n_init=1).fit(FRAMES), path)
    whole = path.read_bytes()
    for size in (0, 1, 10, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(WeightsError, match=r"km\.bin"):
            read_centers(path)
    with pytest.raises(WeightsError, match="cannot be read"):
        read_centers(tmp_path / "none.bin")
    (tmp_path / "km.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(WeightsError, match="damaged or no array"):
        read_centers(tmp_path / "km.npy")
    rng = np.random.default_rng(0)
    for _ in range(100):  # whatever a byte becomes, one of our errors or an array
        changed = bytearray(whole)
        changed[rng.integers(len(whole))] = rng.integers(256)
        path.write_bytes(changed)
        with contextlib.suppress(WeightsError):
            read_pickle(path)


def test_a_packed_file_does_not_unfold_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans_files, "LARGEST", 1 << 20)
    (tmp_path / "km.bin").write_bytes(zlib.compress(bytes(3 << 20)))
    with pytest.raises(WeightsError, match="unfolds to more than 1 MiB"):
        read_centers(tmp_path / "km.bin")
