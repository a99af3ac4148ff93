"""Hazards 49 to 54: disks that fail to write or to synchronise, that are full, and that lose power.

The faults are made by a library between SQLite and the kernel (disks.py, faults/disk.c). A test that switches one on also
looks that it has struck.
"""

import json
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

import disks
import fakes
import invariants
from api import Api, Background, assert_first, assert_json, assert_problem, assert_replay, money, new_key
from disks import KINDS_OF_LOSS, SYNCS, WRITES, Disk, Journal
from invariants import Sent
from lab import Lab
from stack import SERVICES, Service, eventually, get

# A page and its header in the log, and after how many of them it is brought into the database (Storage/WriteAheadLog).
FRAME, PAGE, CHECKPOINT = 4120, 4096, 2000
# How many frames the first part of the log's index has room for (SQLite: "WAL-mode File Format").
INDEX = 4062

STORE_UNAVAILABLE = (503, "store-unavailable")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return disks.build(tmp_path_factory.mktemp("library"))


class FaultyLab(Lab):
    """The three services, each on a disk that can fail. Told to, they share one journal."""

    def __init__(self, library: Path, directory: Path, shared: bool = False, data_dir: Path | None = None):
        journal = directory / "all.journal" if shared else None
        self.disks = {name: Disk(library, directory, journal) for name in SERVICES}
        settings = {name: disk.env for name, disk in self.disks.items()}
        # A client hears soon that the outcome is not known, and a saga that was parked is soon tried again.
        settings["order"] |= {"CHECKOUT_TIMEOUT_SECONDS": "1.5", "GATEWAY_TIMEOUT_SECONDS": "0.5",
                              "SAGA_PARKED_RETRY_SECONDS": "0.5"}
        super().__init__(**settings, **{f"{name}_data_dir": data_dir for name in SERVICES})

    def service(self, name: str) -> Service:
        return getattr(self, name)

    def restart(self, name: str, as_after_power_loss: bool) -> None:
        """Starts a service that has ended, on a sound disk that holds all that was written, or only what must be there."""
        disk, service = self.disks[name], self.service(name)
        disk.heal()
        if as_after_power_loss:
            files = disks.image(disk.journal.entries(), "none", random.Random(0))
            disks.write_files(files, service.data_dir)
            disk.journal.begin(files)
        service.spawn().wait_ready()

    def reset(self) -> None:
        for disk in self.disks.values():
            disk.heal()
        for name in SERVICES:
            if self.service(name).process.poll() is not None:
                self.service(name).spawn().wait_ready()
        super().reset()


@pytest.fixture(scope="module")
def running_faulty_lab(library, tmp_path_factory):
    with FaultyLab(library, tmp_path_factory.mktemp("faults")) as lab:
        yield lab
        lab.reset()
        invariants.check(lab.api, [])


@pytest.fixture
def faulty_lab(running_faulty_lab):
    running_faulty_lab.reset()
    yield running_faulty_lab
    running_faulty_lab.to_stock.reset()
    running_faulty_lab.to_payment.reset()


@pytest.fixture
def on_disk(library, tmp_path):
    """Makes a service, not started, with the disk under it: for what one service does alone."""
    made = []

    def make(name: str, **settings: str) -> tuple[Service, Disk]:
        disk = Disk(library, tmp_path)
        made.append(Service(name, {**disk.env, **settings}))
        return made[-1], disk
    yield make
    for service in made:
        service.stop()


def api_of(service: Service) -> Api:
    return Api(service.url, service.url, service.url)


def last_words(service: Service) -> dict:
    """The last line of the log of a service that has ended. Whatever else it wrote would not be JSON, or stand below."""
    last = service.logs()[-1]
    assert service.text().endswith("}\n"), service.text()[-500:]
    assert last["level"] == "critical" and last["service"] == service.name, last
    assert last["message"] and last["error"], last
    return last


def assert_died_of_its_disk(service: Service, within: float = 5.0) -> None:
    try:
        code = service.wait(within)
    except subprocess.TimeoutExpired:
        code = None
    assert code == 70, service.text()[-2000:]
    last = last_words(service)
    assert re.search(r"\bdisk\b", last["message"]) and "I/O" in last["error"], f"what has happened: {last}"
    assert re.search(r"\brestart\b|\bstart\b", last["message"]), f"what to do: {last}"


def assert_sound(files: dict, directory: Path) -> sqlite3.Connection:
    """INV-16: SQLite opens the files and finds nothing wrong. Returns what was committed, in memory."""
    shutil.rmtree(directory, ignore_errors=True)
    disks.write_files(files, directory)
    found = sqlite3.connect(":memory:")
    for table in ("orders", "charges", "reservations"):
        found.execute(f"CREATE TABLE {table} (id TEXT PRIMARY KEY, status TEXT)")
    try:
        for file in sorted(directory.glob("*.sqlite")):
            with closing(sqlite3.connect(file)) as db:
                assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)], f"INV-16: {file.name} is damaged"
                tables = {row[0] for row in db.execute("SELECT name FROM sqlite_schema")}
                for table in tables & {"orders", "charges", "reservations"}:
                    rows = db.execute(f"SELECT {table[:-1]}_id, status FROM {table}").fetchall()
                    found.executemany(f"INSERT INTO {table} VALUES (?, ?)", rows)
    finally:
        shutil.rmtree(directory)
    return found


