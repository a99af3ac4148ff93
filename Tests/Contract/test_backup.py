"""Backup and restore: `checkout backup` and `checkout restore`, on services that run and on stores that are gone."""

import os
import shutil
import sqlite3
import threading

import pytest

from api import Api, assert_first, assert_replay, new_key
from stack import SERVICES, Service, Stack, free_ports, run


def backup(data_dir, to, *services: str) -> tuple[int, str, str]:
    return run("backup", "--data-dir", str(data_dir), "--to", str(to), *services)


def restore(data_dir, copies, *services: str) -> tuple[int, str, str]:
    return run("restore", "--data-dir", str(data_dir), "--from", str(copies), *services)


def test_HAZARD_55_stores_are_copied_under_load_and_restored_together(tmp_path):
    stack = Stack()
    try:
        stack.start()
        api = Api.through_nginx(stack)
        kept = {key: api.checkout(key, 1, 1, "ann") for key in (new_key() for _ in range(3))}
        for answer in kept.values():
            assert_first(answer)
        done = threading.Event()

        def buy():
            with_own = Api.through_nginx(stack)
            while not done.is_set():
                with_own.checkout(new_key(), 1, 1, "bob")
            with_own.close()

        buyers = [threading.Thread(target=buy) for _ in range(4)]
        for buyer in buyers:
            buyer.start()
        try:
            # In whatever order they are named.
            code, out, err = backup(stack.data_dir, tmp_path / "copies", "stock", "payment", "order")
        finally:
            done.set()
            for buyer in buyers:
                buyer.join()
        assert (code, err) == (0, ""), err
        assert [line.split(":")[0].rsplit("/", 1)[1] for line in out.splitlines()] == ["order.sqlite", "payment.sqlite", "stock.sqlite"]
        late = new_key()
        assert_first(api.checkout(late, 1, 1, "ann"))

        code, _, err = restore(stack.data_dir, tmp_path / "copies", *SERVICES)
        assert code == 1 and "is locked by" in err, err
        assert stack.script("down", within=60)[0] == 0
        code, out, err = restore(stack.data_dir, tmp_path / "copies", *SERVICES)
        assert (code, err) == (0, ""), err
        assert out.count("what was there is kept as") == 3
        # Customers' keys are in them (OP-03).
        private = [tmp_path / "copies", *(stack.data_dir / f"{name}.sqlite" for name in SERVICES)]
        assert [path.stat().st_mode & 0o077 for path in private] == [0, 0, 0, 0]
        stack.start()
        for key, answer in kept.items():
            assert_replay(api.checkout(key, 1, 1, "ann"), answer)
        # What came after the copy is unknown again, as it must be.
        assert_first(api.checkout(late, 1, 1, "ann"))
        api.close()
    finally:
        stack.stop()


@pytest.mark.parametrize("there", ["nothing", "an empty file", "an empty database", "another's store", "text"])
def test_HAZARD_55_what_is_no_store_is_no_backup(tmp_path, there):
    data, copies = tmp_path / "data", tmp_path / "copies"
    data.mkdir()
    store = data / "stock.sqlite"
    if there == "an empty file":
        store.touch()
    elif there == "an empty database":
        with sqlite3.connect(store) as database:
            database.execute("VACUUM")
            database.execute("PRAGMA user_version = 1")
    elif there == "another's store":
        with Service("payment", {}, data) as payment:
            assert payment.terminate() == 0
        (data / "payment.sqlite").rename(store)
    elif there == "text":
        store.write_text("Dear diary, this is no database. " * 200)
    code, out, err = backup(data, copies, "stock")
    assert code == 1 and out == "" and str(store) in err, (out, err)
    assert list(copies.iterdir()) == []


def test_HAZARD_55_a_copy_that_is_missing_leaves_every_store_as_it_is(tmp_path):
    data, copies = tmp_path / "data", tmp_path / "copies"
    data.mkdir()
    for name in ("stock", "payment"):
        with Service(name, {}, data) as service:
            assert service.terminate() == 0
    assert backup(data, copies, "payment")[0] == 0
    before = {name: (data / name).read_bytes() for name in os.listdir(data)}
    code, out, err = restore(data, copies, "payment", "stock")
    assert code == 1 and out == "" and "stock.sqlite" in err, (out, err)
    assert {name: (data / name).read_bytes() for name in os.listdir(data)} == before
    # A second backup to the same place is not written over the first.
    code, _, err = backup(data, copies, "payment")
    assert code == 1 and "is there already" in err, err


def test_HAZARD_55_a_store_that_must_exist_is_not_begun_anew_when_its_disk_is_gone(tmp_path):
    mount, copies = tmp_path / "mount", tmp_path / "copies"
    stock = Service("stock", {"STORE_MUST_EXIST": "false"}, mount)
    mount.mkdir()
    with stock:
        api = Api("", stock.url, "")
        key = new_key()
        reserved = api.reserve(key, 1, 3)
        assert_first(reserved)
        assert backup(mount, copies, "stock")[0] == 0
        assert stock.terminate() == 0
    # The disk is gone, and with it the file that remembers that there was a store.
    shutil.rmtree(mount)
    settings = {"PORT": str(free_ports(1)[0]), "DATA_DIR": str(mount), "STORE_MUST_EXIST": "true"}
    code, out, err = run("stock", env=settings)
    assert code == 78 and "STORE_MUST_EXIST" in out + err, out + err
    assert not mount.exists()
    mount.mkdir()
    # What `sqlite3` leaves that was called with the name of a store that is not there.
    with sqlite3.connect(mount / "stock.sqlite") as database:
        database.execute("PRAGMA user_version = 1")
    code, out, err = run("stock", env=settings)
    assert code == 78 and "it has no store in it" in out + err, out + err
    (mount / "stock.sqlite").unlink()
    assert restore(mount, copies, "stock")[0] == 0
    with Service("stock", {"STORE_MUST_EXIST": "true"}, mount) as stock:
        api = Api("", stock.url, "")
        assert_replay(api.reserve(key, 1, 3), reserved)
        assert api.numbers(1)[1] == 3
        api.close()


def test_OP_08_a_backup_of_nobody_and_of_a_stranger_is_64(tmp_path):
    for args in ((), ("cashier",)):
        code, _, err = run("backup", "--to", str(tmp_path), *args)
        assert code == 64, err
