"""What was asked of the shop, and everything that anybody was ever told about it."""

from __future__ import annotations

import enum
import itertools
import json
import math
import time
from dataclasses import dataclass, field

from http11 import Client, Message, NoAnswer

CLIENT_SECONDS = 8.0
"""How long a patient client waits: longer than CHECKOUT_TIMEOUT_SECONDS, so that it is told that the outcome is unknown."""


class Kind(enum.Enum):
    """What an answer means to its client."""

    SUCCESS = "success"
    REFUSED = "refused"
    """For a reason of the business. Nothing is taken; the same key executes again (IK-18)."""
    FAILED = "failed"
    """Undone. Nothing is taken; the same key executes again (IK-19)."""
    IN_PROGRESS = "in progress"
    REUSED = "key reused"
    NOT_EXECUTED = "not executed"
    """This request did nothing; an earlier one with its key may be at work."""
    UNKNOWN = "unknown"
    """It may have been executed or not, or may yet be."""
    WRONG = "wrong"
    """Nothing that the contract allows."""


ENDS = frozenset({Kind.SUCCESS, Kind.REFUSED, Kind.FAILED})
"""The outcome of an order is known."""

TAKE_LONG = frozenset({"test_slow", "test_timeout_after_charge", "test_unknown_then_ok", "test_error_then_ok"})

MEANING = {
    (402, "payment-declined"): Kind.REFUSED,
    (404, "item-not-found"): Kind.REFUSED,
    (409, "insufficient-stock"): Kind.REFUSED,
    (503, "checkout-unavailable"): Kind.FAILED,
    (409, "request-in-progress"): Kind.IN_PROGRESS,
    (422, "idempotency-key-reused"): Kind.REUSED,
    (503, "store-unavailable"): Kind.NOT_EXECUTED,
    (503, "overloaded"): Kind.NOT_EXECUTED,
    (503, "draining"): Kind.NOT_EXECUTED,
    # nginx says these of a service that it cannot reach, and Order says two of them of a checkout that is undone. To a
    # client they are one: it must ask again.
    (502, "bad-gateway"): Kind.UNKNOWN,
    (503, "service-unavailable"): Kind.UNKNOWN,
    (504, "gateway-timeout"): Kind.UNKNOWN,
    (504, "outcome-unknown"): Kind.UNKNOWN,
}


@dataclass(frozen=True)
class Told:
    """One answer, or that there was none."""

    asked_at: float
    told_at: float
    kind: Kind
    status: int = 0
    code: str = ""
    body: bytes = b""
    replayed: bool = False
    other_command: bool = False
    """The request had another body than the first one of its key."""

    @property
    def words(self) -> str:
        return f"{self.status} {self.code}".strip() if self.status else "no answer"


def interpret(answer: Message) -> tuple[Kind, str]:
    """What an answer means, and its code."""
    try:
        body = json.loads(answer.content)
    except ValueError:
        return Kind.WRONG, f"no JSON: {answer.content[:80]!r}"
    if not isinstance(body, dict):
        return Kind.WRONG, f"no object: {answer.content[:80]!r}"
    if answer.status == 200:
        return Kind.SUCCESS, ""
    code = str(body.get("code"))
    if body.get("status") != answer.status:
        return Kind.WRONG, code
    return MEANING.get((answer.status, code), Kind.WRONG), code


@dataclass
class Checkout:
    """A key, what was ordered with it, and what its client was told."""

    number: int
    key: str
    user: str
    lines: tuple[tuple[int, int], ...]
    """Item and quantity."""
    method: str | None = None
    told: list[Told] = field(default_factory=list)
    open: int = 0
    """How many requests are under way."""

    @property
    def takes_long(self) -> bool:
        """Whether its payment takes long by itself: seconds, or several askings."""
        return self.method in TAKE_LONG

    @property
    def end(self) -> Told | None:
        """The latest answer by which an order of this key has ended."""
        return next((told for told in reversed(self.told) if told.kind in ENDS), None)

    @property
    def success(self) -> Told | None:
        return next((told for told in self.told if told.kind is Kind.SUCCESS and not told.other_command), None)

    def is_certain(self, quiet_since: float = math.inf) -> bool:
        """Whether its client knows how it stands: paid; or not paid, and no request of its is left that could change that.

        A request without an answer may still be on its way and be executed after another was refused. Only an answer to a
        question asked when all was quiet settles that.
        """
        if self.success is not None:
            return True
        own = [told for told in self.told if not told.other_command]
        if self.open or not own or own[-1].kind not in ENDS:
            return False
        return own[-1].asked_at >= quiet_since or all(told.kind is not Kind.UNKNOWN for told in own)

    def body(self, other: bool = False) -> bytes:
        lines = [{"itemId": item, "quantity": quantity + other} for item, quantity in self.lines]
        command: dict[str, object] = dict(lines[0]) if len(lines) == 1 else {"lines": lines}
        if self.method is not None:
            command["method"] = self.method
        return json.dumps(command).encode()

    def headers(self) -> dict[str, str]:
        return {"Idempotency-Key": self.key} | ({"X-User-ID": self.user} if self.user else {})


class Ledger:
    """Every checkout of a run. All asking goes through here, so that no answer is lost."""

    def __init__(self, edge: Client, run: str):
        self.checkouts: list[Checkout] = []
        self.asked = 0
        self._edge, self._run = edge, run
        self._numbers = itertools.count(1)
        self._pending: dict[int, Checkout] = {}

    def new(self, user: str, lines: tuple[tuple[int, int], ...], method: str | None = None) -> Checkout:
        number = next(self._numbers)
        checkout = Checkout(number, f"{self._run}-{number}", user, lines, method)
        self.checkouts.append(checkout)
        return checkout

    async def ask(self, checkout: Checkout, timeout: float = CLIENT_SECONDS, other: bool = False) -> Told:
        """Sends the checkout once and writes down what comes of it."""
        self.asked += 1
        checkout.open += 1
        if checkout.success is None:
            self._pending[checkout.number] = checkout
        asked_at = time.monotonic()
        told = Told(asked_at, asked_at, Kind.UNKNOWN, other_command=other)
        try:
            answer = await self._edge.request(
                "POST", "/order/checkout", checkout.body(other), checkout.headers(), timeout)
            kind, code = interpret(answer)
            told = Told(asked_at, time.monotonic(), kind, answer.status, code, self._kept(checkout, kind, answer),
                        answer.header("idempotent-replayed") == "true", other)
        except NoAnswer:
            told = Told(asked_at, time.monotonic(), Kind.UNKNOWN, other_command=other)
        finally:
            # Even when the asking itself is cancelled: the request may have been sent.
            checkout.open -= 1
            checkout.told.append(told)
            if told.kind in ENDS:
                self._pending.pop(checkout.number, None)
        return told

    @staticmethod
    def _kept(checkout: Checkout, kind: Kind, answer: Message) -> bytes:
        """The bytes of a success; those of a faithful replay are kept once."""
        if kind is not Kind.SUCCESS:
            return b""
        first = checkout.success
        return first.body if first is not None and first.body == answer.content else answer.content

    def pending(self) -> list[Checkout]:
        """Those without an end: their clients wait for it, or have left without it."""
        return list(self._pending.values())