class Load:
    """Clients that send one checkout after the other until they are told to stop."""

    def __init__(self, api: Api, items: list[int], clients: int = 6, journal: Journal | None = None):
        self.api, self.items, self.journal = api, items, journal
        self.run = uuid.uuid4().hex[:8]
        self.sent: list[Sent] = []
        # Up to where the journal was written when an answer was in the client's hand.
        self.held_at: dict[str, int] = {}
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(clients)
        self._clients = [self._pool.submit(self._client, i) for i in range(clients)]

    def _client(self, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            count += 1
            command = {"item": self.items[count % len(self.items)], "quantity": 1 + count % 2}
            if count % 5 == 0:
                command["method"] = "test_declined"
            one = Sent(new_key(), f"{self.run}-{number}", command)
            self.sent.append(one)
            try:
                one.answers.append(self.api.checkout(one.key, user=one.user, **command))
            except httpx.TransportError:
                time.sleep(0.05)  # nobody is there
                continue
            if self.journal is not None:
                self.held_at[one.key] = self.journal.position()

    def completed(self) -> int:
        return sum(len(one.successes()) for one in list(self.sent))

    def stop(self) -> None:
        self._stop.set()
        for client in self._clients:
            client.result(30)
        self._pool.shutdown()


def settle(api: Api, sent: list[Sent]) -> None:
    """What a good client does about an answer that it did not get, or that was none: it asks again."""
    for one in sent:
        if not one.answers or one.answers[-1].status_code not in (200, 402):
            one.answers.append(api.until_definite(one.key, user=one.user, **one.command))
        expected = 402 if "method" in one.command else 200
        assert one.answers[-1].status_code == expected, f"{one.command}: {one.answers[-1].text}"


# The failing disk itself

PROGRAM = """
import errno, os, sys
def attempt(what, *arguments):
    try:
        what(*arguments)
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]
for name in sys.argv[1:]:
    file = os.open(name, os.O_RDWR | os.O_CREAT)
    print(name, *[attempt(*call) for call in (
        (os.pwrite, file, b"abcdefgh", 0), (os.pwrite, file, b"ijkl", 8), (os.write, file, b"ABCD"), (os.fsync, file),
        (os.fdatasync, file), (os.ftruncate, file, 10))], os.path.getsize(name))
"""


def run_on(disk: Disk, directory: Path, *files: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *files], cwd=directory, capture_output=True, text=True, timeout=20,
                          env={**disk.env, "DATA_DIR": str(directory)})
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("fault,expected", [
    (None, "done done done done done done 10"),
    ((WRITES, "EIO"), "EIO EIO EIO done done done 10"),
    ((WRITES, "EIO", 2), "done EIO EIO done done done 10"),
    ((SYNCS, "EIO"), "done done done EIO EIO done 10"),
    (("fsync", "EIO"), "done done done EIO done done 10"),
    (("ftruncate,ftruncate64", "EIO"), "done done done done done EIO 12"),
    ((WRITES, "ENOSPC", 2), "done ENOSPC ENOSPC done done done 10"),
    ((WRITES, "EIO", 1, "-shm"), "done done done done done done 10"),
], ids=str)
def test_the_failing_disk_fails_what_it_is_told_to_and_nothing_else(library, tmp_path, fault, expected):
    disk = Disk(library, tmp_path)
    (tmp_path / "data").mkdir()
    if fault:
        disk.fail(*fault)
    watched, other = run_on(disk, tmp_path / "data", "x.sqlite-wal", "x.lock")
    assert watched == f"x.sqlite-wal {expected}"
    assert other == "x.lock done done done done done done 10"
    assert len(disk.struck()) == sum(word.startswith("E") for word in expected.split())
    # What the journal says was written is what is there.
    assert disks.image(disk.journal.entries(), "all", random.Random(0)) == disks.read_files(tmp_path / "data")
    disk.heal()
    (tmp_path / "data" / "x.sqlite-wal").unlink()
    assert run_on(disk, tmp_path / "data", "x.sqlite-wal") == ["x.sqlite-wal done done done done done done 10"]


def test_the_failing_disk_loses_what_was_not_synchronised_and_only_that(library, tmp_path):
    disk = Disk(library, tmp_path)
    (tmp_path / "data").mkdir()
    run_on(disk, tmp_path / "data", "x.sqlite")
    entries = disk.journal.entries()
    assert [e.kind for e in entries] == ["W", "W", "W", "S", "S", "T"]
    for loss in KINDS_OF_LOSS:
        for seed in range(20):
            assert disks.image(entries[:4], loss, random.Random(seed)) == {"x.sqlite": b"ABCDefghijkl"}
    found = {loss: {bytes(disks.image(entries[:3], loss, random.Random(seed))["x.sqlite"]) for seed in range(200)}
             for loss in KINDS_OF_LOSS}
    assert found["all"] == {b"ABCDefghijkl"} and found["none"] == {b""}
    assert {b"", b"abc", b"abcdefgh", b"abcdefghij", b"ABCDefghijkl"} <= found["torn"]
    assert b"\0\0\0\0\0\0\0\0ijkl" in found["some"]


