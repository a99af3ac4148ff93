"""A proxy that stands between Order and another service and misbehaves when told to.

It passes requests on one by one over kept connections, as a network would, and applies a fault to single requests: to those
that a seeded choice picks (`rate`), or to the next one (`inject`). Without a fault it is transparent: when the service breaks
a connection so does the proxy, and when the caller gives up, the service's connection ends too.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from http11 import MAX_HEAD, BrokenMessage, Message, read_answer, read_request, reset

HOLD_LIMIT = 30.0
"""Seconds after which even a held request is let go."""


class Fault(enum.Enum):
    REFUSE = "refuse"
    """The door is shut for a moment: idle connections end, new ones are refused. The request that draws it is served."""
    RESET_BEFORE = "reset before"
    """The connection is reset and the service never hears of the request."""
    RESET_IN_BODY = "reset in the body"
    """The service has done it; its answer breaks off half-way."""
    RUN_THEN_DROP = "run then drop"
    """The service has done it; its answer is lost."""
    HOLD = "hold"
    """Nothing happens until the caller gives up; the service never hears of it."""
    LATE = "late"
    """The request reaches the service late, or its answer the caller; whether the caller still waits or not."""
    TWICE = "twice"
    """The service gets the request twice, and the caller one answer."""
    GARBAGE = "garbage"
    """The answer is no HTTP, or no JSON, or makes no sense; the service may have done it or not."""
    UNAVAILABLE = "503"
    """A bare 503, as a proxy makes it; the service never hears of the request."""


@dataclass
class Times:
    """How long faults take, in seconds: each a range to choose from."""

    late: tuple[float, float] = (0.05, 1.5)
    again_after: tuple[float, float] = (0.1, 2.0)
    shut: tuple[float, float] = (0.05, 1.0)


NOT_HTTP = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc this is no HTTP\r\n\r\n"
GARBLED_BODIES = (b'{"hello":"world"}', b"<html><body>It works!</body></html>", b'{"reservationId":"01a', b"[[[[[[[[", b"")


def _answer(status: str, body: bytes, kind: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class _Upstream:
    """A connection to the service, opened when it is first needed."""

    def __init__(self, port: int):
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def exchange(self, request: Message) -> Message:
        """- Raises OSError or BrokenMessage."""
        if self._reader is None or self._writer is None or self._reader.at_eof() or self._writer.is_closing():
            self.close()
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=MAX_HEAD)
        self._writer.write(request.raw)
        return await read_answer(self._reader)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None


@dataclass
class _Exchange:
    """One request, and where its answer is due."""

    request: Message
    writer: asyncio.StreamWriter
    upstream: _Upstream
    following: asyncio.Task[Message | None]
    """Reads the caller's next request; ends without one when the caller is gone."""

    @property
    def caller_is_gone(self) -> bool:
        return self.following.done() and (self.following.exception() is not None or self.following.result() is None)

    async def until_caller_is_gone(self) -> None:
        """A caller sends nothing before it has its answer, so whatever it does next is leaving."""
        await asyncio.wait({self.following})


Action = Callable[[_Exchange], Awaitable[bool]]


