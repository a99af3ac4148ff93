"""OP-01 and OP-03 to OP-09: how the system is run, watched and stopped. OP-02 has an issue of its own."""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import uuid
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import yaml

import fakes
import raw
from api import TIMESTAMP, Api, Background, assert_first, assert_json, assert_problem, assert_replay, money, new_key
from conftest import LAB_CHECKOUT_TIMEOUT
from stack import ROOT, SERVICES, Service, Stack, alive, binary, clean_environment, eventually, free_ports, get, run

JSON = ("Content-Type", "application/json")


def run_to_end(*args: str, env: dict | None = None, within: float = 15.0) -> tuple[int, str]:
    """Runs the executable to its end: exit status, and all that it wrote."""
    code, out, err = run(*args, env=env, within=within)
    return code, out + err


# OP-01

@pytest.mark.parametrize("service", SERVICES)
def test_OP_01_a_service_in_order_is_live_ready_and_healthy(stack, service):
    for path in ("/health/live", "/health/ready"):
        assert raw.request(stack.direct(service), "GET", path).status_code == 200
        assert raw.request(stack.direct(service), "HEAD", path).status_code == 200
    body = assert_json(raw.request(stack.direct(service), "GET", "/health"))
    assert body["status"] == "healthy" and isinstance(body["checks"], dict) and body["checks"]
    assert isinstance(body["version"], str) and body["version"]
    assert body["version"] in run_to_end("--version")[1]


@pytest.mark.parametrize("down", [["stock"], ["payment"], ["stock", "payment"]], ids=lambda d: "+".join(d))
def test_OP_01_with_a_dependency_down_order_is_degraded_and_still_ready(stack, down):
    urls = {s: stack.direct(s) for s in ("stock", "payment")}
    urls.update(zip(down, (f"http://127.0.0.1:{p}" for p in free_ports(len(down)))))
    with Service("order", {"STOCK_BASE_URL": urls["stock"], "PAYMENT_BASE_URL": urls["payment"]}) as order:
        body = eventually(lambda: (b := assert_json(get(f"{order.url}/health")))["status"] == "degraded" and b, "it is degraded", 10)
        assert body["version"]
        assert set(down) <= set(body["checks"])
        assert get(f"{order.url}/health/live").status_code == 200
        assert get(f"{order.url}/health/ready").status_code == 200


def test_OP_01_order_is_healthy_again_when_the_dependency_is_back(stack):
    port = free_ports(1)[0]
    with Service("order", {"STOCK_BASE_URL": f"http://127.0.0.1:{port}", "PAYMENT_BASE_URL": stack.direct("payment")}) as order:
        eventually(lambda: get(f"{order.url}/health").json()["status"] == "degraded", "it is degraded", 10)
        with fakes.Downstream(stack.direct("stock"), port):
            eventually(lambda: get(f"{order.url}/health").json()["status"] == "healthy", "it is healthy again", 40, 0.2)


# OP-03, OP-04, NX-04: what is written down

