"""The invariants of docs/hazards.md, checked from outside: INV-1, 3, 4, 5, 6, 8, 10, 16 and 18.

Faults must be off. The system need not be quiet yet: `check` waits for it. It looks at the audit totals of each service,
at every order of the users given, and at the charge and the reservation of each of those orders.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from api import Api, assert_json, exact
from stack import eventually


@dataclass
class Sent:
    """A checkout that a test sent, once or many times, and the answers it got."""

    key: str
    user: str
    command: dict
    answers: list = field(default_factory=list)

    def successes(self) -> set[bytes]:
        return {a.content for a in self.answers if a is not None and a.status_code == 200}


def wait_quiet(api: Api, within: float = 60.0) -> None:
    """INV-6: nothing is pending, and no reservation is held by an order (call it where only checkouts reserve)."""
    def quiet():
        orders = api.audit("order")["orders"]["pending"]
        held = api.audit("stock")["reservations"]["reserved"]
        return (orders, held) == (0, 0) or None
    eventually(quiet, "INV-6: no order is pending and nothing is left reserved", within, every=0.2)


def check_stock(api: Api) -> None:
    """INV-5: what was received is available, reserved or completed; nothing is negative."""
    for item in api.audit("stock")["items"]:
        parts = [item["available"], item["reserved"], item["completed"]]
        assert min(parts) >= 0, f"INV-5: a negative number in {item}"
        assert item["received"] == sum(parts), f"INV-5: stock appeared or vanished: {item}"


def check_money(api: Api) -> None:
    """INV-3: per currency, captured minus refunded is the sum of the completed orders. Only where all charges are Order's."""
    net = {c["currency"]: c["net"] for c in api.audit("payment")["currencies"] if c["net"] != 0}
    for c in api.audit("payment")["currencies"]:
        assert 0 <= c["refunded"] <= c["captured"], f"INV-4: refunded more than captured: {c}"
        assert c["net"] == c["captured"] - c["refunded"]
    sold = {c["currency"]: c["amount"] for c in api.audit("order")["completedTotals"] if c["amount"] != 0}
    assert net == sold, f"INV-3: the ledger says {net}, the orders say {sold}"


def check_order(api: Api, order: dict, user: str) -> None:
    """INV-4, 8 and 10 for one order."""
    assert order["status"] in ("completed", "failed"), f"INV-6: not terminal: {order}"
    charge = api.charge_of(order["chargeId"], user) if order.get("chargeId") else None
    reservation = api.reservation(order["reservationId"], user) if order.get("reservationId") else None
    if order["status"] == "completed":
        assert charge is not None and reservation is not None, f"INV-8: a completed order without ids: {order}"
        charge, reservation = assert_json(charge), assert_json(reservation)
        assert charge["status"] == "succeeded", f"INV-8: {order} has the charge {charge}"
        assert charge["refunded"]["amount"] == 0, f"INV-8: refunded: {charge}"
        assert charge["orderId"] == order["orderId"], f"INV-8: another order's charge: {charge}"
        assert charge["amount"] == order["total"] == reservation["total"], f"INV-8: {order} {charge} {reservation}"
        assert reservation["status"] == "completed", f"INV-8: {order} has the reservation {reservation}"
        assert pieces(order) == pieces(reservation), f"INV-8: other goods: {order} {reservation}"
        assert "failure" not in order or order["failure"] is None
        return
    assert order["failure"]["code"] and order["failure"]["detail"], order
    if charge is not None and charge.status_code != 404:
        charge = assert_json(charge)
        assert charge["status"] in ("failed", "canceled", "refunded"), f"INV-10: money was kept: {order} {charge}"
        if charge["status"] == "refunded":
            assert charge["refunded"] == charge["amount"], f"INV-4: {charge}"
    if reservation is not None and reservation.status_code != 404:
        reservation = assert_json(reservation)
        assert reservation["status"] == "canceled", f"INV-10: goods were kept: {order} {reservation}"


def pieces(body: dict) -> list[tuple[int, int, int, str]]:
    return sorted((line["itemId"], line["quantity"], line["unitPrice"]["amount"], line["unitPrice"]["currency"])
                  for line in body["lines"])


def check_keys(api: Api, sent: list[Sent]) -> None:
    """INV-1: one outcome a key: all successes equal to the byte, and still replayed so; INV-9: what was answered stands."""
    per_user: dict[str, list[dict]] = defaultdict(list)
    for one in sent:
        successes = one.successes()
        assert len(successes) <= 1, f"INV-1: two outcomes for {one.key}: {successes}"
        if successes:
            replay = api.checkout(one.key, user=one.user, **one.command)
            assert replay.status_code == 200, f"INV-9: {one.key} was answered with success, and is now {replay.text[:300]}"
            assert replay.headers.get("idempotent-replayed") == "true", f"INV-1: {one.key} was executed again"
            assert replay.content == successes.pop(), f"INV-1: {one.key} is replayed with other bytes"
            per_user[one.user].append(exact(replay))
    for user in {one.user for one in sent}:
        completed = {o["orderId"] for o in api.orders_of(user) if o["status"] == "completed"}
        answered = {o["orderId"] for o in per_user[user]}
        assert completed == answered, f"INV-1: completed without an answer: {completed - answered}; lost: {answered - completed}"


def check(api: Api, sent: list[Sent], only_orders_charge: bool = True, within: float = 60.0) -> None:
    wait_quiet(api, within)
    check_stock(api)
    if only_orders_charge:
        check_money(api)
    check_keys(api, sent)
    for user in {one.user for one in sent}:
        for listed in api.orders_of(user):
            check_order(api, assert_json(api.order(listed["orderId"], user)), user)


def check_stores(data_dir: Path) -> None:
    """INV-16, once the services have stopped: SQLite finds nothing wrong with their files."""
    files = sorted(Path(data_dir).glob("*.sqlite"))
    assert {f.stem for f in files} >= {"order", "stock", "payment"}, f"not all stores are there: {files}"
    for file in files:
        with closing(sqlite3.connect(file)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)], f"INV-16: {file.name} is damaged"
