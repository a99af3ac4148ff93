"""The system under test: the three services, nginx and the mock provider as child processes, and the two fault proxies between
Order and the others."""

from __future__ import annotations

import asyncio
import ctypes
import base64
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fault_proxy import FaultProxy
from http11 import Client, NoAnswer

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("order", "stock", "payment")
PROVIDER = "mock-provider"

# Short times, so that what the product does in seconds is seen in tenths and a run of minutes shows hours.
SETTINGS = {
    "CHECKOUT_TIMEOUT_SECONDS": "4",
    "GATEWAY_TIMEOUT_SECONDS": "0.5",
    "GATEWAY_BACKOFF_BASE_SECONDS": "0.05",
    "GATEWAY_BACKOFF_MAX_SECONDS": "0.5",
    "GATEWAY_BACKOFF_JITTER_SECONDS": "0.02",
    "BREAKER_OPEN_SECONDS": "0.2",  # Open for long, breakers would keep the load away from what is to be seen.
    "SAGA_PARKED_RETRY_SECONDS": "1",
    "PAYMENT_TEST_METHODS": "true",
    "RESERVATION_TTL_SECONDS": "86400",  # An expiry would hide a reservation that was forgotten.
    "SHUTDOWN_TIMEOUT_SECONDS": "10",
    "PROVIDER_TIMEOUT_SECONDS": "0.5",
    "WORKER_POLL_INTERVAL_SECONDS": "0.2",
    "WORKER_PROCESSING_TIMEOUT_SECONDS": "2",
    # A provider that fails by itself as well, beside what is killed.
    "MOCK_HOLD_SECONDS": "1",
    "MOCK_SETTLE_SECONDS": "0.3",
    "MOCK_ERROR_RATE": "0.03",
    "MOCK_THROTTLE_RATE": "0.02",
    "MOCK_TIMEOUT_RATE": "0.03",
    "MOCK_WEBHOOK_DUPLICATE_RATE": "0.2",
    "MOCK_WEBHOOK_REORDER_RATE": "0.2",
    "WEBHOOK_BACKOFF_BASE_SECONDS": "0.2",
    "WEBHOOK_BACKOFF_MAX_SECONDS": "1",
}
# Nothing else of the caller's environment reaches the services: a setting in somebody's shell must not change a run.
PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")

READY_SECONDS = 20.0
STOP_SECONDS = 15.0
PR_SET_PDEATHSIG = 1


def free_ports(count: int, first: int, last: int) -> list[int]:
    """Ports that nobody listens on; `first` to `last` should lie below those that outgoing connections are given."""
    candidates = list(range(first, last + 1))
    random.SystemRandom().shuffle(candidates)
    found: list[int] = []
    for port in candidates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise CannotRun(f"fewer than {count} ports from {first} to {last} are free")


def dies_with_us(number: int) -> Callable[[], None]:
    """For a child: should this process be killed, the child gets a signal and does not stay behind."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def run() -> None:
        prctl(PR_SET_PDEATHSIG, number)
    return run


@dataclass(frozen=True)
class Death:
    """A process that ended though nobody had killed it."""

    service: str
    status: int
    log: Path


class CannotRun(Exception):
    """Something that a run needs does not work, and that is not the product's doing."""


class Service:
    """One of the services. Each of its processes writes a log of its own, which a kill may cut off."""

    def __init__(self, name: str, port: int, binary: Path, environment: dict[str, str], log_dir: Path):
        self.name, self.port = name, port
        self.kills = 0
        self.stops = 0
        self._command = [str(binary), name]
        self._environment = {**environment, "HOST": "127.0.0.1", "PORT": str(port), "OPERATOR_PORT": "0"}
        self._log_dir = log_dir
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._client = Client(port)

    @property
    def is_running(self) -> bool:
        return self._process is not None

    @property
    def log(self) -> Path:
        """Of the latest process."""
        return self._log_dir / f"{self.name}.{self._starts:04}.log"

    def spawn(self) -> None:
        assert self._process is None
        self._starts += 1
        with open(self.log, "wb") as output:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, preexec_fn=dies_with_us(signal.SIGKILL))

    async def wait_ready(self, within: float = READY_SECONDS) -> bool:
        """False when it is not ready in time, or ends before it is."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                return False
            try:
                if (await self._client.request("GET", "/health/ready", timeout=1.0)).status == 200:
                    return True
            except NoAnswer:
                pass
            await asyncio.sleep(0.01)
        return False

    def kill(self) -> None:
        """kill -9, whether it is stopped or not."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None
            self.kills += 1

    def freeze(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)
            self.stops += 1

    def thaw(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def reap(self) -> Death | None:
        """Notices that the process has ended by itself."""
        if self._process is None or (status := self._process.poll()) is None:
            return None
        self._process = None
        return Death(self.name, status, self.log)

    async def stop(self) -> Death | None:
        """SIGTERM, and what it ended with if that was not an orderly end."""
        if self._process is None:
            return None
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)
        status, self._process = self._process.returncode, None
        return None if status == 0 else Death(self.name, status, self.log)

    def end(self) -> None:
        """At once, for cleaning up."""
        self._client.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