@pytest.fixture(scope="module")
def logged(stack, api):
    """One checkout with ids of its own, and what each service's log says of it."""
    key, user, request_id = new_key("secret"), f"user-{uuid.uuid4()}", f"req-{uuid.uuid4()}"
    trace = uuid.uuid4().hex
    headers = {"X-Request-ID": request_id, "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    response = api.checkout(key, 1, 1, user, headers=headers)
    assert_first(response)

    def lines():
        found = {s: [entry for entry in stack.logs(s) if entry.get("request_id") == request_id] for s in SERVICES}
        return found if all(found.values()) else None
    return key, request_id, trace, eventually(lines, "the request id stands in all three logs", 10), response


def test_NX_04_the_request_id_is_the_same_in_every_services_log(logged):
    _, request_id, _, lines, response = logged
    assert response.headers["x-request-id"] == request_id
    assert all(lines[s] for s in SERVICES)


def test_OP_03_every_line_is_one_json_object_with_the_named_members(stack, logged):
    _, _, _, lines, _ = logged
    for service in SERVICES:
        for entry in stack.logs(service):
            assert {"timestamp", "level", "message", "service"} <= entry.keys(), entry
            assert TIMESTAMP.match(entry["timestamp"]), entry
            assert entry["service"] == service
            assert isinstance(entry["message"], str) and entry["level"] in ("trace", "debug", "info", "notice", "warning", "error", "critical")
        for entry in lines[service]:
            assert re.fullmatch(r"[0-9a-f]{32}", entry["trace_id"]) and re.fullmatch(r"[0-9a-f]{16}", entry["span_id"]), entry
        assert any("status" in e and "duration_ms" in e for e in lines[service]), f"no line of {service} tells how it ended"


def test_OP_03_a_raw_key_is_never_written_down(stack, api, logged):
    key = logged[0]
    secret = uuid.uuid4().hex
    for made in (f"{secret}-a b", f'"{secret}', f"{secret}-charge", secret.ljust(300, "x")):
        api.checkout(made, 1, 1)
        api.charge(made, money(1))
        api.reserve(made, 2**31 - 1, 1)
        api.checkout(made, 1, 1, method="test_declined")
    time.sleep(1.2)  # nginx writes its log once a second
    text = stack.all_log_text()
    assert key not in text and secret not in text
    for file in stack.data_dir.glob("log/*"):
        assert key.encode() not in file.read_bytes()


def test_OP_03_no_line_of_nginx_is_longer_than_a_pipe_takes_in_one_piece(stack):
    """Else lines of two workers could mix (INV-18)."""
    mark = uuid.uuid4().hex
    raw.request(stack.base, "GET", f"/{mark}/" + '"' * 7000, [("User-Agent", '"' * 7000), ("traceparent", '"' * 7000)])
    raw.request(stack.base, "M" * 7000, f"/{mark}/m", [])

    def lines():
        found = [line for line in (stack.data_dir / "log" / "access.log").read_text().splitlines() if mark in line]
        return found if len(found) == 2 else None
    for line in eventually(lines, "nginx has logged both requests", 10):
        assert len(line) < 4096 and json.loads(line)["path"].startswith(f"/{mark}/"), line


def test_OP_03_a_path_that_cannot_be_logged_costs_no_more_than_one_that_can(stack):
    """In processor time: a match that fails, and is tried anew at each length, takes some 10 ms of it for one request."""
    master = (stack.data_dir / "run" / "nginx.pid").read_text().strip()

    def ticks() -> int:
        workers = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        stats = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in workers]
        return sum(int(stat[11]) + int(stat[12]) for stat in stats)

    def cost(end: bytes) -> int:
        before = ticks()
        line = b"GET /" + b"a" * 7500 + end + b" HTTP/1.1\r\nHost: x\r\nUser-Agent: " + b"a" * 7500 + end + b"\r\n\r\n"
        with closing(raw.connect(stack.base)) as sock:
            for _ in range(100):
                sock.sendall(line)
                assert raw.receive(sock).status_code == 404
        return ticks() - before
    assert cost(b"\xff") <= 2 * cost(b"a") + 20


def test_OP_03_line_ends_from_outside_do_not_make_lines(stack, api):
    """Hazard 65."""
    for path in ("/order/orders/x%0d%0a%7b%22level%22%3a%22forged%22%7d", "/stock/items/%0aforged", "/payment/charges/%0d%0aforged%00"):
        raw.request(stack.base, "GET", path, [("User-Agent", 'x"}\\n{"level":"forged"'), ("X-User-ID", "a\tb")])
    api.charge(new_key(), money(1), method='card"}\r\n{"level":"forged"}')
    for service in SERVICES:
        assert not [e for e in stack.logs(service) if e.get("level") == "forged"]


def test_OP_04_a_trace_is_continued_in_every_service(logged):
    _, _, trace, lines, _ = logged
    for service in SERVICES:
        assert {e["trace_id"] for e in lines[service]} == {trace}, service
    spans = {s: {e["span_id"] for e in lines[s]} for s in SERVICES}
    assert "00f067aa0ba902b7" not in set.union(*spans.values()), "each service has spans of its own"
    assert not spans["stock"] & spans["payment"]


def test_OP_04_a_trace_is_passed_on_to_stock_and_payment(lab, lab_item, key):
    trace = uuid.uuid4().hex
    assert_first(lab.api.checkout(key, lab_item, 1, headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "X-Request-ID": "traced-1"}))
    assert len(lab.calls()) >= 3
    for call in lab.calls():
        assert call.all("X-Request-ID") == ["traced-1"]
        parents = call.all("traceparent")
        assert len(parents) == 1
        match = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}", parents[0])
        assert match and match[1] == trace and match[2] not in ("00f067aa0ba902b7", "0" * 16)


