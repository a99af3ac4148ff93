"""Customers who put money into their accounts and take it out through the payment providers, and what must have become of it.

A payment is known by its key to us and by its id to the provider. At the end the provider's own books, the payments as Payment
shows them, and the balances must say the same.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

from checks import Violation
from evidence import CONCURRENT, JSON, PAGE_LIMIT, CannotTell, ask, at_most
from http11 import Client, NoAnswer
from system import PROVIDER, CannotRun, System

RATE = 8.0
"""Payments begun a second."""
UNDER_WAY = 16
PATIENCE = 8.0
"""Seconds after which a customer leaves; the key is asked again when all is quiet."""
PAYERS = 12
INITIAL = 100_000
PROVIDERS = ("stripe", "paypal")
DECLINED = {"tok_declined": "card_declined", "tok_insufficient_funds": "insufficient_funds", "tok_pending_declined": "card_declined"}
# Without tok_error: what a provider never takes ends in the dead letters, which says nothing about kills.
TOKENS = ("tok_visa", "tok_pending", "tok_rate_limited", "tok_error_once", "tok_timeout_after_commit", "tok_error_after_commit",
          "tok_late", *DECLINED)
OPEN = ("new", "processing")
MOVED = ("succeeded", "partially_refunded", "refunded")


@dataclass
class Move:
    """Money that a customer wants to have moved, under a key of its own."""

    key: str
    user: str
    kind: str
    amount: int
    provider: str
    token: str | None
    ids: set[str] = field(default_factory=set)
    """The payments that the key was answered with."""
    refused: bool = False
    """There was too little in the account."""

    @property
    def body(self) -> bytes:
        body: JSON = {"amount": {"amount": self.amount, "currency": "USD"}, "provider": self.provider}
        if self.token:
            body["token"] = self.token
        return json.dumps(body).encode()

    @property
    def is_told(self) -> bool:
        return bool(self.ids) or self.refused


@dataclass
class Books:
    """All that the check looks at. Plain values: a test can make them up."""

    moves: list[Move] = field(default_factory=list)
    payments: dict[str, JSON] = field(default_factory=dict)
    """By id, of every customer, as Payment shows them."""
    movements: list[JSON] = field(default_factory=list)
    """The providers' own."""
    balances: dict[str, int] = field(default_factory=dict)


@dataclass
class PaymentLoad:
    """Begins payments until it is told to stop."""

    edge: Client
    rng: random.Random
    run: str
    moves: list[Move] = field(default_factory=list)
    _stopping: bool = False
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    async def open_accounts(self) -> None:
        for number in range(PAYERS):
            body = json.dumps({"initialBalance": {"amount": INITIAL, "currency": "USD"}}).encode()
            answer = await self.edge.request("POST", "/payment/accounts", body, {"X-User-ID": self._user(number)})
            if answer.status != 201:
                raise CannotRun(f"no account can be opened: {answer.status} {answer.content!r}")

    def _user(self, number: int) -> str:
        return f"payer-{self.run}-{number}"

    async def run_customers(self) -> None:
        """Until `stop` is called, and everybody knows or has left."""
        while not self._stopping:
            await asyncio.sleep(self.rng.uniform(0.5, 1.5) / RATE)
            if len(self._under_way) < UNDER_WAY:
                task = asyncio.create_task(self._drive(self._new()))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
        await asyncio.gather(*self._under_way)

    def stop(self) -> None:
        self._stopping = True

    def _new(self) -> Move:
        kind = "deposit" if self.rng.random() < 0.6 else "withdraw"
        # Now and then more than there is.
        amount = self.rng.choice((1, 99, 1050, 2500, 10_000, 10_000_000 if kind == "withdraw" else 333))
        token = None if self.rng.random() < 0.4 else self.rng.choice(TOKENS)
        move = Move(f"move-{self.run}-{len(self.moves)}", self._user(self.rng.randrange(PAYERS)), kind, amount,
                    self.rng.choice(PROVIDERS), token)
        self.moves.append(move)
        return move

    async def _drive(self, move: Move) -> None:
        if self.rng.random() < 0.2:
            await self.ask(move, timeout=self.rng.choice((0.002, 0.02)))
        await self.settle(move, time.monotonic() + PATIENCE)

    async def settle(self, move: Move, deadline: float) -> None:
        """Asks until the key is answered: at least once."""
        while not await self.ask(move) and time.monotonic() < deadline:
            await asyncio.sleep(self.rng.uniform(0.05, 0.2))

    async def ask(self, move: Move, timeout: float = 3.0) -> bool:
        """Whether the answer says what came of it."""
        try:
            answer = await self.edge.request("POST", f"/payment/payments/{move.kind}", move.body,
                                             {"Idempotency-Key": move.key, "X-User-ID": move.user}, timeout)
        except NoAnswer:
            return False
        if answer.status == 202:
            move.ids.add(str(json.loads(answer.content)["paymentId"]))
        move.refused = answer.status == 402
        return answer.status in (202, 402)