class Nginx:
    """nginx with the project's own configuration, on a port of ours."""

    def __init__(self, port: int, services: dict[str, int], directory: Path, log_dir: Path):
        self.port = port
        self._services, self._directory, self._log_dir = services, directory, log_dir
        self._process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        self._directory.mkdir()
        shutil.copy(ROOT / "nginx.conf", self._directory)
        # As in scripts/up: the idle time is well below a service's own.
        (self._directory / "upstreams.conf").write_text("".join(
            f"upstream {name} {{ server 127.0.0.1:{port}; keepalive 128; keepalive_requests 100000;"
            f" keepalive_timeout 15s; }}\n" for name, port in self._services.items()))
        (self._directory / "listen.conf").write_text(f"listen 127.0.0.1:{self.port} backlog=4096;\n")
        user = " user root root;" if os.geteuid() == 0 else ""
        with open(self._log_dir / "access.log", "ab") as output, open(self._log_dir / "nginx.log", "ab") as errors:
            self._process = subprocess.Popen(
                ["nginx", "-e", "stderr", "-p", f"{self._directory}/", "-c", "nginx.conf",
                 "-g", f"daemon off; pid nginx.pid;{user}"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                start_new_session=True, preexec_fn=dies_with_us(signal.SIGTERM))

    @property
    def has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def end(self) -> None:
        """Its workers are the master's to end, so it gets a moment for that."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(5)
        self._process = None


class System:
    """All of it: nginx, the services, and the proxies through which Order reaches Stock and Payment."""

    def __init__(self, binary: Path, data_dir: Path, ports: list[int], seed: str, settings: dict[str, str]):
        http, order, stock, payment, to_stock, to_payment, provider = ports
        self.data_dir = data_dir
        self.log_dir = data_dir / "log"
        self.deaths: list[Death] = []
        self.proxies = {
            "stock": FaultProxy("stock", to_stock, stock, random.Random(f"{seed}/stock")),
            "payment": FaultProxy("payment", to_payment, payment, random.Random(f"{seed}/payment")),
        }
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | SETTINGS | settings | {
            "DATA_DIR": str(data_dir),
            "STOCK_BASE_URL": f"http://127.0.0.1:{to_stock}",
            "PAYMENT_BASE_URL": f"http://127.0.0.1:{to_payment}",
            "STRIPE_BASE_URL": f"http://127.0.0.1:{provider}/stripe",
            "PAYPAL_BASE_URL": f"http://127.0.0.1:{provider}/paypal",
            "WEBHOOK_URL": f"http://127.0.0.1:{payment}/webhooks/{{provider}}",
            **{f"{name}_WEBHOOK_SECRET": f"whsec_{base64.b64encode(os.urandom(32)).decode()}" for name in ("STRIPE", "PAYPAL")},
        }
        self.services = {name: Service(name, port, binary, environment, self.log_dir)
                         for name, port in zip((*SERVICES, PROVIDER), (order, stock, payment, provider))}
        self._nginx = Nginx(http, {name: self.services[name].port for name in SERVICES},
                            data_dir / "nginx", self.log_dir)
        self.edge = Client(http)
        self.direct = {name: Client(service.port) for name, service in self.services.items()}

    async def start(self) -> None:
        self.log_dir.mkdir(parents=True)
        for proxy in self.proxies.values():
            await proxy.open()
        for service in self.services.values():
            service.spawn()
        self._nginx.spawn()
        for service in self.services.values():
            if not await service.wait_ready():
                raise CannotRun(f"{service.name} did not start:\n{service.log.read_text(errors='replace')[-2000:]}")
        deadline = time.monotonic() + READY_SECONDS
        while not await self._edge_answers():
            if self._nginx.has_ended or time.monotonic() > deadline:
                raise CannotRun(f"nginx did not start:\n{(self.log_dir / 'nginx.log').read_text()[-2000:]}")
            await asyncio.sleep(0.05)

    async def _edge_answers(self) -> bool:
        try:
            return (await self.edge.request("GET", "/order/health/ready", timeout=1.0)).status == 200
        except NoAnswer:
            return False

    async def kill(self, *names: str) -> None:
        """kill -9. Nobody listens on a dead service's port, so nobody listens on its proxy's either: a connection that is
        refused means something else to Order than one that breaks."""
        for name in names:
            self.services[name].kill()
            if name in self.proxies:
                self.proxies[name].shut()

    async def restart(self, *names: str) -> bool:
        """Starts services again, at once. False when one of them did not become ready."""
        for name in names:
            if not self.services[name].is_running:
                self.services[name].spawn()
        ready = await asyncio.gather(*(self.services[name].wait_ready() for name in names))
        for name in names:
            if name in self.proxies:
                await self.proxies[name].open()
        return all(ready)

    async def watch(self) -> None:
        """Runs for ever: notes a service that ends by itself, and starts it again so that the run can go on."""
        while True:
            await asyncio.sleep(0.05)
            for service in self.services.values():
                if (death := service.reap()) is not None:
                    self.deaths.append(death)
                    await asyncio.sleep(0.2)
                    await self.restart(service.name)
            if self._nginx.has_ended:
                raise CannotRun(f"nginx ended by itself:\n{(self.log_dir / 'nginx.log').read_text()[-2000:]}")

    async def quiet(self, within: float) -> bool:
        """No faults, nobody stopped, everybody up. False when a service is not."""
        await asyncio.gather(*(proxy.quiet(within) for proxy in self.proxies.values()))
        for service in self.services.values():
            service.thaw()
        return await self.restart(*self.services)

    @property
    def faults(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for proxy in self.proxies.values():
            total.update({fault.value: count for fault, count in proxy.counts.items()})
        return total

    async def stop(self) -> None:
        """In order, as scripts/up does it; a service that does not end well is noted."""
        for name in ("order", "payment", "stock", PROVIDER):
            if (death := await self.services[name].stop()) is not None:
                self.deaths.append(death)

    async def end(self) -> None:
        """Whatever still runs, at once."""
        for client in (self.edge, *self.direct.values()):
            client.close()
        for service in self.services.values():
            service.end()
        self._nginx.end()
        for proxy in self.proxies.values():
            await proxy.close()
