"""The customers: who buys what, and how well they behave."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from http11 import Client, Message, NoAnswer
from ledger import Checkout, Kind, Ledger
from system import CannotRun

PATIENCE = 20.0
"""Seconds after which a client gives its checkout up for now; it is asked again when all is quiet."""
FRESH_ATTEMPTS = 3
"""How often a client that is told "undone, try again" tries."""
REMEMBERED = 500


@dataclass(frozen=True)
class Item:
    number: int
    price: int
    currency: str
    on_hand: int


PLENTY = tuple(Item(101 + i, price, "USD", 10_000_000) for i, price in enumerate((1, 250, 999, 1000, 1999, 123_456)))
SCARCE = tuple(Item(201 + i, 500 + i, "USD", 20) for i in range(4))
YEN = Item(301, 333, "JPY", 10_000_000)
UNKNOWN_ITEM = 999
ITEMS = (*PLENTY, *SCARCE, YEN)
SCARCE_NUMBERS = frozenset(item.number for item in SCARCE)

DECLINED = {"test_declined": "card_declined", "test_insufficient_funds": "insufficient_funds"}
# Without test_error: a provider that fails for ever is a fault that never ends, and a charge that may have been taken before
# stays unknown for as long as it lasts.
QUICK_METHODS = ("test_declined", "test_insufficient_funds", "test_error_then_ok", "test_unknown_then_ok",
                 "test_refund_fails_once", "card")
SLOW_METHODS = ("test_slow", "test_timeout_after_charge")


@dataclass
class Restock:
    """Goods that arrive, under a key of their own."""

    key: str
    item: int
    quantity: int
    done: bool = False


@dataclass
class Load:
    """So many clients that begin `rate` checkouts a second, as long as that many are not under way."""

    ledger: Ledger
    edge: Client
    rng: random.Random
    rate: float
    clients: int
    run: str
    allows_slow: bool = True
    """Whether payments that take seconds by themselves may be begun."""
    restocks: list[Restock] = field(default_factory=list)
    manners: Counter[str] = field(default_factory=Counter)
    _stopping: bool = False
    _next_turn: float = 0.0
    _rushed: set[asyncio.Task[None]] = field(default_factory=set)
    _bought: deque[Checkout] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    async def open_shop(self) -> None:
        for item in ITEMS:
            body = {"name": f"item {item.number}", "price": {"amount": item.price, "currency": item.currency},
                    "onHand": item.on_hand}
            answer = await self.edge.request("PUT", f"/stock/items/{item.number}", json.dumps(body).encode())
            if answer.status != 201:
                raise CannotRun(f"item {item.number} cannot be created: {answer.status} {answer.content!r}")

    async def run_clients(self) -> None:
        """Until `stop` is called; then every client finishes what it is waiting for."""
        await asyncio.gather(self._restocker(), *(self._client() for _ in range(self.clients)))
        await asyncio.gather(*self._rushed)

    def rush(self, count: int) -> None:
        """So many more checkouts at this moment, each by a client of its own."""
        for _ in range(count):
            task = asyncio.create_task(self._drive(self._new(method="card")))
            self._rushed.add(task)
            task.add_done_callback(self._rushed.discard)

    def stop(self) -> None:
        self._stopping = True

    # ---------------------------------------------------------------- the clients

    async def _client(self) -> None:
        manners: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (70, self._plain), (10, self._together), (8, self._impatient), (5, self._buy_again), (5, self._other_command),
            (2, self._saboteur),
        ]
        weights, actions = zip(*manners)
        while not self._stopping:
            await self._turn()
            action = self.rng.choices(actions, weights)[0]
            self.manners[action.__name__.strip("_")] += 1
            await action()

    async def _turn(self) -> None:
        now = time.monotonic()
        self._next_turn = max(self._next_turn, now - 0.1) + 1 / self.rate
        await asyncio.sleep(max(0.0, self._next_turn - now))

    async def _plain(self) -> None:
        await self._drive(self._new())

    async def _together(self) -> None:
        """The button is pressed several times at once."""
        checkout = self._new()
        await asyncio.gather(*(self._drive(checkout) for _ in range(self.rng.randint(2, 5))))

    async def _impatient(self) -> None:
        """Leaves in the middle. Some come back at once, some later, some not until all is quiet."""
        checkout = self._new()
        await self.ledger.ask(checkout, timeout=self.rng.choice((0.002, 0.01, 0.05, 0.2)))
        if self.rng.random() < 0.6:
            await asyncio.sleep(self.rng.choice((0.0, 0.05, 1.0)))
            await self._drive(checkout)

    async def _buy_again(self) -> None:
        """Repeats a checkout that was paid some time ago."""
        if self._bought:
            await self.ledger.ask(self.rng.choice(self._bought))

    async def _other_command(self) -> None:
        """Uses the key of a checkout that has ended for something else. One that was only told to try again may have left
        no trace, and its key is then free."""
        checkout = self._new()
        await self._drive(checkout)
        if checkout.end is not None and checkout.end.kind is not Kind.FAILED:
            await self.ledger.ask(checkout, other=True)

    async def _saboteur(self) -> None:
        """Releases the goods while they are being paid for, so that the payment must be given back."""
        method = self.rng.choice(SLOW_METHODS if self.allows_slow else ("test_unknown_then_ok", "test_refund_fails_once"))
        checkout = self._new(user=f"saboteur-{self.run}-{self.rng.randrange(1 << 40)}", method=method)
        driving = asyncio.create_task(self._drive(checkout))
        try:
            if (reservation := await self._reservation_of(checkout, within=1.5)) is not None:
                await asyncio.sleep(self.rng.choice((0.0, 0.02, 0.5)))
                body = json.dumps({"reservationId": reservation}).encode()
                await self.edge.request("POST", "/stock/release", body)
        except NoAnswer:
            pass
        finally:
            await driving

    async def _reservation_of(self, checkout: Checkout, within: float) -> str | None:
        deadline = time.monotonic() + within
        while time.monotonic() < deadline and checkout.success is None:
            answer = await self.edge.request("GET", "/order/orders?limit=1", headers={"X-User-ID": checkout.user})
            orders = json.loads(answer.content).get("orders", [])
            if orders and orders[0]["status"] == "pending":
                return str(orders[0]["reservationId"])
            await asyncio.sleep(0.02)
        return None

    async def _drive(self, checkout: Checkout) -> None:
        """What a good client does: asks again with the same key until it knows, within bounds."""
        deadline = time.monotonic() + PATIENCE
        fresh, pause = 1, 0.05
        while True:
            told = await self.ledger.ask(checkout)
            match told.kind:
                case Kind.SUCCESS:
                    self._bought.append(checkout)
                    return
                case Kind.REFUSED | Kind.REUSED | Kind.WRONG:
                    return
                case Kind.FAILED:
                    fresh, pause = fresh + 1, 0.4
                    if fresh > FRESH_ATTEMPTS:
                        return
                case Kind.IN_PROGRESS | Kind.NOT_EXECUTED | Kind.UNKNOWN:
                    pass
            if self._stopping or time.monotonic() > deadline:
                return
            await asyncio.sleep(self.rng.uniform(0.5, 1.0) * pause)
            pause = min(0.4, pause * 1.5)

    # ---------------------------------------------------------------- what is bought

    def _new(self, user: str | None = None, method: str | None = None) -> Checkout:
        if user is None:
            user = "" if self.rng.random() < 0.3 else f"user-{self.run}-{self.rng.randrange(40)}"
        return self.ledger.new(user, self._lines(), method or self._method())

    def _lines(self) -> tuple[tuple[int, int], ...]:
        def some(item: Item) -> tuple[int, int]:
            return item.number, self.rng.randint(1, 3)
        draw = self.rng.random()
        if draw < 0.65:
            return (some(self.rng.choice(PLENTY)),)
        if draw < 0.80:
            return tuple(some(item) for item in self.rng.sample(PLENTY, self.rng.randint(2, 5)))
        if draw < 0.90:
            return (some(self.rng.choice(SCARCE)),)
        if draw < 0.95:
            return tuple(some(item) for item in (*self.rng.sample(PLENTY, 2), self.rng.choice(SCARCE)))
        if draw < 0.98:
            return (some(YEN),)
        return (some(self.rng.choice(PLENTY)), (UNKNOWN_ITEM, 1))

    def _method(self) -> str | None:
        draw = self.rng.random()
        if draw < 0.80:
            return None
        if draw < 0.98 or not self.allows_slow:
            return self.rng.choice(QUICK_METHODS)
        return self.rng.choice(SLOW_METHODS)

    # ---------------------------------------------------------------- goods arrive

    async def _restocker(self) -> None:
        while not self._stopping:
            await asyncio.sleep(self.rng.uniform(0.2, 0.8))
            restock = Restock(f"restock-{self.run}-{len(self.restocks)}", self.rng.choice(SCARCE).number, 5)
            self.restocks.append(restock)
            await self.deliver(restock, within=PATIENCE)

    async def deliver(self, restock: Restock, within: float) -> bool:
        """Until it is known to be done."""
        deadline = time.monotonic() + within
        body = json.dumps({"quantity": restock.quantity}).encode()
        while not restock.done and time.monotonic() < deadline:
            try:
                answer: Message | None = await self.edge.request(
                    "POST", f"/stock/items/{restock.item}/restock", body, {"Idempotency-Key": restock.key}, timeout=3.0)
            except NoAnswer:
                answer = None
            restock.done = answer is not None and answer.status == 200
            if not restock.done:
                await asyncio.sleep(0.1)
        return restock.done

    @property
    def received(self) -> dict[int, int]:
        """What must have come in of each item."""
        total = Counter({item.number: item.on_hand for item in ITEMS})
        for restock in self.restocks:
            total[restock.item] += restock.quantity
        return dict(total)
