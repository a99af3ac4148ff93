"""The invariants of the checkout, as far as they show from outside. Each check takes plain values and names what breaks it.

The numbers are those of the project's list of invariants. What an answer may not be at all counts as HTTP.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evidence import JSON, CannotTell, Evidence, Order, exact
from ledger import Checkout, Kind, Told
from load import DECLINED, SCARCE_NUMBERS, UNKNOWN_ITEM
from system import PROVIDER, SERVICES, Death


@dataclass(frozen=True)
class Violation:
    invariant: str
    sentence: str
    ids: tuple[str, ...] = ()

    def as_json(self) -> JSON:
        return asdict(self)


def check(evidence: Evidence) -> list[Violation]:
    """Everything that can be told from answers."""
    found: list[Violation] = []
    for part in (keys, order_ids, reasons, answers, quiet, money, charges, stock, agreement, answered_orders, failed_orders):
        found += part(evidence)
    return found


# ---------------------------------------------------------------- keys and what was answered to them

def keys(evidence: Evidence) -> Iterator[Violation]:
    """INV-1 and INV-2: one outcome a key, for ever, to the byte; another command with it has none."""
    for checkout in evidence.checkouts:
        own = [told for told in checkout.told if not told.other_command]
        successes = [told for told in own if told.kind is Kind.SUCCESS]
        if len({told.body for told in successes}) > 1:
            yield Violation("INV-1", "was answered with success in different bytes", (checkout.key,))
        if sum(not told.replayed for told in successes) > 1:
            yield Violation("INV-1", "was executed with success more than once: two answers are no replays", (checkout.key,))
        if successes:
            first = min(successes, key=lambda told: told.told_at)
            for later in (told for told in own if told.asked_at > first.told_at and _takes_back(told)):
                yield Violation("INV-1", f"was answered with success, and {later.told_at - first.told_at:.2f} s later with"
                                f" {later.words}{'' if later.replayed else ', not as a replay'}", (checkout.key,))
        for told in checkout.told:
            if told.other_command and told.kind not in (Kind.REUSED, Kind.UNKNOWN, Kind.NOT_EXECUTED):
                yield Violation("INV-2", f"another command with this key was answered with {told.words}", (checkout.key,))


def _takes_back(told: Told) -> bool:
    """Whether an answer says that a success before it is none. What says nothing does not."""
    if told.kind is Kind.SUCCESS:
        return not told.replayed
    if told.kind is Kind.UNKNOWN:
        return told.code == "outcome-unknown"
    return told.kind is not Kind.NOT_EXECUTED


def order_ids(evidence: Evidence) -> Iterator[Violation]:
    """INV-1: no order is the outcome of two keys."""
    holders: dict[str, list[str]] = defaultdict(list)
    for checkout in evidence.checkouts:
        if (receipt := _receipt(checkout)) is not None:
            holders[str(receipt.get("orderId"))].append(checkout.key)
    for order_id, found in holders.items():
        if len(found) > 1:
            yield Violation("INV-1", "is the order of more than one key", (order_id, *found))


def reasons(evidence: Evidence) -> Iterator[Violation]:
    """INV-10: a refusal's reason is true, and what cannot be paid is not."""
    for checkout in evidence.checkouts:
        items = {item for item, _ in checkout.lines}
        may = {"payment-declined": checkout.method in DECLINED, "item-not-found": UNKNOWN_ITEM in items,
               "insufficient-stock": not items.isdisjoint(SCARCE_NUMBERS)}
        for code in {told.code for told in checkout.told if told.kind is Kind.REFUSED and not told.other_command}:
            if not may[code]:
                yield Violation("INV-10", f"was refused with {code}, and there is no reason for that", (checkout.key,))
        if checkout.success is not None and (checkout.method in DECLINED or UNKNOWN_ITEM in items):
            yield Violation("INV-10", "was answered with success, and could not succeed", (checkout.key,))