async def collect(system: System, load: PaymentLoad, until: float) -> Books:
    """Asks every key again when all is quiet, waits until no payment is open, and then asks for everything. - Raises CannotTell."""
    books = Books(load.moves)
    await at_most(CONCURRENT, load.moves, lambda move: load.settle(move, until))
    users = sorted({move.user for move in load.moves})

    async def look(user: str) -> None:
        async for payment in _pages(system.edge, "/payment/payments?limit=100", "payments", user):
            books.payments[payment["paymentId"]] = payment
    while True:
        await at_most(CONCURRENT, users, look)
        if time.monotonic() > until or not any(p["status"] in OPEN for p in books.payments.values()):
            break
        await asyncio.sleep(0.2)

    async def balance(user: str) -> None:
        found = await ask(system.edge, "/payment/accounts/balance?currency=USD", user)
        if found is not None:
            books.balances[user] = found["balance"]["amount"]
    await at_most(CONCURRENT, users, balance)
    books.movements = [m async for m in _pages(system.direct[PROVIDER], "/audit/movements?limit=200", "entries")]
    return books


async def _pages(client: Client, path: str, name: str, user: str = "") -> AsyncIterator[JSON]:
    cursor = ""
    for _ in range(PAGE_LIMIT):
        page = await ask(client, path + cursor, user)
        if page is None:
            raise CannotTell(f"{path} is a 404")
        for entry in page[name]:
            yield entry
        if page["nextCursor"] is None:
            return
        cursor = f"&cursor={quote(page['nextCursor'], safe='')}"
    raise CannotTell(f"{path} does not end")


# ---------------------------------------------------------------- what must hold

def check(books: Books) -> Iterator[Violation]:
    """INV-1, INV-4, INV-6, INV-9, INV-10 and INV-11 of payments through providers."""
    answered: Counter[str] = Counter()
    for move in books.moves:
        if not move.is_told:
            yield Violation("INV-6", "no answer says what came of the payment", (move.key,))
        if len(move.ids) > 1:
            yield Violation("INV-1", "was answered with more than one payment", (move.key, *sorted(move.ids)))
        answered.update(move.ids)
        for payment_id in move.ids:
            yield from _of_key(move, payment_id, books.payments.get(payment_id))
    for payment_id, count in answered.items():
        if count > 1:
            yield Violation("INV-1", "is the payment of more than one key", (payment_id,))
    for payment_id in books.payments.keys() - answered.keys():
        yield Violation("INV-10", "is a payment, and no key was answered with it", (payment_id,))
    yield from _against_the_provider(books)
    yield from _balances(books)


def _of_key(move: Move, payment_id: str, payment: JSON | None) -> Iterator[Violation]:
    if payment is None:
        yield Violation("INV-9", "was answered with a payment that is not there", (move.key, payment_id))
    elif payment["status"] in OPEN:
        yield Violation("INV-6", f"is still {payment['status']}: {payment.get('lastError')}", (move.key, payment_id))
    elif move.token in DECLINED:
        if payment["status"] in MOVED:
            yield Violation("INV-10", f"has succeeded with {move.token}", (move.key, payment_id))
        elif payment.get("declineCode") not in (DECLINED[move.token], None):
            yield Violation("INV-10", f"was declined with {payment['declineCode']}", (move.key, payment_id))


def _signed(payment: JSON) -> int:
    """What the provider holds more for us when it has succeeded."""
    amount = int(payment["amount"]["amount"])
    return amount if payment["type"] == "deposit" else -amount


def _against_the_provider(books: Books) -> Iterator[Violation]:
    """INV-4 and INV-10: money has moved at the provider once for each payment that succeeded, and for no other."""
    moved: dict[str, list[JSON]] = defaultdict(list)
    for movement in books.movements:
        moved[movement["reference"]].append(movement)
    for payment_id, payment in books.payments.items():
        amounts = [(m["provider"], m["amount"]["amount"]) for m in moved.pop(payment_id, [])]
        expected = [(payment["provider"], _signed(payment))] if payment["status"] in MOVED else []
        if payment["status"] not in OPEN and amounts != expected:
            yield Violation("INV-4", f"is {payment['status']} ({expected}), and the provider has moved {amounts}", (payment_id,))
    for reference, movements in moved.items():
        yield Violation("INV-4", f"is no payment of anybody, and the provider has moved {movements}", (reference,))


def _balances(books: Books) -> Iterator[Violation]:
    """INV-11: what is in an account is what its owner's payments have left there."""
    expected: dict[str, int] = defaultdict(lambda: INITIAL)
    for payment in books.payments.values():
        if payment["status"] in MOVED:
            expected[payment["userId"]] += _signed(payment) - int(payment["fee"]["amount"])
    for user, balance in books.balances.items():
        if balance != expected[user]:
            yield Violation("INV-11", f"has {balance} in the account, and the payments leave {expected[user]}", (user,))
