"""uvicorn as `voxzoo serve` runs it, which by itself would wait without end for the head of a request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ..core.errors import MissingExtraError
from .serve import Limits, service

try:
    import h11
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError as error:
    raise MissingExtraError(error.name or "uvicorn", "serve") from None

if TYPE_CHECKING:
    from ..core.model import Model

__all__ = ["server"]

CONNECTIONS = 64  # at least, however few requests may wait: some only ask how it is doing


class _Prompt(H11Protocol):  # type: ignore[misc]
    """A connection that is closed when `patience` seconds go by in the middle of a request's head, or before the first."""

    patience = 30.0
    waited = True  # for a head that has not come, when last looked

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to look after it."""
        super().connection_made(transport)
        self.timer = self.loop.call_later(self.patience, self._look)

    def connection_lost(self, error: Exception | None) -> None:
        """Nothing more to look after."""
        self.timer.cancel()
        super().connection_lost(error)

    def _look(self) -> None:
        inside = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        waits = self.cycle is None or inside
        if waits and self.waited:
            self.transport.close()
            return
        self.waited = waits
        self.timer = self.loop.call_later(self.patience, self._look)


def server(model: Model, limits: Limits, **options: Any) -> uvicorn.Server:
    """A server of a model, to be `run` with sockets that listen. options: of `uvicorn.Config`."""
    prompt = type("Prompt", (_Prompt,), {"patience": limits.upload})
    settings = {"http": prompt, "ws": "none", "log_level": "warning", "timeout_graceful_shutdown": 5,
                "limit_concurrency": max(CONNECTIONS, 2 * limits.waiting), **options}  # fmt: skip
    return uvicorn.Server(uvicorn.Config(service(model, limits), **settings))
