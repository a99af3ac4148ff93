"""Starting and stopping the system under test.

`Stack` is the whole of it, started as a user starts it: `scripts/up --detach`, with nginx in front.
`Service` is one service started directly from the binary, where nginx would be in the way.
Both take free ports on the loopback interface and a temporary data directory, and stop by pid all that they started.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("order", "stock", "payment")

# The whole suite runs with short times, so that what the product does in seconds is seen in tenths.
FAST = {
    "PAYMENT_TEST_METHODS": "true",
    "STOCK_INITIAL_QUANTITY": "1000000",
    "GATEWAY_TIMEOUT_SECONDS": "1",
    "GATEWAY_MAX_ATTEMPTS": "5",
    "GATEWAY_BACKOFF_BASE_SECONDS": "0.05",
    "GATEWAY_BACKOFF_MAX_SECONDS": "0.5",
    "GATEWAY_BACKOFF_JITTER_SECONDS": "0.01",
    "GATEWAY_GIVE_UP_SECONDS": "0",
    "CHECKOUT_TIMEOUT_SECONDS": "8",
}

# Settings of the caller's own shell must not reach the system under test.
SETTINGS = (
    "HOST", "PORT", "OPERATOR_HOST", "OPERATOR_PORT", "DATA_DIR", "LOG_LEVEL", "ORDER_BASE_URL", "STOCK_BASE_URL", "PAYMENT_BASE_URL", "STOCK_INITIAL_QUANTITY",
    "CHECKOUT_TIMEOUT_SECONDS", "CHECKOUT_MAX_IN_FLIGHT", "GATEWAY_TIMEOUT_SECONDS", "GATEWAY_MAX_ATTEMPTS",
    "GATEWAY_BACKOFF_BASE_SECONDS", "GATEWAY_BACKOFF_MAX_SECONDS", "GATEWAY_BACKOFF_JITTER_SECONDS", "GATEWAY_GIVE_UP_SECONDS",
    "IDEMPOTENCY_BACKEND", "STORE_MUST_EXIST", "IDEMPOTENCY_TTL_SECONDS", "RESERVATION_TTL_SECONDS", "SHUTDOWN_TIMEOUT_SECONDS",
    "PAYMENT_TEST_METHODS", "TRANSACTION_FEE", "STRIPE_BASE_URL", "PAYPAL_BASE_URL", "STRIPE_WEBHOOK_SECRET",
    "PAYPAL_WEBHOOK_SECRET", "PROVIDER_TIMEOUT_SECONDS", "WORKER_POLL_INTERVAL_SECONDS",
    "WORKER_PROCESSING_TIMEOUT_SECONDS", "WORKER_MAX_IN_FLIGHT", "BREAKER_FAILURE_RATE", "BREAKER_MIN_CALLS",
    "BREAKER_CONSECUTIVE_FAILURES", "BREAKER_OPEN_SECONDS", "HTTP_HOST", "HTTP_PORT", "ORDER_PORT", "STOCK_PORT", "PAYMENT_PORT",
    "MOCK_PROVIDER_PORT", "CLIENT_RATE",
    "ORDER_OPERATOR_PORT", "STOCK_OPERATOR_PORT", "PAYMENT_OPERATOR_PORT", "ORDER_OPERATOR_URL", "STOCK_OPERATOR_URL", "PAYMENT_OPERATOR_URL",
    "NO_COLOR", "COLUMNS", "LINES",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy",
)


def binary() -> Path:
    return Path(os.environ.get("CHECKOUT_BIN") or ROOT / ".build" / "debug" / "checkout")


_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, none of which was given before. Below the range that Linux takes outgoing connections
    from: such a port could be gone before its service listens on it."""
    ports = []
    while len(ports) < count:
        port = random.randrange(20_000, 32_000)
        if port in _given:
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        ports.append(port)
    return ports


def clean_environment(extra: dict[str, str]) -> dict[str, str]:
    env = {k: v for k, v in os.environ.items()
           if k not in SETTINGS and not k.startswith(("OTEL_", "MOCK_", "WEBHOOK_"))}
    env.update({k: str(v) for k, v in extra.items()})
    return env


