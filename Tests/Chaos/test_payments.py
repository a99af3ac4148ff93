"""A planted violation of each kind is found among the payments; a clean run has none."""

from __future__ import annotations

import unittest
from typing import Any

from payments import INITIAL, Books, Move, check


def usd(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": "USD"}


def clean() -> Books:
    """A deposit of 10.00 and a withdrawal of 5.00 that succeeded, a declined deposit, and a refused withdrawal."""
    books = Books([
        Move("key-1", "ann", "deposit", 1000, "stripe", None, {"p1"}),
        Move("key-2", "ann", "withdraw", 500, "paypal", "tok_late", {"p2"}),
        Move("key-3", "ann", "deposit", 700, "stripe", "tok_declined", {"p3"}),
        Move("key-4", "ann", "withdraw", 10_000_000, "stripe", None, refused=True),
    ])

    def payment(number: int, kind: str, amount: int, provider: str, status: str, **more: Any) -> None:
        books.payments[f"p{number}"] = {"paymentId": f"p{number}", "type": kind, "status": status, "userId": "ann",
                                        "provider": provider, "amount": usd(amount), "fee": usd(amount // 50), **more}
    payment(1, "deposit", 1000, "stripe", "succeeded")
    payment(2, "withdraw", 500, "paypal", "succeeded")
    payment(3, "deposit", 700, "stripe", "failed", declineCode="card_declined")
    books.movements = [{"reference": "p1", "provider": "stripe", "amount": usd(1000)},
                       {"reference": "p2", "provider": "paypal", "amount": usd(-500)}]
    books.balances = {"ann": INITIAL + 980 - 510}
    return books


class PaymentChecks(unittest.TestCase):
    def found(self, books: Books) -> list[tuple[str, str]]:
        return sorted({(v.invariant, i) for v in check(books) for i in v.ids[:1]})

    def test_a_clean_run_has_no_violation(self) -> None:
        self.assertEqual(self.found(clean()), [])

    def test_a_key_with_two_payments(self) -> None:
        books = clean()
        books.moves[0].ids.add("p3")
        self.assertIn(("INV-1", "key-1"), self.found(books))
        self.assertIn(("INV-1", "p3"), self.found(books))

    def test_a_key_without_an_answer(self) -> None:
        books = clean()
        books.moves[3].refused = False
        self.assertEqual(self.found(books), [("INV-6", "key-4")])

    def test_a_payment_that_does_not_end(self) -> None:
        books = clean()
        books.payments["p3"]["status"] = "processing"
        self.assertEqual(self.found(books), [("INV-6", "key-3")])

    def test_a_payment_that_is_gone(self) -> None:
        books = clean()
        del books.payments["p3"]
        self.assertEqual(self.found(books), [("INV-9", "key-3")])

    def test_a_payment_that_nobody_was_told_of(self) -> None:
        books = clean()
        books.moves[2].ids, books.moves[2].refused = set(), True
        self.assertEqual(self.found(books), [("INV-10", "p3")])

    def test_money_that_moved_twice_at_the_provider(self) -> None:
        books = clean()
        books.movements.append(dict(books.movements[0]))
        self.assertEqual(self.found(books), [("INV-4", "p1")])

    def test_money_that_moved_for_a_payment_that_failed(self) -> None:
        books = clean()
        books.movements.append({"reference": "p3", "provider": "stripe", "amount": usd(700)})
        self.assertEqual(self.found(books), [("INV-4", "p3")])

    def test_money_that_never_moved_for_a_payment_that_succeeded(self) -> None:
        books = clean()
        books.movements.pop()
        self.assertEqual(self.found(books), [("INV-4", "p2")])

    def test_money_that_moved_for_nobody(self) -> None:
        books = clean()
        books.movements.append({"reference": "p9", "provider": "stripe", "amount": usd(1)})
        self.assertEqual(self.found(books), [("INV-4", "p9")])

    def test_a_success_with_a_token_that_is_declined(self) -> None:
        books = clean()
        books.moves[0].token = "tok_insufficient_funds"
        self.assertEqual(self.found(books), [("INV-10", "key-1")])

    def test_a_balance_that_does_not_add_up(self) -> None:
        books = clean()
        books.balances["ann"] += 1
        self.assertEqual(self.found(books), [("INV-11", "ann")])


if __name__ == "__main__":
    unittest.main()
