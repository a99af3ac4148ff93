"""HTTP by hand, for what an HTTP library would put right before it is sent: bad headers, two lines of one, half a body."""

from __future__ import annotations

import http.client
import io
import json
import socket
from urllib.parse import urlsplit


class RawResponse:
    """The parts of an answer that the helpers use, under httpx's names."""

    def __init__(self, status: int, headers: list[tuple[str, str]], content: bytes):
        self.status_code = status
        self.header_list = headers
        self.content = content

    @property
    def headers(self) -> dict[str, str]:
        return Headers(self.header_list)

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.content)

    def __repr__(self) -> str:
        return f"<RawResponse {self.status_code} {self.content[:200]!r}>"


class Headers(dict):
    """Read by name in any case; a header that came twice is joined with a comma."""

    def __init__(self, pairs: list[tuple[str, str]]):
        super().__init__()
        for name, value in pairs:
            name = name.lower()
            self[name] = f"{self[name]}, {value}" if name in self else value

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return super().__contains__(str(name).lower())

    def get(self, name: str, default=None):
        return super().get(name.lower(), default)


def connect(base: str, timeout: float = 30.0) -> socket.socket:
    url = urlsplit(base)
    return socket.create_connection((url.hostname, url.port), timeout=timeout)


def receive(sock: socket.socket, method: str = "GET") -> RawResponse | None:
    """The next answer on the connection, or None when it was closed without one."""
    response = http.client.HTTPResponse(sock, method=method)
    try:
        response.begin()
        content = response.read()
    except (http.client.HTTPException, ConnectionError):
        return None
    finally:
        response.close()
    return RawResponse(response.status, response.getheaders(), content)


def receive_all(sock: socket.socket) -> list[RawResponse]:
    """The answers to GET or POST requests until the other side closes, which it does after whole ones only."""
    content = b""
    while more := sock.recv(1 << 16):
        content += more
    stream = Stream(content)
    answers = []
    while stream.tell() < len(content):
        response = http.client.HTTPResponse(stream)
        response.begin()
        body = response.read()
        answers.append(RawResponse(response.status, response.getheaders(), body))
    return answers


class Stream(io.BytesIO):
    """Bytes that a library takes for a socket, and does not close."""

    def makefile(self, *_):
        return self

    def close(self):
        pass


def send(sock: socket.socket, data: bytes) -> None:
    """Sends, and does not mind when the other side has already answered and closed."""
    try:
        sock.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        pass


def message(method: str, target: str, headers: list[tuple[str, str | bytes]], body: bytes = b"",
            length: bool | int = True, close: bool = True) -> bytes:
    """A request, byte for byte. `length` False leaves Content-Length out, a number says something else than the truth."""
    lines = [f"{method} {target} HTTP/1.1".encode("latin-1"), b"Host: localhost"]
    for name, value in headers:
        lines.append(name.encode("latin-1") + b": " + (value if isinstance(value, bytes) else value.encode("utf-8")))
    if length is not False and (body or method in ("POST", "PUT", "PATCH")):
        lines.append(b"Content-Length: " + str(len(body) if length is True else length).encode())
    if close:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def request(base: str, method: str, target: str, headers: list[tuple[str, str | bytes]] = (), body: bytes = b"",
            length: bool | int = True, timeout: float = 30.0) -> RawResponse | None:
    """One request on a connection of its own. The target goes out as it is, with its dots, slashes and escapes."""
    with connect(base, timeout) as sock:
        send(sock, message(method, target, list(headers), body, length))
        return receive(sock, method)


def chunked(body: bytes, size: int = 8192, end: bool = True) -> bytes:
    out = b""
    for i in range(0, len(body), size):
        part = body[i:i + size]
        out += f"{len(part):x}\r\n".encode() + part + b"\r\n"
    return out + (b"0\r\n\r\n" if end else b"")