# Hazard 53: a disk that fails to write or to synchronise

# A file system that finds only then that it has no room may have kept the commit all the same.
@pytest.mark.parametrize("fault,error", [(SYNCS, "EIO"), (WRITES, "EIO"), (SYNCS, "ENOSPC")], ids=["fsync", "write", "fsync without room"])
@pytest.mark.parametrize("victim", SERVICES)
def test_HAZARD_53_a_failing_disk_ends_the_service_with_70_and_a_restart_takes_nothing_back(faulty_lab, new_item, victim, fault, error):
    lab = faulty_lab
    disk, service, items = lab.disks[victim], lab.service(victim), [new_item(lab.api, 100_000) for _ in range(2)]
    load = Load(lab.api, items)
    try:
        eventually(lambda: load.completed() >= 12, "checkouts are under way")
        disk.fail(fault, error, 5)
        assert_died_of_its_disk(service)
    finally:
        load.stop()
    assert set(disk.struck()[-1].split()[1:]) & {*fault.split(",")}
    # What a failed synchronisation was meant for may never reach the disk, and a kernel may well forget it.
    lab.restart(victim, as_after_power_loss=fault == SYNCS)
    # Recovery alone brings every order to an end.
    lab.api.wait_settled()
    settle(lab.api, load.sent)
    invariants.check(lab.api, load.sent)


@pytest.mark.parametrize("fault", [SYNCS, WRITES], ids=["fsync", "write"])
@pytest.mark.parametrize("name", SERVICES)
def test_HAZARD_53_a_disk_that_fails_at_the_start_is_70_and_harms_nothing(on_disk, name, fault):
    service, disk = on_disk(name)
    disk.fail(fault, "EIO")
    for attempt in range(2):
        assert service.spawn().wait(10) == 70, service.text()
        assert "I/O" in last_words(service)["error"]
    assert len(disk.struck()) >= 2
    disk.heal()
    service.start()
    assert service.terminate() == 0
    assert_sound(disks.read_files(service.data_dir), service.data_dir / "look")


# Hazard 53, where the log is brought into the database. SQLite does that after a commit, and keeps its failures to itself.

def long_log(service: Service, frames: int) -> dict[str, bytes]:
    """The files of a service that was killed when its log had grown by so many pages. Nobody has to fill it by requests."""
    service.start()
    assert service.terminate() == 0
    work = service.data_dir / "work"
    work.mkdir()
    name = f"{service.name}.sqlite"
    shutil.copy(service.data_dir / name, work / name)
    with closing(sqlite3.connect(work / name)) as db:
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute("CREATE TABLE ballast (bytes BLOB)")
        db.execute("INSERT INTO ballast VALUES (zeroblob(?))", [(PAGE - 4) * frames])
        db.commit()
        files = disks.read_files(work)
    shutil.rmtree(work)
    assert len(files[f"{name}-wal"]) >= frames * FRAME
    disks.write_files(files, service.data_dir)
    return files


def charge_until(api: Api, condition, held: dict[str, httpx.Response], at_most: int = 100) -> None:
    """Charges one after the other, until the service is gone at the latest. Keeps the answers: each must be there for ever."""
    for _ in range(at_most):
        if condition():
            return
        key = new_key()
        try:
            answer = api.charge(key, money(7))
        except httpx.TransportError:
            return
        assert_first(answer)
        held[key] = answer


@pytest.mark.parametrize("fault", [SYNCS, WRITES], ids=["fsync", "write"])
def test_HAZARD_53_a_checkpoint_that_fails_takes_nothing_back(on_disk, fault):
    payment, disk = on_disk("payment")
    disk.journal.begin(long_log(payment, CHECKPOINT - 40))
    payment.start()
    api, held = api_of(payment), {}
    disk.fail(fault, "EIO", 1, ".sqlite")
    charge_until(api, disk.struck, held)
    assert_died_of_its_disk(payment, within=1)
    assert disk.struck() and len(held) > 3
    disk.heal()
    disks.write_files(disks.image(disk.journal.entries(), "none", random.Random(0)), payment.data_dir)
    payment.start()
    for key, answer in held.items():
        assert_replay(api.charge(key, money(7)), answer)
    # The charge after whose commit the checkpoint failed is stored; its answer may not have gone out.
    assert api.captured() in [(7 * len(held), 0), (7 * (len(held) + 1), 0)]
    api.close()


def must_have_struck(disk: Disk) -> None:
    """For tests that are expected to fail: only an assertion may fail, not the fault itself."""
    if not disk.struck():
        raise RuntimeError("the fault did not strike")


