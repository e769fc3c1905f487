"""`voxzoo serve`: a small HTTP service around one model, usually a bundle.

    POST /encode   the bytes of a sound file -> tokens of it, as JSON, or with ?format=safetensors as a tokens file; ?streams=K
    POST /decode   tokens, in either form -> a WAV file of 16 bits
    GET  /info     the model's facts, the limits, and how requests have been batched
    GET  /health   200 as long as the service answers

Requests that come together are computed together. An error is {"error": one line}: 400 an empty body, 408 too slow a body, 409
tokens of another model, 413 too large or too long, 415 no sound, 422 tokens or options that do not fit, 501 a model that cannot
decode, 503 too busy, 504 not done in time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..core.errors import (
    AudioError,
    MissingExtraError,
    ModelError,
    NotDecodableError,
    TokensError,
    VoxzooError,
    WrongModelError,
)
from .runtime_coded import collated
from .serve_batching import Batcher, Busy
from .serve_forms import TooLong, tokens_from_body, tokens_to_json, wav_bytes, within

try:
    from starlette.applications import Starlette
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route
except ImportError as error:
    raise MissingExtraError(error.name or "starlette", "serve") from None

if TYPE_CHECKING:
    from ..core.audio import Audio
    from ..core.model import Model
    from ..core.tokens import Tokens

__all__ = ["Limits", "service"]

READERS = 2  # threads that decode uploads
BODIES = 8  # times the largest body: all bodies together that are held
TOKENS_TYPE = "application/x-safetensors"


@dataclass(frozen=True)
class Limits:
    """What a request may cost.

    Attributes:
        body: bytes of a request's body.
        seconds: of sound, going in or coming out.
        upload: seconds in which the whole body has to be there.
        work: seconds from then on to the answer.
        waiting: requests that may wait to be computed.
        batch: requests computed at once.
        batch_seconds: of sound in a batch.
        batch_wait: seconds that a request waits for others.
    """

    body: int = 64 << 20
    seconds: float = 600.0
    upload: float = 30.0
    work: float = 60.0
    waiting: int = 128
    batch: int = 16
    batch_seconds: float = 120.0
    batch_wait: float = 0.005

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value <= 0 and name != "batch_wait":
                raise ModelError(f"{name}={value}; expected more than 0")


class _Refused(Exception):
    """An answer that is no result."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def service(model: Model, limits: Limits = Limits()) -> Starlette:
    """The application, to be run by any ASGI server: `uvicorn.run(service(model))`."""
    return _Service(model, limits).app


