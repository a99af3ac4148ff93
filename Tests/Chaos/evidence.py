"""What the services say of themselves when all is quiet: orders, reservations, charges and totals, asked for over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import quote

from http11 import Client, NoAnswer
from ledger import Checkout, Ledger
from system import System

CONCURRENT = 16
PAGE_LIMIT = 10_000

JSON = dict[str, Any]
T = TypeVar("T")


class CannotTell(Exception):
    """A quiet system does not answer a plain question."""


@dataclass
class Order:
    """An order as the list of its user shows it, and what the other services know of it."""

    user: str
    body: JSON
    reservation: JSON | None = None
    charge: JSON | None = None

    @property
    def id(self) -> str:
        return str(self.body["orderId"])

    @property
    def is_completed(self) -> bool:
        return bool(self.body["status"] == "completed")


@dataclass
class Evidence:
    """All that the checks look at. Plain values: a test can make them up."""

    checkouts: list[Checkout] = field(default_factory=list)
    quiet_since: float = 0.0
    orders: dict[str, Order] = field(default_factory=dict)
    """By id, of every user that ever asked."""
    shown: dict[str, JSON | None] = field(default_factory=dict)
    """What `GET /orders/{id}` says of each order that was answered with success."""
    order_totals: JSON = field(default_factory=dict)
    stock_totals: JSON = field(default_factory=dict)
    payment_totals: JSON = field(default_factory=dict)
    received: dict[int, int] = field(default_factory=dict)
    """What must have come in of each item of ours."""


def exact(content: bytes) -> JSON:
    """Decimals as they were written: never through binary floating point."""
    value = json.loads(content, parse_float=Decimal)
    if not isinstance(value, dict):
        raise CannotTell(f"no JSON object: {content[:100]!r}")
    return value


async def at_most(limit: int, items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Works on all items, on so many at a time."""
    remaining = iter(items)

    async def worker() -> None:
        for item in remaining:
            await work(item)
    await asyncio.gather(*(worker() for _ in range(limit)))


async def ask(client: Client, path: str, user: str = "") -> JSON | None:
    """A GET; None for a 404. - Raises CannotTell."""
    headers = {"X-User-ID": user} if user else {}
    for attempt in range(3):
        try:
            answer = await client.request("GET", path, headers=headers, timeout=15.0)
        except NoAnswer:
            await asyncio.sleep(0.2)
            continue
        if answer.status == 404:
            return None
        if answer.status == 200:
            return exact(answer.content)
        raise CannotTell(f"GET {path}: {answer.status} {answer.content[:200]!r}")
    raise CannotTell(f"GET {path}: no answer")


async def totals(system: System, service: str) -> JSON:
    found = await ask(system.direct[service], "/audit/totals")
    if found is None:
        raise CannotTell(f"{service} has no /audit/totals")
    return found


async def is_settled(system: System) -> bool:
    """No order is pending and nothing is reserved."""
    orders, stock = await asyncio.gather(totals(system, "order"), totals(system, "stock"))
    return bool(orders["orders"]["pending"] == 0 and stock["reservations"]["reserved"] == 0)


async def collect(system: System, ledger: Ledger, received: dict[int, int], quiet_since: float) -> Evidence:
    """Asks every paid key once more, then for everything. - Raises CannotTell."""
    paid = [checkout for checkout in ledger.checkouts if checkout.success is not None]

    async def replay(checkout: Checkout) -> None:
        await ledger.ask(checkout)
    await at_most(CONCURRENT, paid, replay)

    evidence = Evidence(ledger.checkouts, quiet_since, received=received)
    await at_most(CONCURRENT, sorted({checkout.user for checkout in ledger.checkouts}),
                  lambda user: _orders_of(system, user, evidence))
    await at_most(CONCURRENT, list(evidence.orders.values()), lambda order: _details(system, order))
    await at_most(CONCURRENT, paid, lambda checkout: _shown(system, checkout, evidence))
    evidence.order_totals = await totals(system, "order")
    evidence.stock_totals = await totals(system, "stock")
    evidence.payment_totals = await totals(system, "payment")
    return evidence


async def _orders_of(system: System, user: str, evidence: Evidence) -> None:
    cursor = ""
    for _ in range(PAGE_LIMIT):
        page = await ask(system.edge, f"/order/orders?limit=100{cursor}", user)
        if page is None:
            raise CannotTell("the list of orders is a 404")
        for body in page["orders"]:
            evidence.orders[body["orderId"]] = Order(user, body)
        if page["nextCursor"] is None:
            return
        cursor = f"&cursor={quote(page['nextCursor'], safe='')}"
    raise CannotTell(f"the list of orders of '{user}' does not end")


async def _details(system: System, order: Order) -> None:
    order.reservation = await ask(system.edge, f"/stock/reservations/{order.body['reservationId']}", order.user)
    order.charge = await ask(system.edge, f"/payment/charges/{order.body['chargeId']}", order.user)


async def _shown(system: System, checkout: Checkout, evidence: Evidence) -> None:
    assert checkout.success is not None
    try:
        order_id = str(exact(checkout.success.body)["orderId"])
    except (CannotTell, KeyError, ValueError):
        return  # The check of the answer itself finds it.
    evidence.shown[order_id] = await ask(system.edge, f"/order/orders/{order_id}", checkout.user)