@pytest.mark.parametrize("fault", [SYNCS, WRITES], ids=["fsync", "write"])
def test_HAZARD_53_a_checkpoint_that_fails_ends_the_service_with_70(on_disk, fault):
    payment, disk = on_disk("payment")
    long_log(payment, CHECKPOINT - 40)
    payment.start()
    api = api_of(payment)
    disk.fail(fault, "EIO", 1, ".sqlite")
    charge_until(api, disk.struck, {})
    api.close()
    must_have_struck(disk)
    assert_died_of_its_disk(payment, within=1)


# Hazard 52: a full disk

def assert_store_unavailable(response) -> None:
    assert "nothing was executed" in assert_problem(response, *STORE_UNAVAILABLE)["detail"]


def assert_full_and_up(service: Service, disk: Disk) -> None:
    assert disk.struck() and all(s.endswith("ENOSPC") for s in disk.struck())
    assert service.process.poll() is None, service.text()[-2000:]
    assert get(f"{service.url}/health/live").status_code == 200
    assert get(f"{service.url}/health/ready").status_code == 503
    assert get(f"{service.url}/health").json()["checks"]["store"]["status"] == "down"


def test_HAZARD_52_IK_23_on_a_full_disk_stock_answers_503_and_changes_nothing(on_disk):
    stock, disk = on_disk("stock", STOCK_INITIAL_QUANTITY="100")
    stock.start()
    api, key = api_of(stock), new_key()
    held = assert_first(api.reserve(new_key(), 1, 3))["reservationId"]
    before = api.item(1), assert_json(api.reservation(held)), api.audit("stock")
    disk.fill()
    for response in (
        api.reserve(key, 1, 2), api.release(held), api.complete(held), api.put_item(1, money(5)), api.put_item(2, on_hand=7),
        api.call("POST", "stock", "/items/1/restock", {"quantity": 5}, new_key()),
    ):
        assert_store_unavailable(response)
    # What needs no room is answered.
    assert (api.item(1), assert_json(api.reservation(held)), api.audit("stock")) == before
    assert api.call("GET", "stock", "/items/2").status_code == 404
    assert_full_and_up(stock, disk)
    disk.heal()
    assert get(f"{stock.url}/health/ready").status_code == 200
    # The key was not recorded: another command may have it.
    assert_first(api.reserve(key, 1, 5))
    assert_json(api.complete(held))
    assert api.numbers(1) == (97, 5, 92)
    assert stock.terminate() == 0
    api.close()


def test_HAZARD_52_IK_23_on_a_full_disk_payment_answers_503_and_takes_nothing(on_disk):
    payment, disk = on_disk("payment")
    payment.start()
    api, charge_key, refund_key = api_of(payment), new_key(), new_key()
    charge = assert_first(api.charge(new_key(), money(900)))["chargeId"]
    before, unused = assert_json(api.charge_of(charge)), str(uuid.uuid4())
    disk.fill()
    for response in (
        api.charge(charge_key, money(5), chargeId=unused), api.charge(new_key(), money(5), method="test_slow"),
        api.charge(new_key(), money(5), method="test_declined"), api.refund(refund_key, charge, money(100)),
        api.refund(new_key(), unused, orCancel=True),
    ):
        assert_store_unavailable(response)
    assert (assert_json(api.charge_of(charge)), api.captured()) == (before, (900, 0))
    assert api.charge_of(unused).status_code == 404
    assert_full_and_up(payment, disk)
    disk.heal()
    assert_first(api.charge(charge_key, money(6), chargeId=unused))
    assert_first(api.refund(refund_key, charge, money(200)))
    assert api.captured() == (906, 200)
    assert payment.terminate() == 0
    api.close()


def test_HAZARD_52_IK_23_on_a_full_disk_order_answers_503_and_begins_nothing(faulty_lab, new_item, key, user):
    lab, disk = faulty_lab, faulty_lab.disks["order"]
    item = new_item(lab.api)
    done = lab.api.checkout(new_key(), item, 1, user)
    before = assert_first(done)["orderId"]
    disk.fill()
    lab.to_stock.reset()
    lab.to_payment.reset()
    for _ in range(2):
        assert_store_unavailable(lab.api.checkout(key, item, 2, user))
    assert lab.calls() == [], "nobody was asked for anything"
    assert [o["orderId"] for o in lab.api.orders_of(user)] == [before]
    assert_full_and_up(lab.order, disk)
    disk.heal()
    assert [o["orderId"] for o in lab.api.orders_of(user)] == [before]
    assert_first(lab.api.checkout(key, item, 3, user))  # another command under the same key: it was free
    assert lab.api.numbers(item) == (96, 0, 96)