def answers(evidence: Evidence) -> Iterator[Violation]:
    """Every answer is one that the contract knows, and a receipt says what was ordered."""
    for checkout in evidence.checkouts:
        for told in checkout.told:
            if told.kind is Kind.WRONG:
                yield Violation("HTTP", f"was answered with {told.words}", (checkout.key,))
        if checkout.success is None:
            continue
        receipt = _receipt(checkout)
        if receipt is None:
            yield Violation("HTTP", "was answered with a receipt that cannot be read", (checkout.key,))
            continue
        ordered = Counter(dict(checkout.lines))
        lines = receipt.get("lines", [])
        sold = Counter({line["itemId"]: line["quantity"] for line in lines})
        worth = sum(line["quantity"] * line["unitPrice"]["amount"] for line in lines)
        if receipt.get("status") != "completed" or sold != ordered or receipt["total"]["amount"] != worth:
            yield Violation("INV-8", f"has a receipt for something else: {checkout.success.body!r}", (checkout.key,))


def _receipt(checkout: Checkout) -> JSON | None:
    if checkout.success is None:
        return None
    try:
        return exact(checkout.success.body)
    except (CannotTell, ValueError):
        return None


# ---------------------------------------------------------------- totals

def quiet(evidence: Evidence) -> Iterator[Violation]:
    """INV-6: nothing is left half done."""
    for checkout in evidence.checkouts:
        if checkout.told and not checkout.is_certain(evidence.quiet_since):
            yield Violation("INV-6", f"still has no outcome: the last answer was {checkout.told[-1].words}", (checkout.key,))
    for order in evidence.orders.values():
        if order.body["status"] not in ("completed", "failed"):
            yield Violation("INV-6", f"is {order.body['status']}", _ids(order))
        if order.reservation is not None and order.reservation["status"] == "reserved":
            yield Violation("INV-6", "has goods that are still reserved", _ids(order))
        if order.charge is not None and order.charge["status"] == "pending":
            yield Violation("INV-6", "has a charge that is still pending", _ids(order))
    if (pending := evidence.order_totals["orders"]["pending"]) != 0:
        yield Violation("INV-6", f"Order has {pending} pending orders")
    if (reserved := evidence.stock_totals["reservations"]["reserved"]) != 0:
        yield Violation("INV-6", f"Stock has {reserved} reservations that are neither completed nor canceled")


def money(evidence: Evidence) -> Iterator[Violation]:
    """INV-3 and INV-4, by currency: what was kept is what was sold, in the orders, in Order's books and in Payment's."""
    kept, captured, refunded = Counter[str](), Counter[str](), Counter[str]()
    for line in evidence.payment_totals["currencies"]:
        kept[line["currency"]] = line["net"]
        captured[line["currency"]], refunded[line["currency"]] = line["captured"], line["refunded"]
        if line["net"] != line["captured"] - line["refunded"] or not 0 <= line["refunded"] <= line["captured"]:
            yield Violation("INV-4", f"Payment's totals make no sense: {line}")
    booked = Counter({line["currency"]: line["amount"] for line in evidence.order_totals["completedTotals"]})
    sold = Counter[str]()
    for order in evidence.orders.values():
        if order.is_completed:
            sold[order.body["total"]["currency"]] += order.body["total"]["amount"]
    for currency in sorted({*kept, *booked, *sold}):
        if not kept[currency] == booked[currency] == sold[currency]:
            yield Violation("INV-3", f"{currency}: Payment kept {kept[currency]}, Order's books say {booked[currency]}, its"
                            f" completed orders are worth {sold[currency]}")
    yield from _charges_in_all(evidence, captured, refunded)


