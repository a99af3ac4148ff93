"""The checkout as scripts/up runs it, on a data directory of its own: starting, stopping, asking, watching."""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

import processes
from errors import BenchError

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("order", "stock", "payment")
START_SECONDS = 150  # Above the time in which scripts/up gives up by itself.
STOP_SECONDS = 90
DRAIN_SECONDS = 10
# An audit reads whole tables, which with millions of orders are gigabytes.
AUDIT_SECONDS = 600
QUIET_SECONDS = 120
# Where real providers would be reached.
PROVIDERS = ("STRIPE_BASE_URL", "PAYPAL_BASE_URL", "WEBHOOK_URL")
INITIAL_QUANTITY = 1_000_000_000  # The most that Stock takes; no run sells so much.


def free_ports(names: list[str]) -> dict[str, int]:
    """Ports for those names that the environment gives none for."""
    ports = {name: int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()}
    # Below the range that Linux takes outgoing connections from, which could be given away before we listen.
    candidates = random.sample(range(20000, 32000), 200)
    for name in names:
        while name not in ports:
            if not candidates:
                raise BenchError("there is no free port between 20000 and 32000")
            candidate = candidates.pop()
            with socket.socket() as probe:
                # A closed connection of an earlier run may linger on the port; nginx and the services do not mind either.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", candidate))
                except OSError:
                    continue
            if candidate not in ports.values():
                ports[name] = candidate
    return ports


def stop_process(process: subprocess.Popen, polite: int = signal.SIGTERM, seconds: float = 10) -> None:
    """Ends a process that we started: politely, and if it does not listen, not."""
    if process.poll() is None:
        process.send_signal(polite)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(seconds)


def disagreement(order: dict, stock: dict, payment: dict) -> str | None:
    """What is wrong with the totals of the three services, once nothing is under way; None if they agree.

    Holds where every charge and every reservation is an order's, as it is here.
    """
    if order["orders"]["pending"]:
        return f"{order['orders']['pending']} orders have not ended"
    if stock["reservations"]["reserved"]:
        return f"{stock['reservations']['reserved']} reservations are still open"
    for item in stock["items"]:
        if item["received"] != item["available"] + item["reserved"] + item["completed"]:
            return f"goods appeared or vanished: {item}"
    sold = {total["currency"]: total["amount"] for total in order["completedTotals"] if total["amount"]}
    paid = {total["currency"]: total["net"] for total in payment["currencies"] if total["net"]}
    if sold != paid:
        return f"the completed orders are worth {sold}, and {paid} was paid"
    if stock["reservations"]["completed"] != order["orders"]["completed"]:
        return f"{order['orders']['completed']} orders but {stock['reservations']['completed']} reservations are completed"
    # Each checkout of a benchmark is for one piece.
    if sum(item["completed"] for item in stock["items"]) != order["orders"]["completed"]:
        return "the goods that left the stock are not those of the completed orders"
    return None