def test_HAZARD_52_requests_that_share_a_commit_are_all_refused_or_all_stored(on_disk):
    payment, disk = on_disk("payment")
    payment.start()
    api, done, refused, stop = api_of(payment), {}, {}, threading.Event()

    def client(_: int) -> None:
        while not stop.is_set():
            key = new_key()
            answer = api.charge(key, money(1))
            (done if answer.status_code == 200 else refused)[key] = answer
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(client, number) for number in range(8)]
        try:
            for round in range(1, 5):
                disk.fail(WRITES, "ENOSPC", 5 + round)  # at another place of a commit each time
                eventually(disk.struck, "it has struck", 5, 0.005)
                disk.heal()
                known = len(done)
                eventually(lambda: len(done) > known + 8, "charges are made again", 5, 0.005)
        finally:
            stop.set()
        for one in running:
            one.result()
    assert payment.process.poll() is None and refused
    for answer in refused.values():
        assert_store_unavailable(answer)
    assert api.captured() == (len(done), 0)
    for key in [*refused][:20]:
        assert_first(api.charge(key, money(2)))
    payment.kill()
    payment.start()
    assert api.captured() == (len(done) + 2 * len([*refused][:20]), 0)
    for key in [*done][-20:]:
        assert_replay(api.charge(key, money(1)), done[key])
    api.close()


def when(behind: fakes.Downstream, step: str, hook) -> None:
    """Calls `hook` once, when the real service has done a step and Order does not know it yet. The command of the step may
    come in a request of its own or in a batch."""
    called = threading.Event()

    def act(exchange: fakes.Exchange) -> None:
        answer = exchange.forward()
        request = exchange.request
        carries = step in request.path or re.search(rf'"path":\s*"/{step}"'.encode(), request.body.replace(b"\\/", b"/"))
        if carries and not called.is_set():
            called.set()
            hook()
        exchange.pass_on(answer)
    behind.on("", act)


def ask(lab: Lab, key: str, item: int, user: str, **more):
    return lab.api.checkout(key, item, 2, user, **more)


def assert_completed_once(lab: Lab, key: str, item: int, user: str, before: tuple[int, int], answers: list) -> None:
    answers.append(lab.api.until_definite(key, item=item, quantity=2, user=user))
    assert assert_json(answers[-1])["status"] == "completed"
    assert lab.api.numbers(item) == (98, 0, 98)
    captured, refunded = lab.api.captured()
    assert (captured - refunded) - (before[0] - before[1]) == 2000, "the ledger's net is the total, once"
    invariants.check(lab.api, [Sent(key, user, {"item": item, "quantity": 2}, answers)])


@pytest.mark.parametrize("victim,step", [
    ("order", "reserve"), ("order", "charge"), ("order", "complete"), ("stock", "reserve"), ("stock", "charge"), ("payment", "reserve"),
])
def test_HAZARD_52_a_checkout_under_way_when_a_disk_fills_ends_well_once_there_is_room(faulty_lab, new_item, key, user, victim, step):
    """The disk fills when the step is done, before Order knows it, and has room again when the client has its answer."""
    lab, item = faulty_lab, new_item(faulty_lab.api)
    disk, before = lab.disks[victim], lab.api.captured()
    behind = lab.to_payment if step == "charge" else lab.to_stock
    when(behind, step, disk.fill)
    answer = ask(lab, key, item, user)
    # Whatever it is told, it is true: nothing was taken, or it is not known yet.
    if answer.status_code == 503:
        assert_problem(answer, 503, "checkout-unavailable")
        assert lab.api.captured() == before
    else:
        assert_problem(answer, 504, ("outcome-unknown", "gateway-timeout"))
    assert disk.struck(), "the disk was full at a moment when nobody wrote"
    assert lab.service(victim).process.poll() is None
    disk.heal()
    lab.api.wait_settled()
    assert_completed_once(lab, key, item, user, before, [answer])


def test_HAZARD_52_goods_that_could_not_be_released_on_a_full_disk_are_released_later(faulty_lab, new_item, key, user):
    lab, item = faulty_lab, new_item(faulty_lab.api)
    disk = lab.disks["stock"]
    when(lab.to_payment, "charge", disk.fill)
    answer = ask(lab, key, item, user, method="test_declined")
    assert answer.status_code in (402, 504), answer.text
    assert disk.struck() and lab.stock.process.poll() is None
    assert lab.api.numbers(item) == (100, 2, 98)
    disk.heal()
    eventually(lambda: [o["status"] for o in lab.api.orders_of(user)] == ["failed"], "the order has failed", 20)
    assert lab.api.numbers(item) == (100, 0, 100)
    invariants.check(lab.api, [Sent(key, user, {"item": item, "quantity": 2, "method": "test_declined"}, [answer])])


def test_HAZARD_52_a_providers_answer_that_found_no_room_is_asked_for_again(on_disk):
    payment, disk = on_disk("payment")
    payment.start()
    api, key = api_of(payment), new_key()
    for _ in range(2):
        assert_problem(api.charge(key, money(50), method="test_unknown_then_ok"), 504, "outcome-unknown")
    disk.fill()
    # By itself Payment asks the provider again, and now has nowhere to write that the money has moved.
    eventually(disk.struck, "the answer found no room", 10)
    assert payment.process.poll() is None and api.captured() == (0, 0)
    disk.heal()
    eventually(lambda: api.captured() == (50, 0), "it is known without anybody asking", 20)
    assert_json(api.charge(key, money(50), method="test_unknown_then_ok"))
    assert api.captured() == (50, 0)
    api.close()


