"""Requests that come at the same time, computed together.

While a batch is computed the next one gathers; when nothing is being computed, a request waits a few milliseconds for company.
Everything that computes does so in one thread, so that a graph is never run twice at once and cores are not fought over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Batcher", "Busy"]

Given = TypeVar("Given")
Made = TypeVar("Made")


class Busy(Exception):
    """As many requests are waiting as may."""


@dataclass
class _Waiting(Generic[Given, Made]):
    """One request: what it brings, how much sound that is in seconds, and where its result goes."""

    item: Given
    seconds: float
    key: object
    result: asyncio.Future[Made]


class Batcher(Generic[Given, Made]):
    """Gathers what is submitted and gives it to `compute`, a list at a time.

    Attributes:
        sizes: batch size -> how many batches of it there have been.
    """

    def __init__(
        self,
        compute: Callable[[list[Given], object], Sequence[Made]],
        *,
        most: int,
        seconds: float,
        wait: float,
        waiting: int,
        executor: ThreadPoolExecutor,
    ) -> None:
        """compute: items of one key, and the key -> as many results. most, seconds: items and sound of a batch (a single item
        may have more). wait: seconds that the first item waits for others. waiting: requests that may wait."""
        self.compute, self.most, self.seconds, self.wait, self.waiting = compute, most, seconds, wait, waiting
        self.executor = executor
        self.queue: deque[_Waiting[Given, Made]] = deque()
        self.arrived = asyncio.Event()
        self.sizes: dict[int, int] = {}

    async def submit(self, item: Given, seconds: float, key: object = None) -> Made:
        """The result of `item`. Only items of one key share a batch. Raises `Busy`, and what `compute` raises for it."""
        if len(self.queue) >= self.waiting:
            raise Busy
        request = _Waiting(item, seconds, key, asyncio.get_running_loop().create_future())
        self.queue.append(request)
        self.arrived.set()
        return await request.result

    async def run(self) -> None:
        """Compute what is submitted, until cancelled."""
        while True:
            await self.arrived.wait()
            if len(self.queue) < self.most:
                await asyncio.sleep(self.wait)
            batch = self._take()
            if not self.queue:
                self.arrived.clear()
            if batch:
                await self._compute(batch)

    def _take(self) -> list[_Waiting[Given, Made]]:
        """The oldest request still wanted, and those of its key that may share its batch, in their order."""
        batch: list[_Waiting[Given, Made]] = []
        left: deque[_Waiting[Given, Made]] = deque()
        seconds = 0.0
        for request in self.queue:
            if request.result.done():  # who asked has gone, or waited too long
                continue
            fits = not batch or (request.key == batch[0].key and seconds + request.seconds <= self.seconds)
            if fits and len(batch) < self.most:
                batch.append(request)
                seconds += request.seconds
            else:
                left.append(request)
        self.queue = left
        return batch

    async def _compute(self, batch: list[_Waiting[Given, Made]]) -> None:
        self.sizes[len(batch)] = self.sizes.get(len(batch), 0) + 1
        loop = asyncio.get_running_loop()
        try:
            items = [request.item for request in batch]
            made = await loop.run_in_executor(self.executor, self.compute, items, batch[0].key)
        except Exception as error:
            if len(batch) > 1:  # find the one that does it; the others are none the worse
                for request in batch:
                    await self._compute([request])
            elif not batch[0].result.done():
                batch[0].result.set_exception(error)
            return
        for request, result in zip(batch, made, strict=True):
            if not request.result.done():
                request.result.set_result(result)
