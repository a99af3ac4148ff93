"""What an answer means, and what a client may be certain of."""

from __future__ import annotations

import asyncio
import json
import unittest
from collections.abc import Callable

from http11 import Message, NoAnswer
from ledger import Checkout, Kind, Ledger, interpret


def message(status: int, body: object, replayed: bool = False) -> Message:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = (("idempotent-replayed", "true"),) if replayed else ()
    return Message(f"HTTP/1.1 {status} Words\r\n\r\n".encode(), content, content, headers)


def problem(status: int, code: str) -> Message:
    return message(status, {"status": status, "code": code})


class Edge:
    """Answers what it is told to."""

    def __init__(self) -> None:
        self.answers: list[Message | Callable[[], Message]] = []

    async def request(self, *_: object) -> Message:
        await asyncio.sleep(0)
        answer = self.answers.pop(0)
        return answer if isinstance(answer, Message) else answer()


def no_answer() -> Message:
    raise NoAnswer("the connection broke")


class InterpretTest(unittest.TestCase):
    def test_answers(self) -> None:
        for answer, kind in (
            (message(200, {"orderId": "o1"}), Kind.SUCCESS),
            (problem(402, "payment-declined"), Kind.REFUSED),
            (problem(409, "insufficient-stock"), Kind.REFUSED),
            (problem(409, "request-in-progress"), Kind.IN_PROGRESS),
            (problem(422, "idempotency-key-reused"), Kind.REUSED),
            (problem(503, "checkout-unavailable"), Kind.FAILED),
            (problem(503, "service-unavailable"), Kind.UNKNOWN),
            (problem(502, "bad-gateway"), Kind.UNKNOWN),
            (problem(504, "outcome-unknown"), Kind.UNKNOWN),
            (problem(500, "internal-error"), Kind.WRONG),
            (problem(409, "payment-declined"), Kind.WRONG),
            (message(503, {"status": 500, "code": "checkout-unavailable"}), Kind.WRONG),
            (message(502, b"<html>"), Kind.WRONG),
            (message(200, b"[]"), Kind.WRONG),
        ):
            with self.subTest(answer.head + answer.content):
                self.assertIs(interpret(answer)[0], kind)


class LedgerTest(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.edge = Edge()
        self.ledger = Ledger(self.edge, "run")  # type: ignore[arg-type]
        self.checkout = self.ledger.new("", ((1, 2),))

    async def ask(self, answer: Message | Callable[[], Message], other: bool = False) -> None:
        self.edge.answers.append(answer)
        await self.ledger.ask(self.checkout, other=other)

    async def test_a_request_without_an_answer_is_remembered(self) -> None:
        await self.ask(no_answer)
        self.assertIs(self.checkout.told[0].kind, Kind.UNKNOWN)
        self.assertEqual(self.ledger.pending(), [self.checkout])

    async def test_a_request_that_is_called_off_is_remembered(self) -> None:
        asking = asyncio.create_task(self.ask(no_answer))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        self.assertIs(self.checkout.told[0].kind, Kind.UNKNOWN)
        self.assertEqual(self.checkout.open, 0)

    async def test_pending_until_it_has_ended(self) -> None:
        self.assertEqual(self.ledger.pending(), [])
        await self.ask(problem(409, "request-in-progress"))
        self.assertEqual(self.ledger.pending(), [self.checkout])
        await self.ask(problem(402, "payment-declined"))
        self.assertEqual(self.ledger.pending(), [])
        await self.ask(no_answer)
        self.assertEqual(self.ledger.pending(), [self.checkout])
        await self.ask(message(200, {"orderId": "o1"}))
        await self.ask(no_answer)
        self.assertEqual(self.ledger.pending(), [])

    async def test_certain_by_a_success(self) -> None:
        await self.ask(no_answer)
        self.assertFalse(self.checkout.is_certain())
        await self.ask(message(200, {"orderId": "o1"}))
        self.assertTrue(self.checkout.is_certain())

    async def test_certain_by_a_refusal_only_if_nothing_was_lost(self) -> None:
        await self.ask(problem(402, "payment-declined"))
        self.assertTrue(self.checkout.is_certain())
        await self.ask(no_answer)
        await self.ask(problem(402, "payment-declined"))
        self.assertFalse(self.checkout.is_certain())
        quiet_since = self.checkout.told[-1].told_at
        await self.ask(problem(402, "payment-declined"))
        self.assertTrue(self.checkout.is_certain(quiet_since))

    async def test_another_command_tells_nothing_about_the_first(self) -> None:
        await self.ask(problem(402, "payment-declined"))
        await self.ask(problem(422, "idempotency-key-reused"), other=True)
        self.assertTrue(self.checkout.is_certain())
        self.assertNotEqual(self.checkout.body(), self.checkout.body(other=True))

    async def test_a_faithful_replay_is_kept_once_and_another_as_it_is(self) -> None:
        await self.ask(message(200, {"orderId": "o1"}))
        await self.ask(message(200, {"orderId": "o1"}, replayed=True))
        await self.ask(message(200, {"orderId": "o2"}, replayed=True))
        first, second, third = self.checkout.told
        self.assertIs(first.body, second.body)
        self.assertNotEqual(first.body, third.body)
        self.assertEqual([told.replayed for told in self.checkout.told], [False, True, True])

    def test_a_cart_of_one_line_and_of_many(self) -> None:
        self.assertEqual(json.loads(Checkout(1, "k", "", ((1, 2),)).body()), {"itemId": 1, "quantity": 2})
        self.assertEqual(json.loads(Checkout(1, "k", "", ((1, 2), (3, 1)), "card").body()),
                         {"lines": [{"itemId": 1, "quantity": 2}, {"itemId": 3, "quantity": 1}], "method": "card"})


if __name__ == "__main__":
    unittest.main()