def test_HAZARD_52_a_log_that_cannot_be_brought_into_a_full_database_goes_on_as_a_log(on_disk):
    payment, disk = on_disk("payment")
    long_log(payment, CHECKPOINT - 40)
    payment.start()
    api, held = api_of(payment), {}
    disk.fail(WRITES, "ENOSPC", 1, ".sqlite")
    charge_until(api, disk.struck, held)
    charge_until(api, lambda: False, held, at_most=5)
    assert disk.struck() and payment.process.poll() is None and len(held) > 5
    disk.heal()
    charge_until(api, lambda: False, held, at_most=20)
    payment.kill()
    payment.start()
    for key, answer in held.items():
        assert_replay(api.charge(key, money(7)), answer)
    # The charge after whose commit the checkpoint failed is stored; its answer may not have gone out.
    assert api.captured() in [(7 * len(held), 0), (7 * (len(held) + 1), 0)]
    api.close()


@pytest.mark.parametrize("ends", [False, True], ids=["goes on", "ends meanwhile"])
def test_HAZARD_52_a_commit_for_which_the_index_of_the_log_cannot_grow_is_not_called_undone(on_disk, ends):
    payment, disk = on_disk("payment")
    # Only a log that finds no room in the database grows so long; the next try is a thousand pages later.
    long_log(payment, INDEX - 70)
    payment.start()
    api = api_of(payment)
    disk.fail(WRITES, "ENOSPC", 1, ".sqlite")
    charge_until(api, disk.struck, {})
    must_have_struck(disk)
    disk.heal()
    disk.fail(WRITES, "ENOSPC", 1, "-shm")
    before = api.captured()[0]
    for _ in range(100):
        key = new_key()
        answer = api.charge(key, money(7))
        if disk.struck():
            break
        before += 7
    must_have_struck(disk)
    # The commit is in the log, whole, and only its entry in the index is missing: this process does not see it, and the next one does.
    assert_problem(answer, 500, "internal-error")
    # Up, and perhaps ready: only a commit that reaches past the end of the index finds no room.
    assert payment.process.poll() is None, payment.text()[-2000:]
    if ends:
        payment.kill()
        disk.heal()
        payment.start()
        assert api.captured() == (before + 7, 0)
    else:
        assert api.captured() == (before, 0)
        disk.heal()
    assert_json(api.charge(key, money(7)))
    assert api.captured() == (before + 7, 0)
    assert_first(api.charge(new_key(), money(7)))
    api.close()


@pytest.mark.parametrize("name", SERVICES)
def test_HAZARD_52_a_service_does_not_start_on_a_full_disk_and_harms_nothing(on_disk, name):
    service, disk = on_disk(name)
    service.start().kill()
    disk.fill()
    assert service.spawn().wait(10) == 70
    last_words(service)
    assert disk.struck()
    disk.heal()
    service.start()
    assert service.terminate() == 0
    assert_sound(disks.read_files(service.data_dir), service.data_dir / "look")


@pytest.mark.parametrize("name", SERVICES)
def test_HAZARD_52_a_service_that_cannot_start_on_a_full_disk_says_so(on_disk, name):
    service, disk = on_disk(name)
    service.start().kill()
    disk.fill()
    service.spawn().wait(10)
    must_have_struck(disk)
    assert re.search(r"\bfull\b|\bspace\b", json.dumps(last_words(service))), last_words(service)


# Hazard 51: one process at a time

def test_HAZARD_54_somebody_who_has_the_database_locked_makes_writes_fail_and_nothing_wait():
    with Service("payment") as payment:
        headers = {"Idempotency-Key": new_key(), "Content-Type": "application/json"}

        def charge() -> httpx.Response:
            return httpx.post(f"{payment.url}/charge", headers=headers, content=b'{"amount":1}', timeout=10)
        with closing(sqlite3.connect(payment.data_dir / "payment.sqlite", isolation_level=None)) as shell:
            shell.execute("BEGIN IMMEDIATE")
            for _ in range(3):
                began = time.monotonic()
                assert_problem(charge(), *STORE_UNAVAILABLE)
                assert get(f"{payment.url}/health/live").status_code == 200
                assert time.monotonic() - began < 3, "five seconds were once waited for, by everybody"
            shell.execute("ROLLBACK")
        answer = charge()
        assert answer.status_code == 200 and "Idempotent-Replayed" not in answer.headers
        assert payment.terminate() == 0