def _charges_in_all(evidence: Evidence, captured: Counter[str], refunded: Counter[str]) -> Iterator[Violation]:
    """INV-4: the charges of all orders are all the charges that there are."""
    known_captured, known_refunded = Counter[str](), Counter[str]()
    for order in evidence.orders.values():
        charge = order.charge
        if charge is not None and charge["status"] in ("succeeded", "refunded", "partially_refunded"):
            known_captured[charge["amount"]["currency"]] += charge["amount"]["amount"]
            known_refunded[charge["amount"]["currency"]] += charge["refunded"]["amount"]
    for currency in sorted({*captured, *known_captured}):
        if captured[currency] != known_captured[currency] or refunded[currency] != known_refunded[currency]:
            yield Violation("INV-4", f"{currency}: Payment captured {captured[currency]} and refunded {refunded[currency]}, the"
                            f" charges of all orders are {known_captured[currency]} and {known_refunded[currency]}")


def charges(evidence: Evidence) -> Iterator[Violation]:
    """INV-4: every charge has a completed order or a full refund, and is its own order's."""
    for order in evidence.orders.values():
        charge = order.charge
        if charge is None:
            continue
        amount, refunded = charge["amount"]["amount"], charge["refunded"]["amount"]
        if not 0 <= refunded <= amount:
            yield Violation("INV-4", f"has refunded {refunded} of a charge of {amount}", _ids(order))
        # One that was canceled before it was made knows of no order.
        if charge["status"] != "canceled" and charge.get("orderId") != order.id:
            yield Violation("INV-4", f"has the charge of another order: {charge.get('orderId')}", _ids(order))
        if not order.is_completed and charge["status"] in ("succeeded", "partially_refunded"):
            yield Violation("INV-4", f"has not been completed, and {amount - refunded} {charge['amount']['currency']} of its"
                            f" charge were kept ({charge['status']})", _ids(order))


def stock(evidence: Evidence) -> Iterator[Violation]:
    """INV-5: what came in is available, reserved or completed; and what is completed was sold."""
    sold = Counter[int]()
    for order in evidence.orders.values():
        if order.is_completed:
            for line in order.body["lines"]:
                sold[line["itemId"]] += line["quantity"]
    for item in evidence.stock_totals["items"]:
        number = item["itemId"]
        parts = [item["available"], item["reserved"], item["completed"]]
        if min(parts) < 0 or item["received"] != sum(parts):
            yield Violation("INV-5", f"goods appeared or vanished: {item}", (f"item {number}",))
        if number in evidence.received and item["received"] != evidence.received[number]:
            yield Violation("INV-5", f"{evidence.received[number]} came in, and {item['received']} are on the books",
                            (f"item {number}",))
        if item["completed"] != sold[number]:
            yield Violation("INV-5", f"{item['completed']} left the stock, and {sold[number]} were sold", (f"item {number}",))
    completed = sum(order.is_completed for order in evidence.orders.values())
    if evidence.stock_totals["reservations"]["completed"] != completed:
        yield Violation("INV-8", f"Stock completed {evidence.stock_totals['reservations']['completed']} reservations, Order"
                        f" {completed} orders")
    if evidence.order_totals["orders"]["completed"] != completed:
        yield Violation("INV-8", f"Order counts {evidence.order_totals['orders']['completed']} completed orders and lists"
                        f" {completed}")


# ---------------------------------------------------------------- orders

def agreement(evidence: Evidence) -> Iterator[Violation]:
    """INV-8: a completed order has a completed reservation and a captured charge: same goods, same amount."""
    for order in evidence.orders.values():
        if not order.is_completed:
            continue
        body, reservation, charge = order.body, order.reservation, order.charge
        if reservation is None or charge is None:
            missing = " and ".join(name for name, it in (("reservation", reservation), ("charge", charge)) if it is None)
            yield Violation("INV-8", f"is completed and has no {missing}", _ids(order))
            continue
        if reservation["status"] != "completed":
            yield Violation("INV-8", f"is completed, and its reservation is {reservation['status']}", _ids(order))
        if charge["status"] != "succeeded" or charge["refunded"]["amount"] != 0:
            yield Violation("INV-8", f"is completed, and its charge is {charge['status']}", _ids(order))
        if not body["total"] == reservation["total"] == charge["amount"]:
            yield Violation("INV-8", f"is completed, with the amounts {body['total']} ordered, {reservation['total']} reserved,"
                            f" {charge['amount']} charged", _ids(order))
        if _goods(body) != _goods(reservation):
            yield Violation("INV-8", f"is completed with {_goods(body)}, and has reserved {_goods(reservation)}", _ids(order))