@pytest.mark.parametrize("given", [
    "garbage", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
    "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
    "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
], ids=["garbage", "zero-trace", "zero-span", "version-ff", "upper-case", "no-flags", "too-long", "short"])
def test_OP_04_an_invalid_traceparent_begins_a_new_trace(lab, lab_item, key, given):
    assert_first(lab.api.checkout(key, lab_item, 1, headers={"traceparent": given}))
    traces = set()
    for call in lab.calls():
        match = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}", call.header("traceparent") or "")
        assert match, call.headers
        traces.add(match[1])
    assert len(traces) == 1
    assert not traces & {"4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32}


# OP-05, OP-08: settings and exit codes

BAD = [
    ("order", "PORT", "abc"), ("order", "PORT", "70000"), ("order", "PORT", "-1"), ("stock", "LOG_LEVEL", "loud"),
    ("order", "CHECKOUT_TIMEOUT_SECONDS", "soon"), ("order", "CHECKOUT_TIMEOUT_SECONDS", "-1"), ("order", "CHECKOUT_TIMEOUT_SECONDS", "0"),
    ("order", "GATEWAY_TIMEOUT_SECONDS", "x"), ("order", "GATEWAY_TIMEOUT_SECONDS", "0"), ("order", "GATEWAY_MAX_ATTEMPTS", "0"),
    ("order", "GATEWAY_MAX_ATTEMPTS", "2.5"), ("order", "GATEWAY_BACKOFF_BASE_SECONDS", "x"), ("order", "GATEWAY_BACKOFF_MAX_SECONDS", "-5"),
    ("order", "GATEWAY_BACKOFF_JITTER_SECONDS", "nan"), ("order", "CHECKOUT_MAX_IN_FLIGHT", "many"), ("order", "STOCK_BASE_URL", "not a url"),
    ("order", "PAYMENT_BASE_URL", "ftp://127.0.0.1:1"), ("stock", "IDEMPOTENCY_BACKEND", "floppy"), ("order", "IDEMPOTENCY_TTL_SECONDS", "day"),
    ("stock", "RESERVATION_TTL_SECONDS", "x"), ("stock", "STOCK_INITIAL_QUANTITY", "-5"), ("stock", "STOCK_INITIAL_QUANTITY", "1e99"),
    ("payment", "PAYMENT_TEST_METHODS", "maybe"), ("payment", "SHUTDOWN_TIMEOUT_SECONDS", "never"), ("order", "GATEWAY_TIMEOUT_SECONDS", "1e400"),
    ("order", "OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"), ("stock", "OTEL_TRACES_SAMPLER", "sometimes"),
]


@pytest.mark.parametrize("service,name,value", BAD, ids=[f"{n}={v}" for _, n, v in BAD])
def test_OP_05_a_bad_value_refuses_to_start_with_78_and_names_itself(tmp_path, service, name, value):
    code, output = run_to_end(service, env={"PORT": str(free_ports(1)[0]), "DATA_DIR": str(tmp_path), name: value})
    assert code == 78, output
    assert name in output, output


def test_OP_05_a_data_directory_that_is_none_is_78(tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, output = run_to_end("stock", env={"PORT": str(free_ports(1)[0]), "DATA_DIR": str(tmp_path / "file")})
    assert code == 78 and "DATA_DIR" in output, output


@pytest.mark.parametrize("service", SERVICES)
def test_OP_08_a_store_that_is_damaged_is_70_and_not_begun_anew(tmp_path, service):
    store = tmp_path / f"{service}.sqlite"
    damaged = bytes(range(256)) * 32
    store.write_bytes(damaged)
    code, output = run_to_end(service, env={"PORT": str(free_ports(1)[0]), "DATA_DIR": str(tmp_path)})
    assert code == 70, output
    assert '"level":"critical"' in output and "not a database" in output, output
    assert store.read_bytes() == damaged


def test_OP_08_the_store_of_another_service_is_78_and_not_taken_for_an_empty_one(tmp_path):
    for name in ("stock", "payment"):
        (tmp_path / name).mkdir()
    with Service("stock", {}, tmp_path / "stock") as stock:
        assert stock.terminate() == 0
    store = tmp_path / "payment" / "payment.sqlite"
    shutil.copy(tmp_path / "stock" / "stock.sqlite", store)
    copied = store.read_bytes()
    code, output = run_to_end("payment", env={"PORT": str(free_ports(1)[0]), "DATA_DIR": str(tmp_path / "payment")})
    assert code == 78 and "is the store of something else" in output, output
    assert store.read_bytes() == copied


def test_OP_05_a_flag_wins_over_the_environment(tmp_path):
    other = free_ports(1)[0]
    service = Service("stock", {"PORT": str(other), "STOCK_INITIAL_QUANTITY": "5", "LOG_LEVEL": "loud"}, tmp_path, port=free_ports(1)[0])
    service.env["PORT"] = str(other)
    service.args = ("--port", str(service.port), "--stock-initial-quantity", "7", "--log-level", "info")
    with service:
        api = Api("", service.url, "")
        assert api.numbers(1) == (7, 0, 7)
        api.close()
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", other), 1)


def test_OP_05_a_bad_flag_value_refuses_to_start(tmp_path):
    code, output = run_to_end("stock", "--port", "abc", env={"DATA_DIR": str(tmp_path)})
    assert code in (64, 78) and re.search(r"port", output, re.I), output


def test_OP_05_keys_in_memory_work_as_those_in_a_file():
    with Service("payment", {"IDEMPOTENCY_BACKEND": "memory"}) as payment:
        api, key = Api("", "", payment.url), new_key()
        first = api.charge(key, money(5))
        assert_first(first)
        assert_replay(api.charge(key, money(5)), first)
        assert api.captured() == (5, 0)
        api.close()


@pytest.mark.parametrize("args", [["stock", "--nonsense"], ["--nonsense"], ["order", "extra"], ["bakery"], ["payment", "--port"]], ids=" ".join)
def test_OP_08_wrong_usage_is_64(tmp_path, args):
    code, output = run_to_end(*args, env={"DATA_DIR": str(tmp_path), "PORT": str(free_ports(1)[0])})
    assert code == 64 and output, output


@pytest.mark.parametrize("service", SERVICES)
def test_OP_08_a_port_in_use_is_69(tmp_path, service):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, output = run_to_end(service, env={"PORT": str(port), "DATA_DIR": str(tmp_path)})
    assert code == 69 and output, output


@pytest.mark.parametrize("service", SERVICES)
def test_OP_08_a_second_process_on_the_same_data_directory_is_78_and_names_the_holder(service):
    with Service(service) as first:
        code, output = run_to_end(service, env={"PORT": str(free_ports(1)[0]), "DATA_DIR": str(first.data_dir)})
        assert code == 78, output
        assert re.search(rf"\b{first.pid}\b", output), output
        assert get(f"{first.url}/health/ready").status_code == 200, "the first is not disturbed"


def test_OP_08_a_lock_that_a_killed_process_left_does_not_hold(tmp_path):
    with Service("stock", data_dir=tmp_path) as first:
        first.kill()
    with Service("stock", data_dir=tmp_path) as second:
        assert get(f"{second.url}/health/ready").status_code == 200


@pytest.mark.parametrize("service", SERVICES)
def test_HAZARD_51_a_lock_file_that_was_removed_lets_no_second_process_in(service):
    with Service(service) as first:
        (first.data_dir / f"{service}.lock").unlink()
        for _ in range(2):
            code, output = run_to_end(service, env={"PORT": str(free_ports(1)[0]), "DATA_DIR": str(first.data_dir)})
            assert code == 78, output
            assert "DATA_DIR" in output and f"{service}.sqlite is locked" in output, output
        assert get(f"{first.url}/health/ready").status_code == 200, "the first is not disturbed"
        assert first.terminate() == 0
        first.start()
        assert first.terminate() == 0


@pytest.mark.parametrize("service", SERVICES)
def test_HAZARD_51_a_service_whose_database_is_removed_under_it_ends_with_70_and_is_not_started_without_it(service):
    with Service(service) as one:
        (one.data_dir / f"{service}.sqlite").rename(one.data_dir / "elsewhere")
        assert one.wait(10) == 70
        last = one.logs()[-1]
        assert last["level"] == "critical" and "removed or replaced" in last["message"], last
        assert last["path"].endswith(f"{service}.sqlite"), last

        code, output = run_to_end(service, env={"PORT": str(free_ports(1)[0]), "DATA_DIR": str(one.data_dir)})
        assert code == 78, output
        assert "DATA_DIR" in output and f"{service}.sqlite is missing or empty" in output, output
        assert not (one.data_dir / f"{service}.sqlite").exists()
        (one.data_dir / "elsewhere").rename(one.data_dir / f"{service}.sqlite")
        one.start()
        assert get(f"{one.url}/health/ready").status_code == 200


@pytest.mark.parametrize("service", SERVICES)
def test_HAZARD_51_a_service_whose_log_is_removed_under_it_ends_with_70(service):
    with Service(service) as one:
        assert get(f"{one.url}/health/ready").status_code == 200
        time.sleep(1.5)  # The service looks once a second.
        (one.data_dir / f"{service}.sqlite-wal").unlink()
        assert one.wait(10) == 70
        last = one.logs()[-1]
        assert last["level"] == "critical" and "or its log, was removed or replaced" in last["message"], last


@pytest.mark.parametrize("args", [["--help"], *([s, "--help"] for s in SERVICES)], ids=" ".join)
def test_OP_08_help_says_how(args):
    code, output = run_to_end(*args)
    assert code == 0
    for word in SERVICES if len(args) == 1 else ("--port", "--data-dir"):
        assert word in output


def test_OP_08_version_says_which():
    code, output = run_to_end("--version")
    assert code == 0 and re.search(r"\d+\.\d+", output)


# OP-06

def test_OP_06_the_time_left_is_passed_on_and_only_shrinks(lab, lab_item, key):
    lab.to_stock.on("reserve", fakes.delay(0.3), times=1)
    lab.to_payment.on("charge", fakes.delay(0.3), times=1)
    assert_first(lab.api.checkout(key, lab_item, 1))
    left = [(int(c.header("X-Request-Timeout-Ms")), c.at) for c in lab.calls()]
    assert len(left) == 3
    assert 0 < left[0][0] <= LAB_CHECKOUT_TIMEOUT * 1000
    for (before, then), (after, now) in zip(left, left[1:]):
        assert 0 < after <= before
        # Each attempt is given at most what is left of the whole, though it may be given less.
        assert after <= LAB_CHECKOUT_TIMEOUT * 1000 - (now - left[0][1]) * 1000 + 200


def test_OP_06_a_caller_can_shorten_the_time_and_not_lengthen_it(lab, lab_item):
    for given, most in (("1500", 1500), ("999999999", LAB_CHECKOUT_TIMEOUT * 1000)):
        lab.to_stock.reset()
        response = lab.api.checkout(new_key(), lab_item, 1, headers={"X-Request-Timeout-Ms": given})
        assert response.status_code == 200, response.text
        for call in lab.to_stock.seen("reserve|complete"):
            assert 0 < int(call.header("X-Request-Timeout-Ms")) <= most


# OP-07

class Held:
    """An Order of its own with one checkout under way, whose charge waits for the test."""

    def __init__(self, lab, item: int, user: str, **settings: str):
        self.lab, self.item, self.user, self.key, self.gate = lab, item, user, new_key(), threading.Event()
        self.order = Service("order", {"STOCK_BASE_URL": lab.to_stock.url, "PAYMENT_BASE_URL": lab.to_payment.url,
                                       "GATEWAY_TIMEOUT_SECONDS": "12", "CHECKOUT_TIMEOUT_SECONDS": "25", **settings})

    def __enter__(self) -> "Held":
        self.order.start()
        self.api = Api(self.order.url, self.lab.stock.url, self.lab.payment.url)
        self.lab.to_payment.on("charge", fakes.hold(self.gate), times=1)
        self.answer = Background(self.ask)
        eventually(lambda: self.lab.to_payment.seen("charge"), "the charge is under way")
        return self

    def ask(self):
        import httpx
        try:
            return self.api.checkout(self.key, self.item, 2, self.user)
        except httpx.TransportError:
            return None

    def outcome_after_a_restart(self):
        self.gate.set()
        self.order.spawn().wait_ready()
        return self.api.until_definite(self.key, item=self.item, quantity=2, user=self.user)

    def __exit__(self, *_) -> None:
        self.gate.set()
        self.order.stop()
        self.api.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_OP_07_a_signal_lets_the_checkout_in_flight_finish_and_ends_with_0(lab, lab_item, user, number):
    with Held(lab, lab_item, user) as held:
        held.order.signal(number)

        def closed():
            try:
                with raw.connect(held.order.url, 1) as sock:
                    raw.send(sock, raw.message("GET", "/health/ready", []))
                    answer = raw.receive(sock)
                    return answer is None or answer.status_code == 503
            except OSError:
                return True
        eventually(closed, "it is not ready any more", 5)
        assert held.order.process.poll() is None and not held.answer.done
        held.gate.set()
        assert_first(held.answer.result())
        assert held.order.wait(10) == 0
        assert lab.api.numbers(lab_item) == (98, 0, 98)
        held.order.logs()


def test_OP_07_a_second_signal_ends_at_once(lab, lab_item, user):
    with Held(lab, lab_item, user) as held:
        held.order.signal(signal.SIGTERM)
        time.sleep(0.5)
        assert held.order.process.poll() is None, "it waits for the checkout"
        held.order.signal(signal.SIGTERM)
        started = time.monotonic()
        held.order.wait(5)
        assert time.monotonic() - started < 2
        assert_json(held.outcome_after_a_restart())
        assert lab.api.numbers(lab_item) == (98, 0, 98)


def test_OP_07_what_does_not_finish_in_time_is_left_to_recovery(lab, lab_item, user):
    with Held(lab, lab_item, user, SHUTDOWN_TIMEOUT_SECONDS="1") as held:
        started = time.monotonic()
        held.order.signal(signal.SIGTERM)
        assert held.order.wait(8) == 0
        assert 0.8 < time.monotonic() - started < 5
        assert_json(held.outcome_after_a_restart())
        assert lab.api.numbers(lab_item) == (98, 0, 98)


def test_OP_07_what_does_not_finish_in_time_belongs_to_nobody_so_that_no_successor_waits_for_its_lease(lab, lab_item, user):
    with Held(lab, lab_item, user, SHUTDOWN_TIMEOUT_SECONDS="1") as held:
        held.order.signal(signal.SIGTERM)
        assert held.order.wait(8) == 0
        with closing(sqlite3.connect(held.order.data_dir / "order.sqlite")) as db:
            assert db.execute("SELECT owner FROM orders WHERE status = 'pending'").fetchall() == [("",)]
        assert_json(held.outcome_after_a_restart())


def test_OP_07_a_signal_at_any_moment_of_the_start_ends_the_service_and_is_not_forgotten():
    """One that came before the service listened for it was forgotten once; all that was left is the end after SHUTDOWN_TIMEOUT_SECONDS."""
    for delay in range(0, 100, 3):
        service = Service("stock", {"SHUTDOWN_TIMEOUT_SECONDS": "30"}).spawn()
        try:
            time.sleep(delay / 1000)
            service.signal(signal.SIGTERM)
            code = service.wait(5)
            # Before anything is set up, the system ends it.
            assert code in (0, -signal.SIGTERM), (delay, code)
            assert code != 0 or '"stopped"' in service.text(), (delay, service.text())
        finally:
            service.stop()


@pytest.mark.parametrize(("signals", "code", "within"), [(1, 0, 3.0), (2, 128 + signal.SIGTERM, 1.0)])
def test_OP_07_a_service_ends_also_while_nobody_reads_its_log(signals, code, within):
    """As with a pager that stands still: the pipe is full, and whatever writes a line waits."""
    service = Service("stock", {"SHUTDOWN_TIMEOUT_SECONDS": "1"})
    try:
        service.process = subprocess.Popen([str(binary()), "stock"], env=clean_environment(service.env), cwd=service.data_dir,
                                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        service.wait_ready()
        with pytest.raises(httpx.TimeoutException):
            for _ in range(5000):
                get(f"{service.url}/items/1", 1)
        started = time.monotonic()
        for _ in range(signals):
            service.signal(signal.SIGTERM)
            time.sleep(0.2)
        assert service.process.wait(within + 5) == code
        assert within - 0.5 < time.monotonic() - started < within + 2
    finally:
        service.stop()


@pytest.mark.parametrize("service", SERVICES)
def test_OP_07_an_idle_service_ends_at_once_with_0(service):
    with Service(service) as one:
        sock = raw.connect(one.url, 5)  # an idle connection is nothing to wait for
        raw.send(sock, raw.message("GET", "/health/live", [], close=False))
        assert raw.receive(sock).status_code == 200
        started = time.monotonic()
        assert one.terminate(10) == 0
        assert time.monotonic() - started < 3
        sock.close()


# The operator's retry

def test_operator_a_retry_says_how_the_order_stands(lab, lab_item, user):
    with Held(lab, lab_item, user) as held:
        def retry(order: str):
            command = b'{"operator":"ann","reason":"a test"}'
            return raw.request(held.order.operator_url, "POST", f"/sagas/{order}/retry", [("Content-Type", "application/json")], command)

        order = held.api.orders_of(user)[0]["orderId"]
        for _ in range(2):
            assert assert_json(retry(order)) == {"orderId": order, "action": "retry", "state": "under_way"}
        held.gate.set()
        assert_first(held.answer.result())
        assert assert_problem(retry(order), 409, "order-state-conflict")["retryable"] is False
        assert_problem(retry(str(uuid.uuid4())), 404, "order-not-found")
        assert len(lab.to_payment.seen("charge")) == 1


# scripts/up and scripts/down

def test_scripts_up_starts_a_service_again_also_where_its_pid_cannot_be_written():
    """As on a full disk: what the supervisor cannot write does not end it, nor the others."""
    with Stack() as stack:
        pids = {name: stack.pid(name) for name in ("up", *SERVICES)}
        file = stack.data_dir / "run" / "order.pid"
        file.unlink()
        file.mkdir()
        os.kill(pids["order"], signal.SIGKILL)
        eventually(lambda: not alive(pids["order"]), "it is gone", 5)
        eventually(lambda: get(f"{stack.direct('order')}/health/ready", 2).status_code == 200, "Order runs again", 20)
        assert all(alive(pids[name]) for name in ("up", "stock", "payment"))
        file.rmdir()


def test_OP_03_no_other_user_reads_what_is_stored_or_logged(stack):
    """Keys of customers are in it. Not what the tests themselves have written."""
    found = {path: path.stat().st_mode & 0o077 for path in stack.data_dir.rglob("*") if path.suffix != ".out" and not path.is_socket()}
    assert {"order.sqlite", "payment.sqlite-wal", "stock.lock", "access.log", "run"} <= {path.name for path in found}
    assert not any(found.values()), found


def test_OP_03_a_store_that_others_could_read_is_closed_to_them_by_the_next_start():
    with Service("stock") as service:
        assert service.terminate() == 0
        files = [service.data_dir / name for name in ("stock.sqlite", "stock.lock")]
        for file in files:
            file.chmod(0o644)
        service.start()
        assert {file.name: file.stat().st_mode & 0o077 for file in service.data_dir.iterdir()} == {
            name: 0 for name in ("stock.sqlite", "stock.sqlite-wal", "stock.sqlite-shm", "stock.lock")}


@pytest.mark.parametrize("command", [("audit",), ("top", "--once"), ("sagas", "list")])
def test_OP_03_no_tool_repeats_a_password_that_stands_in_an_address(command):
    flags = {"audit": "--stock", "top": "--stock", "sagas": "--order"}
    code, text = run_to_end(*command, flags[command[0]], "http://user:s3cret@127.0.0.1:1")
    assert code == 64 and "s3cret" not in text and "password" in text


def test_scripts_up_lets_order_find_only_what_it_has_started_itself():
    """In a shell that is set up for the tools, these are the addresses of a system in use."""
    (nobody,) = free_ports(1)
    theirs = f"http://127.0.0.1:{nobody}"
    with Stack({"STOCK_BASE_URL": theirs, "PAYMENT_BASE_URL": theirs}) as stack:
        assert_first(Api.through_nginx(stack).checkout(new_key()))


def test_scripts_up_detached_leaves_pid_files_and_down_stops_all():
    # Numbers that a shell may take for octal ones, and a setting that makes its `cd` print.
    stack = Stack({"SHUTDOWN_TIMEOUT_SECONDS": "08", "CDPATH": "."})
    try:
        stack.start()
        pids = {name: stack.pid(name) for name in ("up", "nginx", "mock-provider", *SERVICES)}
        assert all(alive(p) for p in pids.values()) and len(set(pids.values())) == 6
        code, output = stack.script("up", "--detach", within=60)
        assert code != 0 and output, "a second one on the same data directory is refused"
        assert all(alive(p) for p in pids.values())
        code, output = stack.script("down", within=60)
        assert code == 0, output
        for name, pid in pids.items():
            eventually(lambda p=pid: not alive(p), f"{name} has ended", 5)
        for port in (stack.http_port, stack.order_port, stack.stock_port, stack.payment_port, stack.mock_port):
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", port), 1)
        assert stack.script("down", within=60)[0] == 0, "to stop what is stopped is no mistake"
    finally:
        stack.stop()


def test_scripts_up_in_the_foreground_stops_all_it_started_on_sigterm():
    stack = Stack()
    stack.started = True
    output = stack.data_dir / "foreground.out"
    with open(output, "wb") as out:
        process = subprocess.Popen([str(ROOT / "scripts" / "up")], cwd=ROOT, env=clean_environment(stack.env),
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    try:
        eventually(lambda: str(stack.http_port) in output.read_text() and get(f"{stack.base}/stock/items/1").status_code == 200,
                   "it has printed its address", 1800 if "CHECKOUT_BIN" not in os.environ else 60)
        pids = [stack.pid(name) for name in ("nginx", "mock-provider", *SERVICES)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, output.read_text()
        assert not any(alive(p) for p in pids)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)
        stack.stop()


# OP-09: compose, read and not run, as no engine is at hand

@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def in_seconds(text: str) -> float:
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", str(text))
    assert parts and "".join(a + b for a, b in parts) == str(text), text
    return sum(float(n) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[u] for n, u in parts)


def test_OP_09_the_three_services_and_nginx_are_there(compose):
    assert {*SERVICES, "nginx"} <= set(compose["services"])


@pytest.mark.parametrize("service", SERVICES)
def test_OP_09_every_service_has_a_real_health_check(compose, service):
    check = compose["services"][service]["healthcheck"]
    command = check["test"] if isinstance(check["test"], str) else " ".join(check["test"])
    assert "/health/ready" in command
    assert not re.search(r"\|\|\s*(true|exit 0)\b", command)
    assert in_seconds(check["interval"]) > 0 and in_seconds(check["timeout"]) > 0 and int(check["retries"]) > 0


def test_OP_09_nobody_starts_before_what_it_needs_is_healthy(compose):
    needs = {"order": {"stock", "payment"}, "nginx": {"order", "stock", "payment"}}
    for service, needed in needs.items():
        depends = compose["services"][service]["depends_on"]
        assert isinstance(depends, dict) and needed <= set(depends)
        assert all(depends[n]["condition"] == "service_healthy" for n in needed)


@pytest.mark.parametrize("service", SERVICES)
def test_OP_09_the_grace_period_is_longer_than_the_drain(compose, service):
    assert in_seconds(compose["services"][service]["stop_grace_period"]) > 30


def test_OP_09_only_nginx_is_published(compose):
    for name, service in compose["services"].items():
        assert bool(service.get("ports")) == (name == "nginx"), name
        assert service.get("network_mode") != "host"
    assert any(str(p).split(":")[-1].split("/")[0] == "80" or (isinstance(p, dict) and p.get("target") == 80)
               for p in compose["services"]["nginx"]["ports"])


@pytest.mark.parametrize("service", SERVICES)
def test_OP_09_the_stores_lie_on_volumes(compose, service):
    sources = [v.split(":")[0] if isinstance(v, str) else v["source"] for v in compose["services"][service]["volumes"]]
    assert set(sources) & set(compose["volumes"]), "no named volume"


# What compose sets by itself: where things are. The image has HOST and DATA_DIR; for operators the loopback interface is right.
FIXED = {"HOST", "PORT", "DATA_DIR", "OPERATOR_HOST", "OPERATOR_PORT", "STOCK_BASE_URL", "PAYMENT_BASE_URL", "STRIPE_BASE_URL",
         "PAYPAL_BASE_URL", "WEBHOOK_URL"}
# They have no flags, and so are not in the help.
SECRETS = {"STRIPE_WEBHOOK_SECRET", "PAYPAL_WEBHOOK_SECRET"}


@pytest.mark.parametrize("service", [*SERVICES, "mock-provider"])
def test_OP_09_compose_passes_on_every_setting_and_no_other(compose, service):
    """A setting that compose does not name is silently ignored there."""
    code, help_text = run_to_end(service, "--help")
    assert code == 0
    settings = set(re.findall(r"\(([A-Z][A-Z0-9_]+);\s", help_text))
    assert {"PORT", "LOG_LEVEL", "IDEMPOTENCY_TTL_SECONDS"} <= settings and len(settings) > 10
    if service in ("payment", "mock-provider"):
        settings |= SECRETS
    settings |= set(re.findall(r"OTEL_[A-Z_]*[A-Z]", (ROOT / "docs" / "operations.md").read_text()))
    environment = compose["services"][service]["environment"]
    assert settings - FIXED - set(environment) == set(), "not passed on"
    assert set(environment) - settings == set(), "no such setting"
    assert {name for name in environment if environment[name] is not None} <= FIXED


def test_OP_09_the_services_find_each_other(compose):
    environment = compose["services"]["order"]["environment"]
    if isinstance(environment, list):
        environment = dict(e.partition("=")[::2] for e in environment)
    assert environment["STOCK_BASE_URL"] == "http://stock:3133" and environment["PAYMENT_BASE_URL"] == "http://payment:3132"


def test_OP_09_no_secret_is_written_into_compose(compose):
    assert not re.search(r"(password|secret|token)\s*[:=]\s*[\"']?\w", json.dumps(compose), re.I)
