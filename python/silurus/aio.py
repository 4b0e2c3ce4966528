# SPDX-License-Identifier: Apache-2.0

"""A client for asyncio.

    client = await silurus.aio.connect("shm:///run/silurus.sock")
    found = await asyncio.gather(*(client.range(box) for box in boxes))

The library shows no descriptor that an event loop could watch. So a thread of the client's own makes the calls, without
the GIL: searches that wait for it at the same time are in flight together, and it tells the loop of all their ends at
once.
"""
from __future__ import annotations

import asyncio
import collections
import itertools
import operator
import queue
import threading
from typing import Any, Callable, Deque, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from . import errors
from ._client import Client
from ._client import connect as _connect

_AT_ONCE = 1024  # calls that are taken out of the queue together


class _Call(NamedTuple):
    key: Tuple[Any, ...]  #: calls of the same key, one behind the other, can go together
    values: Tuple[Any, ...]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


_Outcome = Tuple[_Call, Any, Optional[BaseException]]


class AsyncClient:
    """A client whose calls are awaited; connect() makes it. Of any number of tasks and event loops."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._calls: queue.SimpleQueue[Optional[_Call]] = queue.SimpleQueue()
        self._closed = False
        self._lock = threading.Lock()  # guards _closed: no call comes behind the end of the queue
        self._thread = threading.Thread(target=self._run, name="silurus", daemon=True)
        self._thread.start()

    async def range(self, box: Sequence[float], predicate: str = "intersects") -> NDArray[np.uint64]:
        """As Client.range()."""
        numbers = self._numbers(box, 2 * self._client.dimensions, "a box")
        return await self._submit(("range", predicate), numbers)  # type: ignore[no-any-return]

    async def count(self, box: Sequence[float], predicate: str = "intersects") -> int:
        """As Client.count()."""
        numbers = self._numbers(box, 2 * self._client.dimensions, "a box")
        return int(await self._submit(("count", predicate), numbers))

    async def nearest(self, point: Sequence[float], k: int = 1) -> Tuple[NDArray[np.uint64], NDArray[np.float64]]:
        """As Client.nearest()."""
        numbers = self._numbers(point, self._client.dimensions, "a point")
        k = operator.index(k)
        if k < 1:
            raise errors.InvalidArgumentError(f"k must be at least 1, not {k}")
        return await self._submit(("nearest", k), numbers)  # type: ignore[no-any-return]

    async def insert(self, id: int, box: Sequence[float]) -> int:
        """As Client.insert()."""
        return int(await self._submit(("call", "insert"), id, tuple(box)))

    async def erase(self, id: int, box: Sequence[float]) -> int:
        """As Client.erase()."""
        return int(await self._submit(("call", "erase"), id, tuple(box)))

    async def update(self, id: int, from_box: Sequence[float], to_box: Sequence[float]) -> int:
        """As Client.update()."""
        return int(await self._submit(("call", "update"), id, tuple(from_box), tuple(to_box)))

    async def call(self, name: str, *arguments: Any) -> Any:
        """Any other method of Client, by its name: await client.call("range_v", mins, maxs)."""
        return await self._submit(("call", name), *arguments)

    async def close(self) -> None:
        """Waits for the calls under way and ends the connection."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._calls.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _numbers(self, sequence: Sequence[float], count: int, what: str) -> Tuple[float, ...]:
        numbers = tuple(float(one) for one in sequence)
        if len(numbers) != count:
            raise ValueError(f"{what} has {count} numbers, not {len(numbers)}")
        return numbers

    async def _submit(self, key: Tuple[Any, ...], *values: Any) -> Any:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        with self._lock:
            if self._closed:
                raise errors.UnavailableError("the client is closed")
            self._calls.put(_Call(key, values, loop, future))
        return await future

    # --- the thread

    def _run(self) -> None:
        is_open = True
        while is_open:
            taken: List[_Call] = []
            one = self._calls.get()
            while one is not None:
                taken.append(one)
                if len(taken) == _AT_ONCE or self._calls.empty():
                    break
                one = self._calls.get()
            is_open = one is not None
            outcomes: Deque[_Outcome] = collections.deque()
            try:
                for key, group in itertools.groupby(taken, key=lambda call: call.key):
                    outcomes.extend(self._perform(key, list(group)))
            except BaseException as error:  # an error of any kind: the thread goes on, and no call waits for ever
                told = {id(call.future) for call, _, _ in outcomes}
                outcomes.extend((call, None, error) for call in taken if id(call.future) not in told)
            self._deliver(outcomes)
        self._client.close()

    def _perform(self, key: Tuple[Any, ...], calls: List[_Call]) -> List[_Outcome]:
        if key[0] != "call" and len(calls) > 1:
            try:
                return [(call, found, None) for call, found in zip(calls, self._together(key, calls))]
            except Exception:  # which of them it was, each learns by itself
                pass
        return [self._alone(key, call) for call in calls]

    def _together(self, key: Tuple[Any, ...], calls: List[_Call]) -> List[Any]:
        numbers = np.array([call.values[0] for call in calls], dtype=np.float64)
        d = self._client.dimensions
        if key[0] == "nearest":
            ids, distances = self._client.nearest_v(numbers, key[1])
            sizes = np.isfinite(distances).sum(axis=1).tolist()
            return [(ids[i, :size], distances[i, :size]) for i, size in enumerate(sizes)]
        if key[0] == "count":
            return self._client.count_v(numbers[:, :d], numbers[:, d:], key[1]).tolist()  # type: ignore[no-any-return]
        ids, offsets = self._client.range_v(numbers[:, :d], numbers[:, d:], key[1])
        ends = offsets.tolist()
        return [ids[begin:end] for begin, end in zip(ends, ends[1:])]

    def _alone(self, key: Tuple[Any, ...], call: _Call) -> _Outcome:
        try:
            if key[0] == "call":
                return call, getattr(self._client, key[1])(*call.values), None
            return call, getattr(self._client, key[0])(call.values[0], key[1]), None
        except Exception as error:
            return call, None, error

    @staticmethod
    def _deliver(outcomes: Deque[_Outcome]) -> None:
        by_loop: Dict[asyncio.AbstractEventLoop, List[_Outcome]] = {}
        for outcome in outcomes:
            by_loop.setdefault(outcome[0].loop, []).append(outcome)
        for loop, theirs in by_loop.items():
            try:
                loop.call_soon_threadsafe(_set_all, theirs)
            except RuntimeError:  # the loop is closed: there is nothing left that waits
                pass


def _set_all(outcomes: List[_Outcome]) -> None:
    for call, value, error in outcomes:
        if call.future.done():  # cancelled
            continue
        if error is None:
            call.future.set_result(value)
        else:
            call.future.set_exception(error)


async def connect(url: Optional[str] = None, dimensions: Optional[int] = None, **options: Any) -> AsyncClient:
    """As silurus.connect()."""
    connecting: Callable[[], Client] = lambda: _connect(url, dimensions, **options)
    return AsyncClient(await asyncio.get_running_loop().run_in_executor(None, connecting))