def answered_orders(evidence: Evidence) -> Iterator[Violation]:
    """INV-9: what was answered is there; INV-10: and nothing else is."""
    answered: set[str] = set()
    for checkout in evidence.checkouts:
        if (receipt := _receipt(checkout)) is None:
            continue
        order_id = str(receipt.get("orderId"))
        answered.add(order_id)
        shown = evidence.shown.get(order_id)
        if shown is None:
            yield Violation("INV-9", "was answered with success, and its order is not there", (checkout.key, order_id))
        elif shown["status"] != "completed":
            yield Violation("INV-9", f"was answered with success, and its order is {shown['status']}", (checkout.key, order_id))
        elif any(shown.get(name) != receipt.get(name) for name in ("total", "reservationId", "chargeId", "createdAt")) \
                or _goods(shown) != _goods(receipt):
            yield Violation("INV-9", "was answered with success, and its order is another", (checkout.key, order_id))
    for order in evidence.orders.values():
        if order.is_completed and order.id not in answered:
            suspects = [c.key for c in evidence.checkouts if c.success is None and c.user == order.user
                        and Counter(dict(c.lines)) == Counter({i: q for i, q, *_ in _goods(order.body)})]
            yield Violation("INV-10", "is completed, and no key was answered with it; it may belong to"
                            f" {' or '.join(suspects[:5]) or 'no key that we know'}", _ids(order))


def failed_orders(evidence: Evidence) -> Iterator[Violation]:
    """INV-10: a failed order has taken nothing and holds nothing."""
    for order in evidence.orders.values():
        if order.body["status"] != "failed":
            continue
        if not (order.body.get("failure") or {}).get("code"):
            yield Violation("INV-10", "has failed without a reason", _ids(order))
        if order.reservation is not None and order.reservation["status"] == "completed":
            yield Violation("INV-10", "has failed, and its goods have left the stock", _ids(order))


def _goods(body: JSON) -> list[tuple[Any, ...]]:
    return sorted((line["itemId"], line["quantity"], line["unitPrice"]["amount"], line["unitPrice"]["currency"])
                  for line in body["lines"])


def _ids(order: Order) -> tuple[str, ...]:
    return f"order {order.id}", f"reservation {order.body['reservationId']}", f"charge {order.body['chargeId']}"


# ---------------------------------------------------------------- processes, logs and stores

def deaths(found: Iterable[Death]) -> Iterator[Violation]:
    for death in found:
        last = death.log.read_text(errors="replace").splitlines()[-1:] if death.log.exists() else []
        yield Violation("PROCESS", f"{death.service} ended by itself with status {death.status}; its last words:"
                        f" {last[0][:300] if last else 'none'}", (death.log.name,))


def logs(directory: Path) -> Iterator[Violation]:
    """INV-18: every line is one JSON object. Each file is one process's; a kill may have cut its last line off."""
    for path in sorted(directory.glob("*.log")):
        if path.stem.split(".")[0] not in (*SERVICES, PROVIDER, "access"):
            continue
        with open(path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.endswith(b"\n") and not _is_object(line):
                    yield Violation("INV-18", f"line {number} is no JSON object: {line[:200]!r}", (path.name,))
                    break


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def stores(directory: Path) -> Iterator[Violation]:
    """INV-16, once the services have stopped."""
    for service in (*SERVICES, PROVIDER):
        path = directory / f"{service}.sqlite"
        if not path.exists():
            yield Violation("INV-16", "there is no such store", (path.name,))
            continue
        try:
            with closing(sqlite3.connect(path)) as database:
                result = database.execute("PRAGMA integrity_check").fetchall()
        except sqlite3.Error as error:
            result = [(str(error),)]
        if result != [("ok",)]:
            yield Violation("INV-16", f"is damaged: {result[:3]}", (path.name,))
