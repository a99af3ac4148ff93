"""A planted violation of each kind is found, alone and under its own number; a clean run has none."""

from __future__ import annotations

import json
import sqlite3
import tempfile
import unittest
from contextlib import closing
from pathlib import Path
from typing import Any

import checks
from evidence import Evidence, Order
from ledger import Checkout, Kind, Told
from system import PROVIDER, SERVICES, Death

QUIET = 100.0
USER = "user-1"


def told(at: float, kind: Kind, status: int = 0, code: str = "", **more: Any) -> Told:
    return Told(at, at + 0.1, kind, status, code, **more)


def line(item: int, quantity: int, price: int) -> dict[str, Any]:
    return {"itemId": item, "quantity": quantity, "unitPrice": {"amount": price, "currency": "USD"}}


def usd(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": "USD"}


class Shop:
    """A clean run: key 1 was paid (20.00), key 2 was declined, key 3 was refunded and then paid (5.00)."""

    def __init__(self) -> None:
        self.paid = Checkout(1, "key-1", USER, ((101, 2),))
        self.declined = Checkout(2, "key-2", USER, ((101, 1),), "test_declined")
        self.again = Checkout(3, "key-3", "", ((201, 1),))
        orders = [
            self._order("o1", USER, "completed", [line(101, 2, 1000)], 2000),
            self._order("o2", USER, "failed", [line(101, 1, 1000)], 1000),
            self._order("o3", "", "failed", [line(201, 1, 500)], 500),
            self._order("o4", "", "completed", [line(201, 1, 500)], 500),
        ]
        self.evidence = Evidence(
            [self.paid, self.declined, self.again], QUIET, {order.id: order for order in orders},
            {"o1": dict(orders[0].body), "o4": dict(orders[3].body)},
            {"orders": {"pending": 0, "completed": 2, "failed": 2}, "completedTotals": [usd(2500)]},
            {"items": [{"itemId": 101, "received": 10, "available": 8, "reserved": 0, "completed": 2},
                       {"itemId": 201, "received": 25, "available": 24, "reserved": 0, "completed": 1}],
             "reservations": {"reserved": 0, "completed": 2, "canceled": 2}},
            {"currencies": [{"currency": "USD", "captured": 3000, "refunded": 500, "net": 2500}]},
            {101: 10, 201: 25})
        self.order("o2").charge = {**self.charge("o2"), "status": "failed"}
        self.order("o3").charge = {**self.charge("o3"), "status": "refunded", "refunded": usd(500)}
        self.paid.told = [told(1, Kind.SUCCESS, 200, body=self.receipt("o1")),
                          told(101, Kind.SUCCESS, 200, body=self.receipt("o1"), replayed=True)]
        self.declined.told = [told(1, Kind.REFUSED, 402, "payment-declined")]
        self.again.told = [told(1, Kind.UNKNOWN), told(2, Kind.FAILED, 503, "checkout-unavailable"),
                           told(3, Kind.SUCCESS, 200, body=self.receipt("o4"))]

    def order(self, name: str) -> Order:
        return self.evidence.orders[name]

    def charge(self, name: str) -> dict[str, Any]:
        charge = self.order(name).charge
        assert charge is not None
        return charge

    def reservation(self, name: str) -> dict[str, Any]:
        reservation = self.order(name).reservation
        assert reservation is not None
        return reservation

    def receipt(self, name: str) -> bytes:
        return json.dumps(self.order(name).body).encode()

    @staticmethod
    def _order(name: str, user: str, status: str, lines: list[dict[str, Any]], amount: int) -> Order:
        body: dict[str, Any] = {
            "orderId": name, "status": status, "reservationId": f"r-{name}", "chargeId": f"c-{name}", "total": usd(amount),
            "lines": lines, "createdAt": "2026-01-01T00:00:00Z"}
        if status == "failed":
            body["failure"] = {"code": "payment-declined", "detail": "declined"}
        reservation = {"status": "completed" if status == "completed" else "canceled", "total": usd(amount), "lines": lines}
        charge = {"status": "succeeded", "amount": usd(amount), "refunded": usd(0), "orderId": name}
        return Order(user, body, reservation, charge)


class ChecksTest(unittest.TestCase):
    def setUp(self) -> None:
        self.shop = Shop()

    def assert_found(self, *invariants: str) -> None:
        """Exactly these are broken."""
        found = checks.check(self.shop.evidence)
        self.assertEqual({violation.invariant for violation in found}, set(invariants), found)

    def test_a_clean_run_has_no_violation(self) -> None:
        self.assert_found()

    # ---------------------------------------------------------------- keys

    def test_two_different_successes_of_one_key(self) -> None:
        self.shop.paid.told[1] = told(101, Kind.SUCCESS, 200, body=self.shop.receipt("o1") + b" ", replayed=True)
        self.assert_found("INV-1")

    def test_two_executions_of_one_key(self) -> None:
        self.shop.paid.told.insert(0, told(0.95, Kind.SUCCESS, 200, body=self.shop.receipt("o1")))
        self.assert_found("INV-1")

    def test_a_success_that_is_taken_back(self) -> None:
        for answer in (told(50, Kind.REFUSED, 402, "payment-declined"), told(50, Kind.FAILED, 503, "checkout-unavailable"),
                       told(50, Kind.IN_PROGRESS, 409, "request-in-progress"), told(50, Kind.UNKNOWN, 504, "outcome-unknown")):
            with self.subTest(answer.words):
                self.shop = Shop()
                self.shop.evidence.checkouts[0].method = "test_declined" if answer.status == 402 else None
                self.shop.paid.told.append(answer)
                self.assertIn("INV-1", {violation.invariant for violation in checks.check(self.shop.evidence)})

    def test_what_says_nothing_takes_nothing_back(self) -> None:
        self.shop.paid.told += [told(50, Kind.UNKNOWN), told(51, Kind.UNKNOWN, 502, "bad-gateway"),
                                told(52, Kind.NOT_EXECUTED, 503, "overloaded")]
        self.assert_found()

    def test_a_refusal_before_the_success_is_no_violation(self) -> None:
        self.shop.paid.told.insert(0, told(0.5, Kind.IN_PROGRESS, 409, "request-in-progress"))
        self.assert_found()

    def test_one_order_for_two_keys(self) -> None:
        self.shop.evidence.checkouts.append(Checkout(4, "key-4", USER, ((101, 2),), told=list(self.shop.paid.told)))
        self.assert_found("INV-1")

    def test_another_command_that_is_executed(self) -> None:
        self.shop.paid.told.append(told(50, Kind.SUCCESS, 200, body=b"{}", other_command=True))
        self.assert_found("INV-2")

    def test_another_command_that_is_refused_is_as_it_should_be(self) -> None:
        self.shop.paid.told.append(told(50, Kind.REUSED, 422, "idempotency-key-reused", other_command=True))
        self.assert_found()

    # ---------------------------------------------------------------- answers

    def test_a_refusal_without_a_reason(self) -> None:
        for code in ("payment-declined", "item-not-found", "insufficient-stock"):
            with self.subTest(code):
                self.shop = Shop()
                self.shop.paid.told.insert(0, told(0.5, Kind.REFUSED, 402, code))
                self.assert_found("INV-10")

    def test_a_success_of_what_cannot_be_paid(self) -> None:
        self.shop.paid.method = "test_declined"
        self.assert_found("INV-10")

    def test_an_answer_that_the_contract_does_not_know(self) -> None:
        self.shop.declined.told.insert(0, told(0.5, Kind.WRONG, 500, "internal-error"))
        self.assert_found("HTTP")

    def test_a_receipt_for_something_else(self) -> None:
        self.shop.paid.lines = ((101, 3),)
        self.assert_found("INV-8")

    # ---------------------------------------------------------------- quiet

    def test_a_key_without_an_outcome(self) -> None:
        self.shop.declined.told.append(told(2, Kind.IN_PROGRESS, 409, "request-in-progress"))
        self.assert_found("INV-6")

    def test_an_outcome_that_a_lost_request_could_change(self) -> None:
        self.shop.declined.told.insert(0, told(0.5, Kind.UNKNOWN))
        self.assert_found("INV-6")
        self.shop.declined.told.append(told(QUIET + 1, Kind.REFUSED, 402, "payment-declined"))
        self.assert_found()

    def test_an_order_that_is_pending(self) -> None:
        self.shop.order("o2").body["status"] = "pending"
        self.assert_found("INV-6")

    def test_pending_orders_in_the_totals(self) -> None:
        self.shop.evidence.order_totals["orders"]["pending"] = 1
        self.assert_found("INV-6")

    def test_goods_that_are_still_reserved(self) -> None:
        self.shop.reservation("o2")["status"] = "reserved"
        self.shop.evidence.stock_totals["reservations"]["reserved"] = 1
        self.assert_found("INV-6")

    def test_a_charge_that_is_still_pending(self) -> None:
        self.shop.charge("o2")["status"] = "pending"
        self.assert_found("INV-6")

    # ---------------------------------------------------------------- money

    def test_money_that_no_order_is_for(self) -> None:
        totals = self.shop.evidence.payment_totals["currencies"][0]
        totals["captured"], totals["net"] = 4000, 3500
        self.assert_found("INV-3", "INV-4")

    def test_a_charge_beside_the_orders_that_was_refunded(self) -> None:
        totals = self.shop.evidence.payment_totals["currencies"][0]
        totals["captured"], totals["refunded"] = 4000, 1500
        self.assert_found("INV-4")

    def test_books_of_order_that_are_wrong(self) -> None:
        self.shop.evidence.order_totals["completedTotals"] = [usd(2400)]
        self.assert_found("INV-3")

    def test_totals_of_payment_that_make_no_sense(self) -> None:
        self.shop.evidence.payment_totals["currencies"].append({"currency": "JPY", "captured": 1, "refunded": 2, "net": -1})
        self.assertIn("INV-4", {violation.invariant for violation in checks.check(self.shop.evidence)})

    def test_money_kept_for_a_failed_order(self) -> None:
        self.shop.charge("o3").update(status="succeeded", refunded=usd(0))
        totals = self.shop.evidence.payment_totals["currencies"][0]
        totals["refunded"], totals["net"] = 0, 3000
        self.assert_found("INV-3", "INV-4")

    def test_a_refund_above_its_charge(self) -> None:
        self.shop.charge("o3")["refunded"] = usd(600)
        self.assert_found("INV-4")

    def test_the_charge_of_another_order(self) -> None:
        self.shop.charge("o2")["orderId"] = "o9"
        self.assert_found("INV-4")

    def test_a_charge_canceled_before_it_was_made_knows_no_order(self) -> None:
        self.shop.charge("o2").update(status="canceled", orderId=None)
        self.assert_found()

    # ---------------------------------------------------------------- goods

    def test_goods_that_vanished(self) -> None:
        self.shop.evidence.stock_totals["items"][0]["available"] = 7
        self.assert_found("INV-5")

    def test_a_negative_number(self) -> None:
        self.shop.evidence.stock_totals["items"][0].update(available=-2, reserved=10)
        self.assert_found("INV-5")

    def test_goods_that_came_in_twice(self) -> None:
        self.shop.evidence.stock_totals["items"][1].update(received=30, available=29)
        self.assert_found("INV-5")

    def test_goods_that_left_unsold(self) -> None:
        self.shop.evidence.stock_totals["items"][0].update(available=7, completed=3)
        self.assert_found("INV-5")

    def test_a_completed_reservation_without_an_order(self) -> None:
        self.shop.evidence.stock_totals["reservations"]["completed"] = 3
        self.assert_found("INV-8")

    # ---------------------------------------------------------------- orders

    def test_a_completed_order_without_reservation_or_charge(self) -> None:
        self.shop.order("o1").reservation = None
        self.assert_found("INV-8")

    def test_a_completed_order_with_a_canceled_reservation(self) -> None:
        self.shop.reservation("o1")["status"] = "canceled"
        self.assert_found("INV-8")

    def test_a_completed_order_with_other_goods(self) -> None:
        self.shop.order("o1").reservation = {**self.shop.reservation("o1"), "lines": [line(101, 1, 2000)]}
        self.assert_found("INV-8")

    def test_a_completed_order_with_another_amount(self) -> None:
        self.shop.order("o1").reservation = {**self.shop.reservation("o1"), "total": usd(1999)}
        self.assert_found("INV-8")

    def test_a_completed_order_that_was_refunded(self) -> None:
        self.shop.charge("o1").update(status="refunded", refunded=usd(2000))
        self.assertIn("INV-8", {violation.invariant for violation in checks.check(self.shop.evidence)})

    def test_an_answered_order_that_is_gone(self) -> None:
        self.shop.evidence.shown["o1"] = None
        self.assert_found("INV-9")

    def test_an_answered_order_that_has_failed_since(self) -> None:
        self.shop.evidence.shown["o1"] = {**self.shop.order("o1").body, "status": "failed"}
        self.assert_found("INV-9")

    def test_an_answered_order_that_has_changed(self) -> None:
        self.shop.evidence.shown["o1"] = {**self.shop.order("o1").body, "total": usd(1)}
        self.assert_found("INV-9")

    def test_a_completed_order_of_a_key_that_was_refused(self) -> None:
        self.shop.paid.told = [told(1, Kind.REFUSED, 409, "insufficient-stock")]
        self.shop.paid.lines = ((201, 2),)
        self.assert_found("INV-10")

    def test_a_completed_order_of_a_refused_key_names_the_key(self) -> None:
        self.shop.paid.told = [told(1, Kind.FAILED, 503, "checkout-unavailable")]
        [violation] = checks.check(self.shop.evidence)
        self.assertIn("key-1", violation.sentence)

    def test_goods_that_left_for_a_failed_order(self) -> None:
        self.shop.reservation("o2")["status"] = "completed"
        self.assert_found("INV-10")

    def test_a_failure_without_a_reason(self) -> None:
        del self.shop.order("o2").body["failure"]
        self.assert_found("INV-10")


class LeftoversTest(unittest.TestCase):
    """What processes leave behind."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def test_a_log_line_that_is_no_object(self) -> None:
        (self.directory / "order.0001.log").write_text('{"message":"one"}\n[1]\n')
        (self.directory / "stock.0001.log").write_text('Fatal error: something\n')
        (self.directory / "access.log").write_text("GET /\n")
        self.assertEqual([v.ids for v in checks.logs(self.directory)],
                         [("access.log",), ("order.0001.log",), ("stock.0001.log",)])

    def test_a_line_cut_off_by_a_kill_is_none(self) -> None:
        (self.directory / "order.0001.log").write_text('{"message":"one"}\n{"mess')
        (self.directory / "nginx.log").write_text("nginx has words of its own\n")
        self.assertEqual(list(checks.logs(self.directory)), [])

    def test_sound_stores(self) -> None:
        self._make_stores()
        self.assertEqual(list(checks.stores(self.directory)), [])

    def test_a_missing_and_a_damaged_store(self) -> None:
        self._make_stores()
        (self.directory / "stock.sqlite").unlink()
        path = self.directory / "order.sqlite"
        content = bytearray(path.read_bytes())
        content[4096 + 8:4096 + 200] = b"\xff" * 192
        path.write_bytes(content)
        self.assertEqual({v.ids for v in checks.stores(self.directory)}, {("order.sqlite",), ("stock.sqlite",)})

    def test_a_process_that_ended_by_itself(self) -> None:
        path = self.directory / "order.0002.log"
        path.write_text('{"message":"one"}\nFatal error: out of luck\n')
        [violation] = checks.deaths([Death("order", -5, path)])
        self.assertIn("status -5", violation.sentence)
        self.assertIn("out of luck", violation.sentence)

    def _make_stores(self) -> None:
        for service in (*SERVICES, PROVIDER):
            with closing(sqlite3.connect(self.directory / f"{service}.sqlite")) as database:
                database.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY, text TEXT)")
                database.executemany("INSERT INTO numbers (text) VALUES (?)", [("some text",)] * 2000)
                database.commit()


if __name__ == "__main__":
    unittest.main()