def run(*args: str, env: dict | None = None, within: float = 60.0) -> tuple[int, str, str]:
    """Runs the executable to its end: exit status, and what it wrote to its two outputs."""
    done = subprocess.run([str(binary()), *args], env=clean_environment(env or {}), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=within)
    return done.returncode, done.stdout, done.stderr


def get(url: str, timeout: float = 5.0) -> httpx.Response:
    """A GET that no proxy of the machine's can catch."""
    return httpx.get(url, timeout=timeout, trust_env=False)


def eventually(probe, what: str, within: float = 20.0, every: float = 0.05):
    """Calls `probe` until it returns something true, and returns that. Fails with the last value when time is up."""
    deadline = time.monotonic() + within
    last = None
    while True:
        try:
            last = probe()
            if last:
                return last
        except (httpx.TransportError, OSError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what}; the last answer was {last!r}")
        time.sleep(every)


def alive(pid: int) -> bool:
    """True while a process of that number runs (a zombie does not run)."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:
        return True


def parse_log(text: str) -> list[dict]:
    """INV-18: every line is one JSON object. A last line that is still being written has no line end and is left out."""
    lines = []
    for line in text.split("\n")[:-1]:
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError:
            raise AssertionError(f"a line of the log is not JSON: {line!r}") from None
        assert isinstance(value, dict), f"a line of the log is not an object: {line!r}"
        lines.append(value)
    return lines


class Service:
    """One service, directly from the binary. No supervisor: what dies stays dead."""

    def __init__(self, name: str, env: dict[str, str] | None = None, data_dir: Path | None = None,
                 args: tuple[str, ...] = (), port: int | None = None):
        self.name = name
        self.own_directory = data_dir is None
        self.data_dir = Path(data_dir or tempfile.mkdtemp(prefix=f"contract-{name}-"))
        self.port, self.operator_port = free_ports(2)
        self.port = port or self.port
        self.env = {**FAST, "HOST": "127.0.0.1", "PORT": str(self.port), "OPERATOR_PORT": str(self.operator_port), "DATA_DIR": str(self.data_dir), **(env or {})}
        self.args = args
        self.process: subprocess.Popen | None = None
        fd, path = tempfile.mkstemp(prefix=f"contract-{name}-", suffix=".log")
        os.close(fd)
        self.output = Path(path)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def operator_url(self) -> str:
        return f"http://127.0.0.1:{self.operator_port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def spawn(self) -> "Service":
        with open(self.output, "ab") as out:
            self.process = subprocess.Popen([str(binary()), self.name, *self.args], env=clean_environment(self.env),
                                            cwd=self.data_dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        return self

    def wait_ready(self, within: float = 20.0) -> "Service":
        def ready():
            assert self.process is not None
            code = self.process.poll()
            if code is not None:
                raise RuntimeError(f"{self.name} ended with {code}: {self.text()[-2000:]}")
            return get(f"{self.url}/health/ready", 2).status_code == 200
        eventually(ready, f"{self.name} is ready", within)
        return self

    def start(self) -> "Service":
        try:
            return self.spawn().wait_ready()
        except BaseException:
            self.stop()
            raise

    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def logs(self) -> list[dict]:
        return parse_log(self.text())

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, within: float) -> int:
        assert self.process is not None
        return self.process.wait(within)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(10)

    def terminate(self, within: float = 10.0) -> int:
        self.signal(signal.SIGTERM)
        return self.wait(within)

    def stop(self) -> None:
        """Ends the process, by its id, whatever state it is in, and removes what it left."""
        self.kill()
        self.output.unlink(missing_ok=True)
        if self.own_directory:
            shutil.rmtree(self.data_dir, ignore_errors=True)

    def __enter__(self) -> "Service":
        return self if self.process is not None else self.start()

    def __exit__(self, *_) -> None:
        self.stop()


class Stack:
    """The three services, nginx and the mock provider, through `scripts/up --detach` and `scripts/down`."""

    def __init__(self, env: dict[str, str] | None = None, build: str | None = None):
        self.data_dir = Path(tempfile.mkdtemp(prefix="contract-stack-"))
        self.http_port, self.order_port, self.stock_port, self.payment_port, self.mock_port, *operators = free_ports(8)
        self.operator_ports = dict(zip(("order", "stock", "payment"), operators))
        self.env = {
            **FAST,
            "HTTP_PORT": self.http_port, "ORDER_PORT": self.order_port, "STOCK_PORT": self.stock_port,
            "PAYMENT_PORT": self.payment_port, "MOCK_PROVIDER_PORT": self.mock_port,
            **{f"{name.upper()}_OPERATOR_PORT": port for name, port in self.operator_ports.items()}, "DATA_DIR": self.data_dir,
            "BUILD": build or os.environ.get("BUILD", "debug"), "CHECKOUT_BIN": str(binary()),
            **(env or {}),
        }
        self.started = False

    # Addresses

    @property
    def base(self) -> str:
        """Through nginx."""
        return f"http://127.0.0.1:{self.http_port}"

    def port(self, service: str) -> int:
        return {"order": self.order_port, "stock": self.stock_port, "payment": self.payment_port,
                "mock-provider": self.mock_port}[service]

    def direct(self, service: str) -> str:
        """Past nginx, to the service itself."""
        return f"http://127.0.0.1:{self.port(service)}"

    def for_operators(self, service: str) -> str:
        """The service's port for operators."""
        return f"http://127.0.0.1:{self.operator_ports[service]}"

    # Life

    def script(self, name: str, *args: str, within: float) -> tuple[int, str]:
        # The output goes to a file: what stays behind would hold a pipe open for ever.
        path = self.data_dir / f"{name}.out"
        with open(path, "wb") as out:
            code = subprocess.run([str(ROOT / "scripts" / name), *args], cwd=ROOT, env=clean_environment(self.env),
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=within).returncode
        return code, path.read_text(errors="replace")

    def start(self) -> "Stack":
        self.started = True
        try:
            code, output = self.script("up", "--detach", within=1800)  # it may have to build first
            assert code == 0, f"scripts/up --detach ended with {code}:\n{output[-4000:]}"
            for service in SERVICES:
                eventually(lambda s=service: get(f"{self.direct(s)}/health/ready", 2).status_code == 200,
                           f"{service} is ready after scripts/up --detach", 10)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self, keep: bool = False) -> None:
        """Stops everything; `keep` leaves the data directory for a look at the stores (call `remove` after it)."""
        try:
            if self.started:
                pids = self.pids()
                try:
                    self.script("down", within=60)
                finally:
                    self.started = False
                    for pid in pids:
                        if alive(pid):
                            self.end(pid)
        finally:
            if not keep:
                self.remove()

    def remove(self) -> None:
        shutil.rmtree(self.data_dir, ignore_errors=True)

    @staticmethod
    def end(pid: int) -> None:
        for number in (signal.SIGCONT, signal.SIGKILL):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return

    def pids(self) -> list[int]:
        """The pids on file, the supervisor first, so that nothing is started again while it is being stopped."""
        found = []
        for name in ("up", "nginx", *SERVICES, "mock-provider"):
            try:
                found.append(self.pid(name))
            except (OSError, ValueError):
                pass
        return found

    def pid(self, name: str) -> int:
        return int((self.data_dir / "run" / f"{name}.pid").read_text().strip())

    def signal(self, name: str, number: int) -> int:
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    def kill(self, service: str) -> int:
        """kill -9; the supervisor starts it again. Returns the pid that was killed."""
        return self.signal(service, signal.SIGKILL)

    def wait_restarted(self, service: str, old_pid: int, within: float = 20.0) -> None:
        def again():
            text = (self.data_dir / "run" / f"{service}.pid").read_text().strip()
            return (text and int(text) != old_pid
                    and get(f"{self.direct(service)}/health/ready", 2).status_code == 200)
        eventually(again, f"{service} runs again after pid {old_pid} was killed", within)

    # Evidence

    def all_log_text(self) -> str:
        """Everything that anybody wrote down: the services, nginx and scripts/up."""
        return "".join(p.read_text(errors="replace") for p in sorted((self.data_dir / "log").iterdir()))

    def log_text(self, name: str) -> str:
        path = self.data_dir / "log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def logs(self, service: str) -> list[dict]:
        return parse_log(self.log_text(service))

    def __enter__(self) -> "Stack":
        return self.start()

    def __exit__(self, *_) -> None:
        self.stop()
