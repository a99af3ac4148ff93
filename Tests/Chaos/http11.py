"""As much of HTTP/1.1 as the chaos run needs: messages read whole, and a client that never sends a request twice by itself."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass

MAX_HEAD = 64 * 1024
MAX_BODY = 16 * 1024 * 1024


class BrokenMessage(Exception):
    """The bytes are no HTTP, or end too early."""


class NoAnswer(Exception):
    """A request that may have been sent has no answer: the connection broke, or the time was over."""


@dataclass(frozen=True)
class Message:
    """A request or an answer."""

    head: bytes
    """The start line and the headers, with the empty line, as they came."""
    wire: bytes
    """The body as it came, with the framing of its chunks if it had any."""
    content: bytes
    """The body without that framing."""
    headers: tuple[tuple[str, str], ...]
    """Names in lower case."""

    @property
    def raw(self) -> bytes:
        return self.head + self.wire

    @property
    def start(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1")

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.start.split(" ")[1])

    def header(self, name: str) -> str | None:
        return next((value for known, value in self.headers if known == name), None)

    @property
    def keeps_open(self) -> bool:
        return (self.header("connection") or "").lower() != "close"


async def read_request(reader: asyncio.StreamReader) -> Message | None:
    """The next request of a connection; None when the connection ended between two requests."""
    head = await _read_head(reader)
    if head is None:
        return None
    headers = _headers(head)
    wire, content = await _read_body(reader, headers, until_end=False)
    return Message(head, wire, content, headers)


async def read_answer(reader: asyncio.StreamReader) -> Message:
    """The answer to a request that was just sent. - Raises BrokenMessage or OSError."""
    head = await _read_head(reader)
    if head is None:
        raise BrokenMessage("closed without an answer")
    if not head.startswith(b"HTTP/1."):
        raise BrokenMessage(f"no HTTP: {head[:40]!r}")
    headers = _headers(head)
    answer = Message(head, b"", b"", headers)
    try:
        is_empty = answer.status in (204, 304)
    except (ValueError, IndexError):
        raise BrokenMessage(f"no status: {answer.start!r}") from None
    if is_empty:
        return answer
    wire, content = await _read_body(reader, headers, until_end=True)
    return Message(head, wire, content, headers)


async def _read_head(reader: asyncio.StreamReader) -> bytes | None:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise BrokenMessage(f"ended in its head: {error.partial[:40]!r}") from None
    except asyncio.LimitOverrunError:
        raise BrokenMessage("the head is too long") from None


def _headers(head: bytes) -> tuple[tuple[str, str], ...]:
    found = []
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            found.append((name.strip().lower(), value.strip()))
    return tuple(found)


async def _read_body(reader: asyncio.StreamReader, headers: tuple[tuple[str, str], ...],
                     until_end: bool) -> tuple[bytes, bytes]:
    """The body with and without its framing. `until_end`: without a length it goes on until the connection ends."""
    known = dict(headers)
    try:
        if known.get("transfer-encoding", "").lower() == "chunked":
            return await _read_chunks(reader)
        if "content-length" in known:
            length = int(known["content-length"])
            if not 0 <= length <= MAX_BODY:
                raise BrokenMessage(f"a body of {length} bytes")
            body = await reader.readexactly(length)
        else:
            body = await reader.read(MAX_BODY) if until_end else b""
        return body, body
    except asyncio.IncompleteReadError:
        raise BrokenMessage("ended in its body") from None
    except ValueError as error:
        raise BrokenMessage(str(error)) from None


async def _read_chunks(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    wire, content = bytearray(), bytearray()
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        if len(wire) + size > MAX_BODY:
            raise BrokenMessage("the chunks are too long")
        chunk = await reader.readexactly(size + 2)
        wire += line + chunk
        content += chunk[:-2]
        if size == 0:
            return bytes(wire), bytes(content)


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection at once, with a reset (RST) and not with an orderly end."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@dataclass
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def is_usable(self) -> bool:
        return not self.reader.at_eof() and self.reader.exception() is None and not self.writer.is_closing()


class Client:
    """A client of one address that keeps its connections."""

    def __init__(self, port: int, host: str = "127.0.0.1"):
        self._host, self._port = host, port
        self._idle: list[_Connection] = []

    async def request(self, method: str, path: str, body: bytes | None = None,
                      headers: dict[str, str] | None = None, timeout: float = 10.0) -> Message:
        """One request, sent once. When the time is over its connection is closed. - Raises NoAnswer."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}:{self._port}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        raw = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(timeout):
                connection = await self._connect()
                connection.writer.write(raw)
                answer = await read_answer(connection.reader)
        except (OSError, BrokenMessage, TimeoutError) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}") from None
        else:
            if answer.keeps_open:
                self._idle.append(connection)
                connection = None
            return answer
        finally:
            if connection is not None:
                connection.writer.transport.abort()

    async def _connect(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable:
                return connection
            connection.writer.transport.abort()
        reader, writer = await asyncio.open_connection(self._host, self._port, limit=MAX_HEAD)
        return _Connection(reader, writer)

    def close(self) -> None:
        for connection in self._idle:
            connection.writer.transport.abort()
        self._idle.clear()