def test_HAZARD_51_a_backup_beside_the_log_of_the_store_it_replaces_is_78_and_says_what_to_remove():
    with Service("stock") as stock:
        store = stock.data_dir / "stock.sqlite"
        with closing(sqlite3.connect(store)) as shell:
            shell.execute(f"VACUUM INTO '{stock.data_dir / 'backup'}'")
        stock.kill()
        assert Path(f"{store}-wal").stat().st_size > 0, "there is a log that belongs to the store"
        store.unlink()
        (stock.data_dir / "backup").rename(store)
        assert stock.spawn().wait(10) == 78, stock.text()
        assert "stock.sqlite-wal" in last_words(stock)["error"]
        for name in ("wal", "shm"):
            Path(f"{store}-{name}").unlink(missing_ok=True)
        stock.start()
        assert get(f"{stock.url}/items/1").status_code == 200


def test_HAZARD_51_a_store_in_memory_is_refused_where_there_is_one_on_disk(tmp_path):
    with Service("order", data_dir=tmp_path) as order:
        assert order.terminate() == 0
    forgetful = Service("order", {"IDEMPOTENCY_BACKEND": "memory"}, data_dir=tmp_path)
    try:
        assert forgetful.spawn().wait(10) == 78
        assert last_words(forgetful)["setting"] == "IDEMPOTENCY_BACKEND"
    finally:
        forgetful.stop()


@pytest.mark.parametrize("name", SERVICES)
def test_HAZARD_51_a_locked_data_directory_is_78_names_the_holder_and_is_not_touched(tmp_path, name):
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with Service(name, data_dir=tmp_path / "data") as holder:
        before = disks.read_files(holder.data_dir)
        second = Service(name, data_dir=tmp_path / "link")
        try:
            for number in (signal.SIGCONT, signal.SIGSTOP):  # also while the holder is frozen
                holder.signal(number)
                assert second.spawn().wait(10) == 78, second.text()
                last = last_words(second)
                assert last["setting"] == "DATA_DIR"
                assert re.search(rf"{name}\.lock is locked by process {holder.pid}$", last["error"]), last
                assert disks.read_files(holder.data_dir) == before
            holder.signal(signal.SIGCONT)
            assert get(f"{holder.url}/health/ready").status_code == 200, "the holder is not disturbed"
            assert holder.terminate() == 0
            second.start()
            assert second.terminate() == 0
        finally:
            second.stop()


# Hazard 49: loss of power. What was synchronised is there; of what was not, anything may be.

def until(entries: list[disks.Entry], at: int) -> list[disks.Entry]:
    """What had been done when the journal was so long."""
    return [e for e in entries if e.end <= at]


class Recorded:
    """A system at work, with everything that it wrote: from its start to a clean stop, and from another start to its death."""

    def __init__(self, library: Path, directory: Path):
        lab = FaultyLab(library, directory, shared=True)
        self.journal = lab.disks["order"].journal
        loads = []
        with lab:
            for n in (11, 12):
                assert_json(lab.api.put_item(n, money(1000 + n), 100_000), 201)
            self.begin = self.journal.position()
            for _ in range(2):
                load = Load(lab.api, [11, 12], journal=self.journal)
                try:
                    eventually(lambda: load.completed() >= 40, "checkouts are done", 30)
                finally:
                    load.stop()
                loads.append(load)
                if len(loads) == 1:
                    for name in ("order", "stock", "payment"):
                        assert lab.service(name).terminate() == 0
                        lab.service(name).spawn().wait_ready()
                    lab.api.http.close()
                    lab.api = Api(lab.order.url, lab.stock.url, lab.payment.url)
        self.entries = self.journal.entries()
        self.sent = [one for load in loads for one in load.sent]
        self.held_at = {key: at for load in loads for key, at in load.held_at.items()}
        self.moments = [e.end for e in self.entries if e.end > self.begin]
        # A notebook without pages would prove anything.
        assert {(e.kind, e.name) for e in self.entries} >= {(k, f"{s}.sqlite{f}") for s in SERVICES for k, f in
                                                             (("W", ""), ("S", ""), ("W", "-wal"), ("S", "-wal"), ("U", "-wal"))}

    def held(self, at: int) -> list[Sent]:
        """The checkouts whose success was in a client's hand at that moment."""
        return [one for one in self.sent if one.successes() and self.held_at[one.key] <= at]

    def missing(self, name: str, files: dict, at: int, directory: Path) -> list[str]:
        """What was held at that moment and is not in the files."""
        table, member, status = {"order": ("orders", "orderId", "completed"), "stock": ("reservations", "reservationId", "completed"),
                                 "payment": ("charges", "chargeId", "succeeded")}[name]
        with closing(assert_sound(files, directory)) as found:
            there = {row[0] for row in found.execute(f"SELECT id FROM {table} WHERE status = ?", [status])}
        return [one.key for one in self.held(at) if one.answers[0].json()[member] not in there]


@pytest.fixture(scope="module")
def recorded(library, tmp_path_factory):
    return Recorded(library, tmp_path_factory.mktemp("recorded"))


@pytest.fixture
def chance(request):
    """By chance, and printed when the test fails."""
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    return random.Random(seed)