class _Service:
    def __init__(self, model: Model, limits: Limits) -> None:
        self.model, self.limits = model, limits
        self.held = 0  # bytes of bodies
        self.readers = ThreadPoolExecutor(READERS, "read")
        self.worker = ThreadPoolExecutor(1, "compute")
        self.encoder: Batcher[Audio, Tokens]
        self.decoder: Batcher[Tokens, Audio]
        routes = [
            Route("/encode", self.answered(self.encode), methods=["POST"]),
            Route("/decode", self.answered(self.decode), methods=["POST"]),
            Route("/info", self.info, methods=["GET"]),
            Route("/health", self.health, methods=["GET"]),
        ]
        self.app = Starlette(routes=routes, lifespan=self.lifespan, exception_handlers={404: _plain, 405: _plain})

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Both batchers run as long as the service does."""
        self.encoder, self.decoder = self._batcher(self._encode), self._batcher(self._decode)
        tasks = [asyncio.create_task(batcher.run()) for batcher in (self.encoder, self.decoder)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.readers.shutdown(wait=False, cancel_futures=True)
            self.worker.shutdown(wait=False, cancel_futures=True)

    def _batcher(self, compute: Callable[[list[Any], Any], Sequence[Any]]) -> Batcher[Any, Any]:
        limits = self.limits
        return Batcher(compute, most=limits.batch, seconds=limits.batch_seconds, wait=limits.batch_wait,
                       waiting=limits.waiting, executor=self.worker)  # fmt: skip

    def _encode(self, clips: list[Audio], streams: int | None) -> list[Tokens]:
        tokens = self.model.encode(clips, streams=streams)
        return [tokens[i] for i in range(len(tokens))]

    def _decode(self, clips: list[Tokens], _: object) -> list[Audio]:
        return list(self.model.decode(collated(clips, batched=True)))

    # ------------------------------------------------------------------ routes
    async def encode(self, request: Request) -> Response:
        """See the module."""
        form = request.query_params.get("format", "json")
        if form not in ("json", "safetensors"):
            raise _Refused(422, f"format={form!r}; expected json or safetensors")
        streams = self._streams(request.query_params.get("streams"))
        data, limits = await self.body(request), self.limits
        async with asyncio.timeout(limits.work):
            rate, resampler = self.model.facts.sample_rate, self.model.resampler
            audio = await self._read(within, data, rate, resampler, limits.seconds)
            tokens = await self.encoder.submit(audio, audio.duration, streams)
            if form == "json":
                return JSONResponse(await self._read(tokens_to_json, tokens))
            return Response(await self._read(tokens.to_bytes), media_type=TOKENS_TYPE)

    async def decode(self, request: Request) -> Response:
        """See the module."""
        await self._read(self.model.check_decodes)  # which may have to load a flow and a vocoder
        data, facts = await self.body(request), self.model.facts
        async with asyncio.timeout(self.limits.work):
            tokens = await self._read(tokens_from_body, data, facts)
            seconds = float(tokens.lengths[0]) / facts.sample_rate
            if seconds > self.limits.seconds:
                raise TooLong(f"the tokens stand for {seconds:.0f} s; this server decodes {self.limits.seconds:g} s at most")
            self.model.check(tokens)
            audio = await self.decoder.submit(tokens, seconds, len(tokens.codes))
            return Response(await self._read(wav_bytes, audio), media_type="audio/wav")

    async def info(self, request: Request) -> Response:
        """See the module."""
        model = self.model
        batches = {"encode": _told(self.encoder), "decode": _told(self.decoder)}
        return JSONResponse({"model": model.facts.to_dict(), "fingerprint": model.fingerprint, "decodes": model.decodes,
                             "engine": getattr(model, "engine", "torch"), "limits": asdict(self.limits),
                             "batches": batches})  # fmt: skip

    async def health(self, request: Request) -> Response:
        """See the module."""
        return JSONResponse({"status": "ok", "model": self.model.facts.name, "waiting": len(self.encoder.queue)})

    # ------------------------------------------------------------------ parts
    async def _read(self, work: Callable[..., Any], *given: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.readers, work, *given)

    def _streams(self, text: str | None) -> int | None:
        have = self.model.facts.streams
        if text is None:
            return None
        if not text.isdecimal() or not 1 <= int(text) <= have:
            raise _Refused(422, f"streams={text!r}; {self.model.facts.name} has 1 to {have}")
        return int(text)

    async def body(self, request: Request) -> bytes:
        """The whole body, as long as it is no larger and no slower than allowed."""
        most, slow = self.limits.body, self.limits.upload
        told = request.headers.get("content-length", "")
        if told.isdecimal() and int(told) > most:
            raise _Refused(413, f"the body has {told} bytes; this server takes {most}")
        data = bytearray()
        try:
            async with asyncio.timeout(slow):
                async for chunk in request.stream():
                    if self.held + len(chunk) > BODIES * most:
                        raise Busy
                    data += chunk
                    self.held += len(chunk)
                    request.state.held += len(chunk)
                    if len(data) > most:
                        raise _Refused(413, f"the body has more than {most} bytes, which is all that this server takes")
        except TimeoutError:
            raise _Refused(408, f"the body was not there within {slow:g} s; {len(data)} bytes were") from None
        if not data:
            raise _Refused(400, "the body is empty; send a file as it is (curl --data-binary @FILE)")
        return bytes(data)

    def answered(self, route: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """A route whose errors become answers. What was not read of a body is not waited for: the connection is closed."""

        async def answer(request: Request) -> Response:
            request.state.held = 0
            try:
                return await route(request)
            except ClientDisconnect:
                return Response(status_code=499)
            except Exception as error:
                status, message = _status(error, self.limits)
                return JSONResponse({"error": message}, status, {"connection": "close"} if status in CLOSED else None)
            finally:
                self.held -= request.state.held

        return answer


CLOSED = (408, 413, 503)  # what is left of the body is not read
STATUS: tuple[tuple[type[Exception], int], ...] = (
    (TooLong, 413),
    (WrongModelError, 409),
    (NotDecodableError, 501),
    (TokensError, 422),
    (AudioError, 415),
    (VoxzooError, 422),
)


def _status(error: Exception, limits: Limits) -> tuple[int, str]:
    if isinstance(error, _Refused):
        return error.status, str(error)
    if isinstance(error, Busy):
        return 503, "as many requests are waiting as may; try again later"
    if isinstance(error, TimeoutError):
        return 504, f"not done within {limits.work:g} s; send less sound, or try again later"
    for kind, status in STATUS:
        if isinstance(error, kind):
            return status, str(error)
    raise error


async def _plain(request: Request, error: Exception) -> Response:
    status: int = getattr(error, "status_code", 500)
    known = "POST /encode, POST /decode, GET /info, GET /health"
    return JSONResponse({"error": f"{request.method} {request.url.path} is not there; there are {known}"}, status)


def _told(batcher: Batcher[Any, Any]) -> dict[str, int]:
    """Batch size -> how many."""
    return {str(size): batcher.sizes[size] for size in sorted(batcher.sizes)}
