"""The HTTP service: answers equal the model's own, requests are batched, and each limit answers with its own status."""

from __future__ import annotations

import asyncio
import dataclasses
import http.client
import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import voxzoo
from voxzoo import Audio, Tokens

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import bundle_files

from voxzoo.cli.main import main
from voxzoo.export.runtime import BundleModel
from voxzoo.export.serve import Limits
from voxzoo.export.serve_batching import Batcher, Busy
from voxzoo.export.serve_http import server as server_of

LIMITS = Limits(body=200_000, seconds=5.0, upload=20.0, work=20.0, waiting=64, batch=8, batch_seconds=30.0, batch_wait=0.02)


class Server:
    """A service on a free port, in a thread."""

    def __init__(self, model: Any, limits: Limits) -> None:
        self.model = model
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.server = server_of(model, limits, log_level="critical")
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.socket.close()

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def refused(self, path: str, body: bytes) -> tuple[int, str]:
        status, text = self.ask("POST", path, body)
        return status, json.loads(text)["error"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return voxzoo.load(bundle_files.make(tmp_path_factory.mktemp("serve") / "bundle"))


@pytest.fixture(scope="module")
def server(model: Any) -> Iterator[Server]:
    server = Server(model, LIMITS)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def hasty(model: Any) -> Iterator[Server]:
    """One that waits half a second for what is to come."""
    server = Server(model, dataclasses.replace(LIMITS, upload=0.5))
    yield server
    server.stop()


def clip(seconds: float, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    return Audio((0.3 * rng.standard_normal(round(seconds * bundle_files.RATE))).astype(np.float32), bundle_files.RATE)


def wav(audio: Audio) -> bytes:
    buffer = io.BytesIO()
    audio.write(buffer)
    return buffer.getvalue()


def test_encode_gives_what_the_model_gives(server: Server, model: Any) -> None:
    data = wav(clip(0.5))
    wanted = model.encode(data)
    status, text = server.ask("POST", "/encode", data)
    found = json.loads(text)
    assert status == 200
    assert found["codes"] == [stream[0].tolist() for stream in wanted.codes]
    assert (found["samples"], found["sample_rate"], found["fingerprint"]) == (4000, 8000, model.fingerprint)
    status, stored = server.ask("POST", "/encode?format=safetensors&streams=1", data)
    tokens = Tokens.load(io.BytesIO(stored), "numpy")
    assert status == 200
    assert len(tokens.codes) == 1
    assert np.array_equal(tokens.codes[0], wanted.codes[0])


@pytest.mark.parametrize("form", ["json", "safetensors"])
def test_decode_takes_what_encode_gave(server: Server, model: Any, form: str) -> None:
    data = wav(clip(0.3))
    _, tokens = server.ask("POST", f"/encode?format={form}", data)
    status, sound = server.ask("POST", "/decode", tokens)
    assert status == 200
    assert sound == wav(model.decode(model.encode(data)))


def test_requests_that_come_together_share_batches(server: Server, model: Any) -> None:
    """32 clients at once, of three lengths: each gets its own answer, and there are far fewer batches than requests."""
    clips = [wav(clip(0.02 + 0.005 * (i % 3), i)) for i in range(32)]
    before = json.loads(server.ask("GET", "/info")[1])["batches"]["encode"]
    with ThreadPoolExecutor(32) as clients:
        answers = list(clients.map(lambda data: server.ask("POST", "/encode", data), clips))
    assert {status for status, _ in answers} == {200}
    for data, (_, text) in zip(clips, answers, strict=True):
        assert json.loads(text)["codes"] == [stream[0].tolist() for stream in model.encode(data).codes]
    after = json.loads(server.ask("GET", "/info")[1])["batches"]["encode"]
    sizes = {int(size): count - before.get(size, 0) for size, count in after.items()}
    assert sum(size * count for size, count in sizes.items()) == 32
    assert sum(sizes.values()) <= 20
    assert max(size for size, count in sizes.items() if count) <= LIMITS.batch


def test_health_and_info(server: Server, model: Any) -> None:
    status, text = server.ask("GET", "/health")
    assert (status, json.loads(text)["status"]) == (200, "ok")
    info = json.loads(server.ask("GET", "/info")[1])
    assert info["model"]["frame_rates"] == ["2000", "2000"]
    assert info["engine"] == "onnx fp32"
    assert server.ask("GET", "/encode")[0] == 405
    status, text = server.ask("GET", "/nothing")
    assert (status, "POST /encode" in json.loads(text)["error"]) == (404, True)


def test_what_is_no_sound_is_refused(server: Server) -> None:
    assert server.refused("/encode", b"hello, this is no sound")[0] == 415
    status, error = server.refused("/encode", b"#EXTM3U\n#EXTINF:1\nfile:///etc/passwd\n")
    assert (status, "WAV, FLAC" in error) == (415, True)
    status, error = server.refused("/encode", wav(clip(0.5))[:3000])
    assert (status, "truncated" in error) == (415, True)
    status, error = server.refused("/encode", b"")
    assert (status, "empty" in error) == (400, True)
    for path in ("/encode?streams=3", "/encode?streams=x", "/encode?format=mp3"):
        assert server.refused(path, wav(clip(0.1)))[0] == 422


def test_bodies_too_large_and_sound_too_long_are_refused(server: Server) -> None:
    status, error = server.refused("/encode", bytes(200_001))
    assert (status, "200001 bytes" in error) == (413, True)
    quiet = io.BytesIO()
    soundfile.write(quiet, np.zeros(6 * 8000, np.float32), 8000, format="FLAC")  # some kilobytes
    status, error = server.refused("/encode", quiet.getvalue())
    assert (status, "longer than 5 s" in error) == (413, True)
    long = server.model.encode(clip(6.0)).to_bytes()
    status, error = server.refused("/decode", long)
    assert (status, "5 s at most" in error) == (413, True)


def test_a_body_of_no_stated_length_is_cut_off_too(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", "/encode", iter([bytes(50_000)] * 5), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 413
    answer.read()
    connection.close()


def test_a_slow_body_is_given_up(hasty: Server) -> None:
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=20) as slow:
        slow.sendall(b"POST /encode HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\nRIFF")
        began = time.monotonic()
        answer = slow.recv(4000)
        assert b" 408 " in answer.split(b"\r\n")[0]
        assert b"4 bytes were" in answer or b"4 bytes were" in slow.recv(4000)
        assert time.monotonic() - began < 5


def test_a_head_that_does_not_come_is_not_waited_for(hasty: Server) -> None:
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=20) as slow:
        slow.sendall(b"POST /encode HTTP/1.1\r\nHost: he")
        assert slow.recv(100) == b""  # closed
    connection = http.client.HTTPConnection("127.0.0.1", hasty.port, timeout=20)
    for pause in (0.0, 0.7):  # one that asks in time is kept, and may be quiet for longer than a head may take
        time.sleep(pause)
        connection.request("GET", "/health")
        assert connection.getresponse().read()
    connection.sock.sendall(b"GET /hea")
    assert connection.sock.recv(100) == b""
    connection.close()


def test_tokens_that_do_not_fit_are_refused(server: Server, model: Any) -> None:
    good = json.loads(server.ask("POST", "/encode", wav(clip(0.1)))[1])
    for changed, status, words in (
        ({"fingerprint": "cd" * 32}, 409, "fingerprint cdcdcd"),
        ({"samples": good["samples"] + 400}, 422, "damaged"),
        ({"samples": "many"}, 422, "whole number"),
        ({"codes": [[1, 2], [3.5, 1]]}, 422, "whole numbers"),
        ({"codes": [[1, 2], [3, -1]]}, 422, "begin at 0"),
        ({"codes": [[1, 99999]] * 2}, 422, "codes 0 to 31"),
        ({"codes": "none"}, 422, ""),
    ):
        found, error = server.refused("/decode", json.dumps({**good, **changed}).encode())
        assert (found, words in error) == (status, True), (changed, error)
    del good["codes"]
    assert server.refused("/decode", json.dumps(good).encode()) == (
        422, "the JSON of the body has no 'codes'; send what /encode gave")  # fmt: skip
    assert server.refused("/decode", b"{" * 100_000)[0] == 422
    assert server.refused("/decode", b"\x00" * 100)[0] == 422
    two = model.encode([clip(0.1), clip(0.1)]).to_bytes()
    assert server.refused("/decode", two) == (422, "the body holds tokens of 2 clips; a request takes one")


class Stuck:
    """A model that encodes nothing before it is let go."""

    def __init__(self, model: BundleModel) -> None:
        self.model, self.go = model, threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def encode(self, *given: Any, **options: Any) -> Tokens:
        self.go.wait(20)
        return self.model.encode(*given, **options)


def test_a_queue_that_is_full_takes_no_more(model: Any) -> None:
    stuck = Stuck(model)
    server = Server(stuck, Limits(waiting=2, batch=1, batch_wait=0.0))
    try:
        with ThreadPoolExecutor(3) as clients:
            waiting = [clients.submit(server.ask, "POST", "/encode", wav(clip(0.05, i))) for i in range(3)]
            while json.loads(server.ask("GET", "/health")[1])["waiting"] < 2:
                time.sleep(0.02)
            status, error = server.refused("/encode", wav(clip(0.05)))  # one is computed, two wait: there is no room
            assert (status, "as many requests are waiting as may" in error) == (503, True)
            stuck.go.set()
            assert [one.result()[0] for one in waiting] == [200] * 3
    finally:
        stuck.go.set()
        server.stop()


def test_work_that_takes_too_long_is_given_up(model: Any) -> None:
    stuck = Stuck(model)
    server = Server(stuck, Limits(work=0.2, batch=1, batch_wait=0.0))
    try:
        for _ in range(2):  # of which the second is not even begun
            assert server.refused("/encode", wav(clip(0.05))) == (
                504, "not done within 0.2 s; send less sound, or try again later")  # fmt: skip
        stuck.go.set()
        while server.ask("POST", "/encode", wav(clip(0.05)))[0] != 200:
            time.sleep(0.02)
    finally:
        stuck.go.set()
        server.stop()


def test_a_model_that_does_not_decode(tmp_path: Path) -> None:
    folder = bundle_files.make(tmp_path / "bundle", decodes=False, undecodable="that would need a flow")
    server = Server(voxzoo.load(folder), LIMITS)
    try:
        status, error = server.refused("/decode", b"{}")
        assert (status, "that would need a flow" in error) == (501, True)
    finally:
        server.stop()


def test_one_bad_item_does_not_spoil_its_batch() -> None:
    def compute(items: list[int], key: object) -> list[int]:
        if 3 in items:
            raise ValueError("three")
        return [10 * item for item in items]

    async def ask() -> list[Any]:
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(compute, most=8, seconds=100, wait=0.01, waiting=5, executor=executor)
            runner = asyncio.create_task(batcher.run())
            made = [batcher.submit(item, 1.0) for item in (1, 2, 3, 4, 5, 6)]
            found = await asyncio.gather(*made, return_exceptions=True)
            runner.cancel()
            return found

    found = asyncio.run(ask())
    assert [found[i] for i in (0, 1, 3, 4)] == [10, 20, 40, 50]
    assert isinstance(found[2], ValueError)
    assert isinstance(found[5], Busy)


def test_limits_are_checked() -> None:
    with pytest.raises(voxzoo.ModelError, match="batch=0"):
        Limits(batch=0)


# ------------------------------------------------------------------ the verb
def test_the_verb_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    folder = bundle_files.make(tmp_path / "bundle")
    line = [sys.executable, "-m", "voxzoo.cli.main", "serve", str(folder), "--port", "0", "--max-seconds", "1"]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = process.stderr.readline()
        found = re.fullmatch(r"voxzoo: by-hand at http://127\.0\.0\.1:(\d+)\n", told)
        assert found, told
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=20)
        connection.request("POST", "/encode", wav(clip(1.1)))
        assert connection.getresponse().status == 413
        connection.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) in (0, 130)


def test_what_cannot_be_served_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(bundle_files.make(tmp_path / "bundle"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for options, words in (
            ([folder, "--port", "70000"], "expected 0 to 65535"),
            ([folder, "--port", str(taken.getsockname()[1])], "is another server there?"),
            ([folder, "--batch", "0"], "batch=0"),
            ([folder, "--device", "cuda"], "onnxruntime has cpu"),
        ):
            assert main(["serve", *options]) == 2
            assert words in capsys.readouterr().err