class FaultProxy:
    """Listens on `port` of the loopback interface and passes on to `upstream`."""

    def __init__(self, name: str, port: int, upstream: int, rng: random.Random, times: Times | None = None):
        self.name, self.port, self.upstream = name, port, upstream
        self.rate = 0.0
        """The share of requests that a fault is applied to. May be changed at any time."""
        self.counts: Counter[Fault] = Counter()
        """How often each fault was applied."""
        self.passed = 0
        """How many requests went through without one."""
        self._rng = rng
        self._times = times or Times()
        self._injected: list[tuple[Fault, str | None]] = []
        self._server: asyncio.Server | None = None
        self._idle: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._background: set[asyncio.Future[Any]] = set()
        self._opening = asyncio.Lock()
        self._table: dict[Fault, dict[str, Action]] = {
            Fault.REFUSE: {"": self._refuse},
            Fault.RESET_BEFORE: {"": self._reset_before},
            Fault.RESET_IN_BODY: {"": self._reset_in_body},
            Fault.RUN_THEN_DROP: {"reset": self._run_then_reset, "close": self._run_then_close},
            Fault.HOLD: {"": self._hold},
            Fault.LATE: {"request": self._late_request, "answer": self._late_answer},
            Fault.TWICE: {"at once": self._twice_at_once, "in turn": self._twice_in_turn, "later": self._again_later},
            Fault.GARBAGE: {"no HTTP": self._no_http, "no sense": self._no_sense, "after it ran": self._no_sense_after},
            Fault.UNAVAILABLE: {"": self._unavailable},
        }

    # ---------------------------------------------------------------- telling it what to do

    async def open(self) -> None:
        """Listens."""
        async with self._opening:
            if self._server is None:
                self._server = await asyncio.start_server(
                    self._accept, "127.0.0.1", self.port, limit=MAX_HEAD, backlog=256)

    def shut(self) -> None:
        """Refuses new connections and ends idle ones, as a port does behind which nobody listens any more."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._idle):
            writer.transport.abort()

    def inject(self, fault: Fault, variant: str | None = None) -> None:
        """Applies a fault to the next request that no other injected fault is for."""
        assert variant is None or variant in self._table[fault]
        self._injected.append((fault, variant))

    async def quiet(self, within: float) -> None:
        """Ends all mischief, and waits until what was started of it (late and repeated requests) is over."""
        self.rate = 0.0
        self._injected.clear()
        if self._background:
            await asyncio.wait(tuple(self._background), timeout=within)
        await self.open()

    async def close(self) -> None:
        self.shut()
        for task in (*self._connections, *self._background):
            task.cancel()
        await asyncio.gather(*self._connections, *self._background, return_exceptions=True)

    # ---------------------------------------------------------------- serving

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        upstream = _Upstream(self.upstream)
        try:
            await self._serve(reader, writer, upstream)
        except asyncio.CancelledError:
            pass  # Only `close` cancels; asyncio would complain of a connection that ends so.
        except (OSError, BrokenMessage):
            reset(writer)
        finally:
            self._connections.discard(task)
            self._idle.discard(writer)
            upstream.close()
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: _Upstream) -> None:
        self._idle.add(writer)
        following = asyncio.create_task(read_request(reader))
        try:
            while (request := await following) is not None:
                self._idle.discard(writer)
                # Read ahead: it is how a caller's leaving is noticed while its request is at work.
                following = asyncio.create_task(read_request(reader))
                if not await self._choose()(_Exchange(request, writer, upstream, following)):
                    return
                self._idle.add(writer)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    def _choose(self) -> Action:
        variant: str | None = None
        if self._injected:
            fault, variant = self._injected.pop(0)
        elif self.rate > 0 and self._rng.random() < self.rate:
            fault = self._rng.choice(tuple(Fault))
        else:
            self.passed += 1
            return self._pass
        self.counts[fault] += 1
        variants = self._table[fault]
        return variants[variant if variant is not None else self._rng.choice(tuple(variants))]

    # Each action answers whether the caller's connection stays open.

    async def _pass(self, exchange: _Exchange) -> bool:
        """As a network does. When the caller leaves, so does its connection to the service; what was sent was sent."""
        forwarding = asyncio.create_task(exchange.upstream.exchange(exchange.request))
        try:
            await asyncio.wait({forwarding, exchange.following}, return_when=asyncio.FIRST_COMPLETED)
            if exchange.caller_is_gone and not forwarding.done():
                return False
            answer = await forwarding
        finally:
            if not forwarding.done():
                forwarding.cancel()
                await asyncio.gather(forwarding, return_exceptions=True)
        return await self._reply(exchange, answer)

    async def _reply(self, exchange: _Exchange, answer: Message) -> bool:
        if exchange.writer.is_closing():
            return False
        exchange.writer.write(answer.raw)
        with contextlib.suppress(OSError):
            await exchange.writer.drain()
        return answer.keeps_open and exchange.request.keeps_open

    async def _refuse(self, exchange: _Exchange) -> bool:
        await self._pass(exchange)
        self.shut()
        self._later(self._times.shut, self.open)
        return False

    async def _reset_before(self, exchange: _Exchange) -> bool:
        reset(exchange.writer)
        return False

    async def _reset_in_body(self, exchange: _Exchange) -> bool:
        answer = await exchange.upstream.exchange(exchange.request)
        exchange.writer.write(answer.raw[: len(answer.head) + len(answer.wire) // 2])
        with contextlib.suppress(OSError):
            await exchange.writer.drain()
        await asyncio.sleep(0.005)  # A reset overtakes what has not been read yet.
        reset(exchange.writer)
        return False

    async def _run_then_reset(self, exchange: _Exchange) -> bool:
        await exchange.upstream.exchange(exchange.request)
        reset(exchange.writer)
        return False

    async def _run_then_close(self, exchange: _Exchange) -> bool:
        await exchange.upstream.exchange(exchange.request)
        return False

    async def _hold(self, exchange: _Exchange) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HOLD_LIMIT):
                await exchange.until_caller_is_gone()
        return False

    async def _late_request(self, exchange: _Exchange) -> bool:
        """The request is in the network and can no longer be taken back, whether the caller waits for it or not."""
        answer = await self._shielded(self._after(self._times.late, exchange.request))
        return await self._reply(exchange, answer)

    async def _late_answer(self, exchange: _Exchange) -> bool:
        answer = await self._shielded(self._alone(exchange.request))
        await asyncio.sleep(self._rng.uniform(*self._times.late))
        return await self._reply(exchange, answer)

    async def _twice_at_once(self, exchange: _Exchange) -> bool:
        other = asyncio.create_task(self._alone(exchange.request))
        self._keep(other)
        answers = await asyncio.gather(exchange.upstream.exchange(exchange.request), other, return_exceptions=True)
        messages = [answer for answer in answers if isinstance(answer, Message)]
        if not messages:
            raise BrokenMessage("no answer to either")
        return await self._reply(exchange, self._rng.choice(messages))

    async def _twice_in_turn(self, exchange: _Exchange) -> bool:
        first = await exchange.upstream.exchange(exchange.request)
        second = await exchange.upstream.exchange(exchange.request)
        return await self._reply(exchange, self._rng.choice((first, second)))

    async def _again_later(self, exchange: _Exchange) -> bool:
        """The second comes when the caller has long gone on."""
        keeps_open = await self._pass(exchange)
        self._keep(asyncio.create_task(self._after(self._times.again_after, exchange.request)))
        return keeps_open

    async def _no_http(self, exchange: _Exchange) -> bool:
        exchange.writer.write(NOT_HTTP)
        return False

    async def _no_sense(self, exchange: _Exchange) -> bool:
        exchange.writer.write(_answer("200 OK", self._rng.choice(GARBLED_BODIES), "application/json"))
        return True

    async def _no_sense_after(self, exchange: _Exchange) -> bool:
        await exchange.upstream.exchange(exchange.request)
        return await self._no_sense(exchange)

    async def _unavailable(self, exchange: _Exchange) -> bool:
        exchange.writer.write(_answer("503 Service Unavailable", b"<h1>503 Service Unavailable</h1>", "text/html"))
        return True

    # ---------------------------------------------------------------- requests of the proxy's own

    async def _alone(self, request: Message) -> Message:
        """Over a connection of its own. - Raises OSError or BrokenMessage."""
        upstream = _Upstream(self.upstream)
        try:
            async with asyncio.timeout(HOLD_LIMIT):
                return await upstream.exchange(request)
        finally:
            upstream.close()

    async def _after(self, span: tuple[float, float], request: Message) -> Message:
        await asyncio.sleep(self._rng.uniform(*span))
        return await self._alone(request)

    async def _shielded(self, work: Awaitable[Message]) -> Message:
        task = asyncio.ensure_future(work)
        self._keep(task)
        return await asyncio.shield(task)

    def _later(self, span: tuple[float, float], action: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            await asyncio.sleep(self._rng.uniform(*span))
            await action()
        self._keep(asyncio.create_task(run()))

    def _keep(self, task: asyncio.Future[Any]) -> None:
        """Keeps a task until it ends; a service that is down at that moment is no error of ours."""
        self._background.add(task)

        def ended(task: asyncio.Future[Any]) -> None:
            self._background.discard(task)
            if not task.cancelled():
                task.exception()
        task.add_done_callback(ended)
