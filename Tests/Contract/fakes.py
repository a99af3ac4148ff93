"""A downstream that does what a test tells it to: answer rubbish, hold, lose the answer, redirect, or pass the call on.

Given to Order as STOCK_BASE_URL or PAYMENT_BASE_URL, or put in a service's place behind nginx. Every request is recorded.
With `forward_to` what no rule speaks for goes to the real service, so that a test disturbs one call of a true checkout.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Callable
from urllib.parse import urlsplit


@dataclass
class Request:
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int
    at: float = field(default_factory=time.monotonic)

    def all(self, name: str) -> list[str]:
        return [v for k, v in self.headers if k.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        values = self.all(name)
        return values[0] if values else None

    def json(self):
        return json.loads(self.body)

    def commands(self) -> list[dict]:
        """Those of a batch."""
        return self.json()["commands"]


class Exchange:
    """One request and the connection on which its answer is due."""

    def __init__(self, downstream: "Downstream", sock: socket.socket, request: Request):
        self.downstream = downstream
        self.sock = sock
        self.request = request
        self.closed = False

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError:
            self.closed = True

    def reply(self, status: int, body: bytes = b"", content_type: str = "application/json",
              headers: list[tuple[str, str]] = ()) -> None:
        lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, 'Status')}", f"Content-Length: {len(body)}"]
        if body:
            lines.append(f"Content-Type: {content_type}")
        lines += [f"{k}: {v}" for k, v in headers]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body)

    def forward(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """Asks the real service; the answer is returned, not yet passed on."""
        assert self.downstream.forward_to, "this fake has nobody behind it"
        url = urlsplit(self.downstream.forward_to)
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
        try:
            connection.putrequest(self.request.method, self.request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.request.headers:
                if name.lower() not in ("connection", "transfer-encoding", "content-length", "expect"):
                    connection.putheader(name, value)
            if self.request.body or self.request.method in ("POST", "PUT"):
                connection.putheader("Content-Length", str(len(self.request.body)))
            connection.endheaders(self.request.body or None)
            response = connection.getresponse()
            body = response.read()
            dropped = ("connection", "transfer-encoding", "content-length", "content-type")
            headers = [(k, v) for k, v in response.getheaders() if k.lower() not in dropped]
            headers.append(("X-Kept-Content-Type", response.getheader("Content-Type") or ""))
            return response.status, headers, body
        finally:
            connection.close()

    def pass_on(self, answer: tuple[int, list[tuple[str, str]], bytes]) -> None:
        status, headers, body = answer
        kind = dict(headers).get("X-Kept-Content-Type", "application/json")
        self.reply(status, body, kind, [(k, v) for k, v in headers if k != "X-Kept-Content-Type"])

    def close(self) -> None:
        self.closed = True
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


Action = Callable[[Exchange], None]


# What a downstream can do. Each returns an action.

def reply(status: int, body: bytes | dict = b"", content_type: str = "application/json",
          headers: list[tuple[str, str]] = ()) -> Action:
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    return lambda exchange: exchange.reply(status, data, content_type, headers)


def problem(status: int, code: str, retryable: bool = False, retry_after: str | None = None, **more) -> Action:
    body = {"type": f"/problems/{code}", "title": code, "status": status, "detail": "from the fake", "instance": "/",
            "code": code, "retryable": retryable, "requestId": "fake", **more}
    headers = [("Cache-Control", "no-store")] + ([("Retry-After", retry_after)] if retry_after else [])
    return reply(status, body, "application/problem+json", headers)


def garbage(data: bytes = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc this is no HTTP\r\n\r\n") -> Action:
    def action(exchange: Exchange) -> None:
        exchange.send(data)
        exchange.close()
    return action


def not_json() -> Action:
    return reply(200, b"<html><body>It works!</body></html>", "text/html")


def wrong_shape() -> Action:
    return reply(200, {"hello": "world"})


def redirect(location: str, status: int = 307) -> Action:
    return reply(status, b"", headers=[("Location", location)])


def oversize(size: int = 32 * 1024 * 1024) -> Action:
    """A well-formed answer far larger than any real one, sent until the caller hangs up."""
    def action(exchange: Exchange) -> None:
        exchange.send(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n".encode())
        exchange.send(b'{"padding":"')
        sent = 12
        while sent < size and not exchange.closed:
            part = b"x" * min(65536, size - sent)
            exchange.send(part)
            sent += len(part)
        exchange.close()
    return action


def drop() -> Action:
    """The connection closes before anything was done."""
    return lambda exchange: exchange.close()


def cut() -> Action:
    """The answer breaks off in its body."""
    def action(exchange: Exchange) -> None:
        exchange.send(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"half":')
        exchange.close()
    return action


def run_then_drop() -> Action:
    """The real service does it, and its answer is lost."""
    def action(exchange: Exchange) -> None:
        exchange.forward()
        exchange.close()
    return action


def forward() -> Action:
    return lambda exchange: exchange.pass_on(exchange.forward())


def delay(seconds: float, then: Action | None = None) -> Action:
    def action(exchange: Exchange) -> None:
        exchange.downstream.stopping.wait(seconds)
        (then or forward())(exchange)
    return action


def hold(gate: threading.Event, then: Action | None = None) -> Action:
    """Waits until the test opens the gate, then passes the call on (or does `then`)."""
    def action(exchange: Exchange) -> None:
        while not gate.wait(0.02):
            if exchange.downstream.stopping.is_set():
                return
        (then or forward())(exchange)
    return action


def before_answer(hook: Callable[[Exchange], None]) -> Action:
    """The real service does it; the hook runs; then the answer is passed on."""
    def action(exchange: Exchange) -> None:
        answer = exchange.forward()
        hook(exchange)
        exchange.pass_on(answer)
    return action


def in_turn(*actions: Action) -> Action:
    """The first action for the first request, and so on; the last one for all that follow."""
    lock, left = threading.Lock(), list(actions)

    def action(exchange: Exchange) -> None:
        with lock:
            chosen = left.pop(0) if len(left) > 1 else left[0]
        chosen(exchange)
    return action


class Rule:
    def __init__(self, method: str, pattern: str, action: Action, times: int | None):
        self.method, self.pattern, self.action, self.left = method, re.compile(pattern), action, times

    def matches(self, request: Request) -> bool:
        return (self.left is None or self.left > 0) and self.method in ("*", request.method) \
            and self.pattern.search(request.path) is not None


class Downstream:
    """The fake itself: a small HTTP/1.1 server on the loopback interface, a thread a connection."""

    def __init__(self, forward_to: str | None = None, port: int = 0, takes_batches: bool = False):
        """Without `takes_batches` it answers batches as a service without them does, and so gets every command in a request of
        its own, which rules and tests can tell apart. Batches are tested where their transport is."""
        self.forward_to = forward_to
        self.takes_batches = takes_batches
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._requests: list[Request] = []
        self._sockets: set[socket.socket] = set()
        self._connections = 0
        self.failures: list[str] = []
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # Telling it what to do

    def on(self, pattern: str, action: Action, method: str = "POST", times: int | None = None) -> Rule:
        """For requests whose path contains `pattern`. The newest rule is asked first; `times` limits how often."""
        rule = Rule(method, pattern, action, times)
        with self._lock:
            self._rules.insert(0, rule)
        return rule

    def off(self, rule: Rule) -> None:
        with self._lock:
            if rule in self._rules:
                self._rules.remove(rule)

    def reset(self) -> None:
        with self._lock:
            self._rules.clear()
            self._requests.clear()

    # What it saw

    def seen(self, pattern: str = "", method: str = "POST") -> list[Request]:
        """Requests so far, oldest first. Only POSTs unless told otherwise: health probes are nobody's business."""
        with self._lock:
            return [r for r in self._requests if method in ("*", r.method) and re.search(pattern, r.path)]

    @property
    def connections(self) -> int:
        with self._lock:
            return self._connections

    # The server

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._connections += 1
                number = self._connections
                self._sockets.add(sock)
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        reader = sock.makefile("rb")
        try:
            while not self.stopping.is_set():
                request = read_request(reader, number)
                if request is None:
                    return
                exchange = Exchange(self, sock, request)
                if request.path == "/internal/batch" and not self.takes_batches:
                    exchange.reply(404, json.dumps({"type": "/problems/not-found", "status": 404, "code": "not-found"}).encode(),
                                   "application/problem+json")
                    continue
                with self._lock:
                    self._requests.append(request)
                    rule = next((r for r in self._rules if r.matches(request)), None)
                    if rule is not None and rule.left is not None:
                        rule.left -= 1
                try:
                    if rule is not None:
                        rule.action(exchange)
                    elif self.forward_to:
                        forward()(exchange)
                    else:
                        exchange.reply(404, b"{}")
                except (OSError, http.client.HTTPException) as error:
                    # The real service is down, or the caller left: to the caller it is a lost connection.
                    self.failures.append(repr(error))
                    exchange.close()
                if exchange.closed or (request.header("Connection") or "").lower() == "close":
                    return
        except OSError:
            pass
        finally:
            reader.close()
            sock.close()
            with self._lock:
                self._sockets.discard(sock)

    def stop(self) -> None:
        self.stopping.set()
        for sock in [self._listener, *self._sockets]:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._listener.close()

    def __enter__(self) -> "Downstream":
        return self

    def __exit__(self, *_) -> None:
        self.stop()


def read_request(reader, number: int) -> Request | None:
    """The next request on the connection; None when it ended (between requests or within one)."""
    first = reader.readline(65536)
    parts = first.decode("latin-1").split()
    if len(parts) != 3:
        return None
    headers: list[tuple[str, str]] = []
    while True:
        line = reader.readline(65536)
        if not line:
            return None
        text = line.decode("latin-1").rstrip("\r\n")
        if not text:
            break
        name, _, value = text.partition(":")
        headers.append((name, value.strip()))
    request = Request(parts[0], parts[1], headers, b"", number)
    if (request.header("Transfer-Encoding") or "").lower() == "chunked":
        body = b""
        while True:
            size = int(reader.readline(100).split(b";")[0] or b"0", 16)
            body += reader.read(size)
            reader.readline(10)
            if size == 0:
                break
        request.body = body
    else:
        length = int(request.header("Content-Length") or 0)
        request.body = reader.read(length) if length else b""
        if len(request.body) < length:
            return None
    return request
