"""The Ray engine: the bytes of the local one; actors, nodes and drivers that die. All but one of these tests are slow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import voxzoo
from voxzoo import MissingExtraError
from voxzoo.core.loading import random_model
from voxzoo.core.weights import save_folder
from voxzoo.corpus.engine import Options, tokenize, tokenize_all
from voxzoo.corpus.plan import Task
from voxzoo.corpus.pool import InlinePool
from voxzoo.corpus.sources import open_source

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


def test_without_ray_the_extra_is_named(corpus: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'voxzoo\[ray\]'"):
        tokenize(options(corpus, tmp_path / "out", model, engine="ray"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    item, folder = voxzoo.entry("encodec-24k"), tmp_path_factory.mktemp("models") / "encodec"
    made = random_model(item, {**item.config, **item.tiny})
    save_folder(folder, item.name, made.config, made.network.state_dict())
    return str(folder)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 clips, two of them broken."""
    root, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    for i in range(80):
        soundfile.write(root / f"{i:02d}.wav", 0.1 * rng.standard_normal(2000 + 50 * i), 2400)
    (root / "13.wav").write_text("no sound")
    (root / "77.wav").write_bytes(b"")
    return root


def options(source: Path, output: Path, model: str, **more: Any) -> Options:
    return Options(str(source), str(output), model, **{"workers": 2, "shard_clips": 8, "quiet": True, **more})


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def local(corpus: Path, model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "tokens"
    tokenize(options(corpus, folder, model, workers=0))
    return folder


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    module = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    module.init(num_cpus=2, object_store_memory=100 << 20, include_dashboard=False, log_to_driver=False)
    yield module
    module.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_the_bytes_are_those_of_the_local_engine(corpus: Path, model: str, local: Path, tmp_path: Path) -> None:
    summary = tokenize(options(corpus, tmp_path / "out", model, engine="ray", profile=True))
    assert tree(tmp_path / "out") == tree(local)
    assert (summary.workers, summary.rejected) == (2, 2)
    assert summary.profile
    assert summary.profile["model"] > 0
    (tmp_path / "out/part-00003.parquet").unlink()
    assert tokenize(options(corpus, tmp_path / "out", model, engine="ray")).resumed_clips == 72
    assert tree(tmp_path / "out") == tree(local)


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_several_models(corpus: Path, model: str, tmp_path: Path) -> None:
    again = tmp_path / "again"
    os.symlink(model, again)
    for engine in ("ray", "local"):
        tokenize_all(options(corpus, tmp_path / engine, model, engine=engine, more=(str(again),), limit=20))
    assert tree(tmp_path / "ray") == tree(tmp_path / "local")


def tasks(corpus: Path) -> list[Task]:
    clips = list(open_source(str(corpus)).clips())
    return [Task(0, start, clips[start : start + 4], start + 4 >= len(clips)) for start in range(0, len(clips), 4)]


def rows(results: Any) -> list[Any]:
    return [
        outcome if isinstance(outcome, str) else [codes.tolist() for codes in outcome.codes]
        for _, outcomes in results
        for outcome in outcomes
    ]


@pytest.mark.slow
def test_actors_that_are_killed_are_replaced(corpus: Path, model: str, tmp_path: Path, ray: Any) -> None:
    from voxzoo.corpus.ray_engine import RayPool

    settings = options(corpus, tmp_path, model).settings()
    wanted = rows(InlinePool(settings).results(iter(tasks(corpus))))
    workers = RayPool(settings, 2)
    found: list[Any] = []
    try:
        for number, result in enumerate(workers.results(iter(tasks(corpus)))):
            found.append(result)
            if number in (2, 9):
                ray.kill(workers.workers[0].handle)  # type: ignore[attr-defined]
        assert workers.deaths >= 1
    finally:
        workers.close()
    assert rows(found) == wanted


DRIVER = """
import sys
from voxzoo.corpus.engine import Options, tokenize
tokenize(Options(sys.argv[1], sys.argv[2], sys.argv[3], workers=2, shard_clips=8, quiet=True, engine="ray"))
"""


@pytest.mark.slow
def test_a_driver_that_is_killed_resumes_with_either_engine(
    corpus: Path, model: str, local: Path, tmp_path: Path, ray: Any
) -> None:
    address = ray.get_runtime_context().gcs_address
    command = [sys.executable, "-c", DRIVER, str(corpus), str(tmp_path / "out"), model]
    driver = subprocess.Popen(command, env={**os.environ, "RAY_ADDRESS": address}, stderr=subprocess.DEVNULL)
    for _ in range(1200):
        if (tmp_path / "out/part-00001.parquet").exists() or driver.poll() is not None:
            break
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert (tmp_path / "out/part-00001.parquet").exists()
    assert tokenize(options(corpus, tmp_path / "out", model, workers=0)).resumed_clips >= 8
    assert tree(tmp_path / "out") == tree(local)


NODES = """
import sys
import time
import ray
from ray.cluster_utils import Cluster
from voxzoo.corpus import engine
from voxzoo.corpus.engine import Options, tokenize
from voxzoo.corpus.ray_engine import RayPool
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 << 20})
nodes = [cluster.add_node(num_cpus=1, object_store_memory=100 << 20)]
ray.init(address=cluster.address, log_to_driver=False)
pools, real, engine.CPU_TASK = [], RayPool.results, (1, 1 << 20)
def results(self, tasks):
    pools.append(self)
    for result in real(self, tasks):
        time.sleep(0.1)
        if nodes and all(worker.ready and worker.jobs for worker in self.workers):  # an actor on each node is at work
            cluster.remove_node(nodes.pop(), allow_graceful=False)
        yield result
RayPool.results = results
summary = tokenize(Options(sys.argv[1], sys.argv[2], sys.argv[3], workers=2, shard_clips=8, quiet=True, engine="ray"))
ray.shutdown()
cluster.shutdown()
print("done", summary.clips, len(nodes), pools[0].deaths)
"""


@pytest.mark.slow
def test_a_node_that_is_killed(corpus: Path, model: str, local: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    command = [sys.executable, "-c", NODES, str(corpus), str(tmp_path / "out"), model]
    env = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=env)
    assert "done 78 0 1" in done.stdout, done.stderr[-2000:]
    assert tree(tmp_path / "out") == tree(local)