@pytest.mark.parametrize("name", SERVICES)
def test_HAZARD_49_whenever_the_power_goes_every_store_is_sound_and_holds_what_was_answered(recorded, chance, tmp_path, name):
    entries = [e for e in recorded.entries if e.name.startswith(f"{name}.")]
    moments = [e.end for e in entries if e.end > recorded.begin]
    # Here and there, and one after the other: at every write within some commits and within the checkpoint of a clean stop.
    somewhere = chance.randrange(len(moments) - 15)
    stop = next(i for i, e in enumerate(entries[-len(moments):]) if e.kind == "W" and e.name == f"{name}.sqlite")
    for at in sorted({*chance.sample(moments, 20), *moments[somewhere:somewhere + 15], *moments[stop - 2:stop + 15], moments[-1]}):
        for loss in ("none", chance.choice(("torn", "some"))):
            files = disks.image(until(entries, at), loss, chance)
            assert recorded.missing(name, files, at, tmp_path / "image") == [], f"INV-9: lost at {at} of the journal, {loss}"


@pytest.mark.parametrize("name", SERVICES)
def test_the_search_for_lost_answers_finds_those_of_a_store_that_does_not_synchronise(recorded, tmp_path, name):
    entries = [e for e in recorded.entries if e.name.startswith(f"{name}.") and (e.kind != "S" or e.end <= recorded.begin)]
    entries = [e for e in entries if e.kind != "U"]  # SQLite would not remove a log either before the database is written
    files = disks.image(entries, "none", random.Random(0))
    at = recorded.moments[-1]
    assert len(recorded.missing(name, files, at, tmp_path / "image")) == len(recorded.held(at)) > 50


@pytest.mark.parametrize("loss", KINDS_OF_LOSS)
def test_HAZARD_49_and_50_after_a_loss_of_power_everything_answered_is_there_and_everything_ends(recorded, library, chance, tmp_path, loss):
    """All three services at once, at one moment; each may lose of the unsynchronised what it will."""
    at = chance.choice(recorded.moments)
    disks.write_files(disks.image(until(recorded.entries, at), loss, chance), tmp_path / "data")
    sent = [Sent(one.key, one.user, one.command, list(one.answers)) for one in recorded.held(at)]
    # Of the others the clients know nothing yet. Some of these had begun: they ask again.
    held = {one.key for one in sent}
    sent += [Sent(one.key, one.user, one.command) for one in recorded.sent if one.key not in held][:20]
    with FaultyLab(library, tmp_path, data_dir=tmp_path / "data") as lab:
        lab.api.wait_settled()  # recovery alone
        settle(lab.api, sent)
        invariants.check_stock(lab.api)
        invariants.check_money(lab.api)
        invariants.wait_quiet(lab.api)
        for one in sent:
            if one.successes():
                assert_replay(lab.api.checkout(one.key, user=one.user, **one.command), one.answers[0])
            for order in lab.api.orders_of(one.user)[:3]:
                invariants.check_order(lab.api, assert_json(lab.api.order(order["orderId"], one.user)), one.user)
        for name in SERVICES:
            assert lab.service(name).terminate() == 0
    invariants.check_stores(tmp_path / "data")


def test_HAZARD_49_when_the_power_goes_while_the_log_is_brought_into_the_database_and_begun_anew(on_disk, chance, tmp_path):
    payment, disk = on_disk("payment")
    disk.journal.begin(long_log(payment, CHECKPOINT - 40))
    begin = disk.journal.position()
    payment.start()
    api, held = api_of(payment), []
    for _ in range(25):
        key = new_key()
        held.append((key, assert_first(answer := api.charge(key, money(7))), answer, disk.journal.position()))
    payment.kill()
    entries = disk.journal.entries()

    def first(name: str, since: int, offset: int | None = None) -> int:
        return next(i for i, e in enumerate(entries) if e.kind == "W" and e.name == name and e.end > since and offset in (None, e.offset))
    checkpoint = first("payment.sqlite", begin)
    anew = first("payment.sqlite-wal", entries[checkpoint].end, 0)
    chosen = {checkpoint, *chance.sample(range(checkpoint, anew), 6), *range(anew - 3, anew + 8), *chance.sample(range(anew, len(entries)), 4)}
    for index in sorted(chosen):
        at = entries[index].end
        files = disks.image(entries[:index + 1], chance.choice(KINDS_OF_LOSS), chance)
        with closing(assert_sound(files, tmp_path / "image")) as found:
            there = {row[0] for row in found.execute("SELECT id FROM charges WHERE status = 'succeeded'")}
        assert [k for k, body, _, held_at in held if held_at <= at and body["chargeId"] not in there] == [], f"INV-9: lost at {at}"
    # And once with the service itself.
    disks.write_files(disks.image(entries[:anew + 2], "some", chance), payment.data_dir)
    payment.start()
    kept = [(key, answer) for key, _, answer, held_at in held if held_at <= entries[anew + 1].end]
    assert len(kept) >= 5
    for key, answer in kept:
        assert_replay(api.charge(key, money(7)), answer)
    api.close()