class System:
    """One checkout on fresh stores. A context manager: at its end all is stopped and its files are gone."""

    def __init__(self, base: Path):
        base.mkdir(parents=True, exist_ok=True)
        self.data = Path(tempfile.mkdtemp(prefix="bench.", dir=base))
        names = ["HTTP_PORT", "ORDER_PORT", "STOCK_PORT", "PAYMENT_PORT", "MOCK_PROVIDER_PORT"]
        ports = free_ports(names + [f"{name.upper()}_OPERATOR_PORT" for name in SERVICES])
        self.ports = {"nginx": ports["HTTP_PORT"], **{name: ports[f"{name.upper()}_PORT"] for name in SERVICES}}
        self.environment = {
            "STOCK_INITIAL_QUANTITY": str(INITIAL_QUANTITY),
            "SHUTDOWN_TIMEOUT_SECONDS": str(DRAIN_SECONDS),
            **{name: value for name, value in os.environ.items() if name not in PROVIDERS},
            **{name: str(port) for name, port in ports.items()},
            "DATA_DIR": str(self.data),
        }
        self.urls = {
            "nginx": f"http://127.0.0.1:{self.ports['nginx']}/order/checkout",
            "direct": f"http://127.0.0.1:{self.ports['order']}/checkout",
        }

    def __enter__(self) -> System:
        return self

    def __exit__(self, *_) -> None:
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)

    # ------------------------------------------------------------ starting and stopping

    def start(self) -> dict[str, float]:
        """Starts everything. Returns for each service the seconds from the start of its process until it was ready."""
        ready: dict[str, float] = {}
        with tempfile.TemporaryFile("w+") as output:
            up = subprocess.Popen(
                [ROOT / "scripts/up", "--detach"], env=self.environment,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
            try:
                deadline = time.monotonic() + START_SECONDS
                while up.poll() is None:
                    if time.monotonic() > deadline:
                        raise BenchError(f"scripts/up was not ready within {START_SECONDS} s")
                    for name in SERVICES:
                        if name not in ready and (seconds := self.seconds_to_ready(name)) is not None:
                            ready[name] = seconds
                    time.sleep(0.005)
            finally:
                stop_process(up)  # If it is still there it has to give up, and then stops what it started.
            if up.returncode != 0 or len(ready) < len(SERVICES):
                output.seek(0)
                raise BenchError(f"the checkout did not start:\n{output.read()}")
        return ready

    def stop(self) -> None:
        # In a session of its own: a Ctrl-C that ended the benchmark must not end the cleaning up.
        try:
            down = subprocess.run(
                [ROOT / "scripts/down"], env=self.environment, start_new_session=True, timeout=STOP_SECONDS,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        except subprocess.TimeoutExpired:
            raise BenchError(f"scripts/down did not end within {STOP_SECONDS} s") from None
        if down.returncode != 0:
            raise BenchError(f"the checkout did not stop:\n{down.stdout}")

    def seconds_to_ready(self, name: str, not_pid: int | None = None) -> float | None:
        """The age of a service's process, if it is ready now; None if not. `not_pid` is one that is gone or going."""
        pid = self.pid(name)
        if pid is None or pid == not_pid:
            return None
        try:
            if self.get(name, "/health/ready", timeout=1)[0] != 200:
                return None
        except OSError:
            return None
        known = processes.stat(pid)
        return processes.since_start(known.started) if known else None

    # ------------------------------------------------------------ asking

    def get(self, name: str, path: str, timeout: float = 10) -> tuple[int, bytes]:
        return self.send(name, "GET", path, timeout=timeout)

    def send(
        self, name: str, method: str, path: str, body: dict | None = None, key: str | None = None, timeout: float = 40
    ) -> tuple[int, bytes]:
        headers = {} if body is None else {"Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[name], timeout=timeout)
        with closing(connection):
            try:
                connection.request(method, path, None if body is None else json.dumps(body), headers)
                response = connection.getresponse()
                return response.status, response.read()
            except http.client.HTTPException as error:
                raise ConnectionError(f"{name} broke off: {error!r}") from error

    def audit(self, name: str) -> dict:
        try:
            status, body = self.get(name, "/audit/totals", timeout=AUDIT_SECONDS)
        except OSError as error:
            raise BenchError(f"{name} did not answer /audit/totals: {error}") from error
        if status != 200:
            raise BenchError(f"{name} answered /audit/totals with {status}: {body[:500]!r}")
        return json.loads(body)

    def check_books(self) -> int:
        """Waits until nothing is under way, and makes sure that the three services agree.

        Returns: the number of completed orders.
        """
        deadline = time.monotonic() + QUIET_SECONDS
        while self.pending() and time.monotonic() < deadline:
            time.sleep(0.05)
        order, stock, payment = (self.audit(name) for name in SERVICES)
        if (wrong := disagreement(order, stock, payment)) is not None:
            raise BenchError(f"the books do not balance: {wrong}")
        return order["orders"]["completed"]

    def pending(self) -> int:
        """Orders that have not ended, from an index of Order's store: an audit would stop Order for as long as it reads
        its whole table. A reader of a store in WAL mode blocks nobody, and this one cannot write or checkpoint."""
        try:
            with closing(sqlite3.connect(f"file:{self.data}/order.sqlite?mode=ro", uri=True, timeout=5)) as database:
                return database.execute("SELECT count(*) FROM orders WHERE status = 'pending'").fetchone()[0]
        except sqlite3.Error as error:
            raise BenchError(f"Order's store cannot be asked for unfinished orders: {error}") from error

    def put_items(self, count: int) -> None:
        """Items 1 to `count`, with plenty of each."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["stock"], timeout=10)
        with closing(connection):
            for item in range(2, count + 1):  # Item 1 is there from the start.
                body = {"name": f"item {item}", "price": {"amount": 1000, "currency": "USD"}, "onHand": INITIAL_QUANTITY}
                try:
                    connection.request("PUT", f"/items/{item}", json.dumps(body), {"Content-Type": "application/json"})
                    response = connection.getresponse()
                    text = response.read()
                except (OSError, http.client.HTTPException) as error:
                    raise BenchError(f"Stock broke off at item {item}: {error!r}") from error
                if response.status not in (200, 201):
                    raise BenchError(f"Stock answered PUT /items/{item} with {response.status}: {text[:500]!r}")

    # ------------------------------------------------------------ watching

    def pid(self, name: str) -> int | None:
        try:
            return int((self.data / "run" / f"{name}.pid").read_text())
        except (FileNotFoundError, ValueError):  # Not yet there, or not yet written.
            return None

    def pids(self) -> dict[str, list[int]]:
        """The processes to measure: each service, and nginx's workers."""
        found = {}
        for name in (*SERVICES, "nginx"):
            pid = self.pid(name)
            if pid is None:
                raise BenchError(f"{name} is not running any more; the checkout's log said:\n{self.log_end(name)}")
            found[name] = processes.children(pid) if name == "nginx" else [pid]
        return found

    def log_end(self, name: str) -> str:
        log = self.data / "log" / f"{name}.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-10:]) if log.exists() else "nothing"
