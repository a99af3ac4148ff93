"""Payments through providers (rows P and T of the feature table): Payment itself, and a provider that a test holds in its hands."""

import re
import shlex
import subprocess
import time
import uuid

import pytest

import documents
import raw
from api import Api, assert_first, assert_invalid, assert_json, assert_problem, at_once, money, new_key, values
from provider import Provider, event, signed
from stack import Service, binary, clean_environment, eventually


class Bench:
    def __init__(self, **more):
        self.provider = Provider()
        self.payment = Service("payment", {**self.provider.environment(), **more})
        self.api = Api("", "", self.payment.url)

    def __enter__(self):
        self.payment.start()
        return self

    def __exit__(self, *_):
        self.api.close()
        self.payment.stop()
        self.provider.stop()

    def pay(self, kind: str, account: str, amount, user: str, key: str | None = None, provider: str = "stripe", **more):
        body = {"type": kind, "sourceAccountId": account, "amount": amount, "provider": provider, **more}
        return self.api.call("POST", "payment", "/payments", body, key or new_key(), user)

    def payment_of(self, payment: str, user: str | None) -> dict:
        return assert_json(self.api.call("GET", "payment", f"/payments/{payment}", user=user))

    def until(self, payment: str, user: str | None, *statuses: str) -> dict:
        def ended():
            found = self.payment_of(payment, user)
            return found if found["status"] in statuses else None
        return eventually(ended, f"{payment} is {statuses}", 20)

    def made(self, kind: str, account: str, amount, user: str, **more) -> str:
        return assert_first(self.pay(kind, account, amount, user, **more), 202)["paymentId"]

    def refund(self, payment: str, user: str, amount=None, key: str | None = None):
        body = {} if amount is None else {"amount": amount}
        return self.api.call("POST", "payment", f"/payments/{payment}/refund", body, key or new_key(), user)

    def letters(self, path: str = ""):
        answer = raw.request(self.payment.operator_url, "GET", f"/dead-letters{path}")
        if answer.status_code == 200:
            described = re.sub(r"^/[^/]+", "/{id}", path.split("?")[0])
            documents.check(documents.of_operators(self.payment.operator_url), answer.json(), f"/dead-letters{described}")
        return answer

    def letter_ids(self, state: str = "open") -> list[str]:
        page = assert_json(self.letters(f"?limit=100&state={state}"))
        return [d["payment"]["paymentId"] for d in page["deadLetters"]]

    def decide(self, action: str, payment: str, *more: str, code: int = 0) -> str:
        """`checkout dead-letters`, as an operator uses it: a dry run, then the command that it prints."""
        run = lambda *args: subprocess.run([str(binary()), *args], env=clean_environment({}), stdin=subprocess.DEVNULL,
                                           capture_output=True, text=True, timeout=30)
        dry = run("dead-letters", action, payment, "--payment", self.payment.operator_url, "--as", "eve", "--reason", "it is back", *more)
        if dry.returncode or more:
            assert dry.returncode == code, dry.stdout + dry.stderr
            return dry.stdout + dry.stderr
        assert "Nothing was done" in dry.stdout
        printed = shlex.split(dry.stdout.splitlines()[-1])
        assert printed[0] == "checkout"
        done = run(*printed[1:])
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def deliver(self, reference: str, message: str | None = None, **more):
        body = event(reference)
        headers = signed(body, message or f"msg_{uuid.uuid4().hex}", **more)
        return self.api.call("POST", "payment", "/webhooks/stripe", headers=headers, content=body)

    def books(self, *providers: str) -> dict:
        """The balances of the system's own accounts; the check of the ledger must be clean."""
        assert self.api.ledger()["balanced"]
        entries = assert_json(self.api.call("GET", "payment", "/audit/accounts"))["entries"]
        return {e["accountId"]: int(e["balance"]) for e in entries if e["kind"] != "wallet"}


@pytest.fixture(scope="module")
def running():
    with Bench() as bench:
        yield bench


@pytest.fixture
def bench(running):
    running.provider.faults.clear()
    running.provider.calls.clear()
    return running


@pytest.fixture
def ann():
    return f"ann-{uuid.uuid4()}"


@pytest.fixture
def account(bench, ann):
    return assert_first(bench.api.open_account(ann, 102), 201)["accountId"]


# ---------------------------------------------------------------- P: deposits and withdrawals with a fee

def test_P_a_deposit_is_credited_less_two_percent_by_and_by(bench, ann, account, key):
    answer = bench.api.call("POST", "payment", "/payments/deposit", {"amount": 100.00}, key, ann)
    taken = assert_first(answer, 202)
    assert taken["status"] == "new" and taken["fee"] == money(200) and taken["provider"] == "stripe"
    assert values(answer, "Location") == [taken["paymentId"]]
    done = bench.until(taken["paymentId"], ann, "succeeded")
    assert done["attempts"] == 1 and done["amount"] == money(10_000)
    assert bench.api.balance(ann) == 20_000
    again = bench.api.call("POST", "payment", "/payments/deposit", {"amount": 100}, key, ann)
    assert again.status_code == 202 and again.content == answer.content and values(again, "Idempotent-Replayed") == ["true"]
    assert values(again, "Location") == values(answer, "Location")


def test_P_a_withdrawal_takes_its_fee_too_and_cannot_be_overdrawn(bench, ann, account):
    made = assert_first(bench.api.call("POST", "payment", "/payments/withdraw", {"amount": 100}, new_key(), ann), 202)
    assert bench.api.balance(ann) == 0, "it is set aside at once"
    refused = bench.api.call("POST", "payment", "/payments/withdraw", {"amount": 1}, new_key(), ann)
    assert assert_problem(refused, 402, "payment-declined")["declineCode"] == "insufficient_funds"
    bench.until(made["paymentId"], ann, "succeeded")
    types = [t["type"] for t in assert_json(bench.api.account(account, ann, "/transactions"))["transactions"]]
    assert types == ["hold", "opening"]


def test_P_a_user_may_be_named_in_the_body(bench, key):
    user = f"cid-{uuid.uuid4()}"
    assert_first(bench.api.open_account(balance=5, userId=user), 201)
    made = assert_first(bench.api.call("POST", "payment", "/payments/deposit", {"userId": user, "amount": 1}, key), 202)
    bench.until(made["paymentId"], None, "succeeded")


def test_P_a_decline_gives_everything_back(bench, ann, account):
    bench.provider.faults[:] = ["decline"]
    failed = bench.until(bench.made("withdraw", account, 100, ann), ann, "failed")
    assert failed["declineCode"] == "card_declined" and failed["attempts"] == 1
    assert bench.api.balance(ann) == 10_200


def test_P_a_4xx_other_than_429_is_final(bench, ann, account):
    bench.provider.faults[:] = ["refuse"]
    failed = bench.until(bench.made("withdraw", account, 100, ann), ann, "failed")
    assert failed["attempts"] == 1 and "validation-failed" in failed["lastError"]
    assert bench.api.balance(ann) == 10_200


def test_P_errors_are_tried_again_and_the_wait_is_shown(bench, ann, account):
    bench.provider.faults[:] = ["error", "throttle", None]
    start = time.monotonic()
    payment = bench.made("deposit", account, 10, ann)
    waiting = eventually(lambda: (lambda p: p if "nextRetryAt" in p else None)(bench.payment_of(payment, ann)), "it waits", 5)
    assert waiting["status"] == "processing" and waiting["lastError"]
    done = bench.until(payment, ann, "succeeded")
    assert done["attempts"] == 3 and time.monotonic() - start > 1, "Retry-After: 1"
    assert bench.provider.payments[payment]["status"] == "succeeded"


# ---------------------------------------------------------------- unknown is not failed

@pytest.mark.parametrize("faults", [["lose"], ["lose", "lose", "lose"], ["drop", "error", "lose"]])
def test_T_a_time_out_after_the_money_was_taken_is_found_out_and_never_paid_twice(bench, ann, account, faults):
    bench.provider.faults[:] = faults
    before = bench.provider.taken()
    bench.until(bench.made("withdraw", account, 100, ann), ann, "succeeded")
    assert bench.api.balance(ann) == 0 and bench.provider.taken() == before - 10_000


def test_T_what_was_never_taken_is_closed_then_given_up_and_an_operator_makes_it_anew(bench, ann, account):
    bench.provider.faults[:] = ["drop", "drop", "drop"]
    payment = bench.made("withdraw", account, 100, ann)
    failed = bench.until(payment, ann, "failed")
    assert failed["attempts"] == 3 and bench.provider.count("/cancel") == 1 and payment in bench.provider.canceled
    assert bench.api.balance(ann) == 10_200
    letter = assert_json(bench.letters(f"/{payment}"))
    assert letter["payment"]["paymentId"] == payment and "resolution" not in letter
    assert payment in bench.letter_ids()
    assert bench.decide("retry", payment).startswith("Done: the payment is made anew as ")
    made = assert_json(bench.letters(f"/{payment}"))
    assert made["retriedAs"] != payment and made["resolution"] == "retried"
    assert [(a["operator"], a["action"], a["reason"]) for a in made["actions"]] == [("eve", "retry", "it is back")]
    refused = bench.decide("retry", payment, code=1)
    assert "payment-state-conflict" in refused and made["retriedAs"] in refused
    anew = bench.until(made["retriedAs"], ann, "succeeded")
    assert anew["retryOf"] == payment and bench.payment_of(payment, ann)["status"] == "failed"
    assert bench.api.balance(ann) == 0
    assert "payment-state-conflict" in bench.decide("discard", payment, code=1)


def test_T_a_dead_letter_is_discarded(bench, ann, account):
    bench.provider.faults[:] = ["throttle"] * 3
    payment = bench.made("withdraw", account, 100, ann)
    bench.until(payment, ann, "failed")
    assert bench.provider.count("/cancel") == 0, "nothing can have been taken"
    assert "plan-outdated" in bench.decide("discard", payment, "--commit", "00", code=1)
    assert payment in bench.letter_ids()
    assert bench.decide("discard", payment) == "Done: the payment is let be.\n"
    assert payment in bench.letter_ids("discarded") and payment not in bench.letter_ids()
    assert "payment-state-conflict" in bench.decide("retry", payment, code=1)
    assert "payment-not-found" in bench.decide("retry", str(uuid.uuid4()), code=1)
    assert_problem(bench.api.call("POST", "payment", f"/operator/dead-letters/{payment}/retry"), 404, "not-found")


def test_T_a_kill_in_the_middle_of_a_payment_loses_nothing(ann):
    with Bench(WORKER_PROCESSING_TIMEOUT_SECONDS="2", PROVIDER_TIMEOUT_SECONDS="5") as bench:
        account = assert_first(bench.api.open_account(ann, 102), 201)["accountId"]
        bench.provider.faults[:] = ["lose"]
        payment = bench.made("withdraw", account, 100, ann)
        eventually(lambda: payment in bench.provider.payments, "it was taken", 5)
        bench.payment.kill()
        bench.payment.start()
        bench.until(payment, ann, "succeeded")
        assert bench.api.balance(ann) == 0 and bench.provider.taken() == -10_000
        events = assert_json(bench.api.call("GET", "payment", f"/payments/{payment}/events", user=ann))["events"]
        assert [e["type"] for e in events] == ["created", "processing", "taken_over", "succeeded"]
        assert bench.books()["settlement:stripe:USD"] == -10_000


# ---------------------------------------------------------------- T: list, refund, cancel

def test_T_external_payments_have_a_location_a_list_and_no_fee(bench, ann, account):
    answer = bench.pay("external_payment", account, 10, ann, provider="paypal")
    taken = assert_first(answer, 202)
    assert taken["fee"] == money(0) and values(answer, "Location") == [f"payments/{taken['paymentId']}"]
    bench.until(taken["paymentId"], ann, "succeeded")
    bench.provider.faults[:] = ["decline"]
    other = bench.made("external_payment", account, 10, ann)
    bench.until(other, ann, "failed")
    page = assert_json(bench.api.call("GET", "payment", "/payments?limit=1", user=ann))
    assert [p["paymentId"] for p in page["payments"]] == [other]
    rest = assert_json(bench.api.call("GET", "payment", f"/payments?cursor={page['nextCursor']}", user=ann))
    assert [p["paymentId"] for p in rest["payments"]] == [taken["paymentId"]] and rest["nextCursor"] is None
    failed = assert_json(bench.api.call("GET", "payment", "/payments?status=failed", user=ann))
    assert [p["paymentId"] for p in failed["payments"]] == [other]
    assert_problem(bench.api.call("GET", "payment", "/payments?status=odd", user=ann), 400, "invalid-parameter")


def test_T_a_payment_is_given_back_in_parts_with_its_fee_and_never_above_it(bench, ann, account):
    payment = bench.made("deposit", account, 100, ann)
    bench.until(payment, ann, "succeeded")
    part = bench.refund(payment, ann, 30)
    refund = assert_first(part, 202)
    assert refund["paymentId"] == payment and refund["fee"] == money(60)
    assert values(part, "Location") == [f"../{refund['refundId']}"]
    bench.until(payment, ann, "partially_refunded")
    assert bench.payment_of(refund["refundId"], ann)["refundOf"] == payment
    assert bench.api.balance(ann) == 20_000 - 2940
    assert_problem(bench.refund(payment, ann, 70.01), 422, "refund-exceeds-payment")
    key = new_key()
    first = bench.refund(payment, ann, key=key)
    assert bench.refund(payment, ann, key=key).content == first.content
    bench.until(payment, ann, "refunded")
    assert bench.api.balance(ann) == 10_200
    assert_problem(bench.refund(payment, ann), 409, "payment-state-conflict")


def test_T_a_refund_whose_answer_is_lost_is_made_once(bench, ann, account):
    payment = bench.made("withdraw", account, 100, ann)
    bench.until(payment, ann, "succeeded")
    before = bench.provider.taken()
    bench.provider.faults[:] = ["lose", "lose", "lose", "lose"]
    assert_first(bench.refund(payment, ann), 202)
    bench.until(payment, ann, "refunded")
    assert bench.api.balance(ann) == 10_200 and bench.provider.taken() == before + 10_000


def test_T_fifty_refunds_at_once_never_give_back_more_than_was_paid(bench, ann, account):
    payment = bench.made("withdraw", account, 100, ann)
    bench.until(payment, ann, "succeeded")
    answers = at_once(50, lambda _: bench.refund(payment, ann, 30))
    assert sorted(a.status_code for a in answers) == [202] * 3 + [422] * 47
    eventually(lambda: bench.payment_of(payment, ann)["refunded"] == money(9000), "all three are through", 20)


def test_T_cancel_only_before_it_is_taken_up(ann):
    # The worker looks once in ten minutes, and is not woken while the one place there is is taken.
    with Bench(WORKER_POLL_INTERVAL_SECONDS="600", WORKER_MAX_IN_FLIGHT="1", PROVIDER_TIMEOUT_SECONDS="5") as bench:
        account = assert_first(bench.api.open_account(ann, 102), 201)["accountId"]
        bench.provider.faults[:] = ["lose"]
        busy = bench.made("deposit", account, 1, ann)
        eventually(lambda: bench.provider.count("/payments") > 0, "the worker is busy", 5)
        payment = bench.made("withdraw", account, 100, ann)
        assert bench.api.balance(ann) == 0
        for _ in range(2):
            canceled = bench.api.call("POST", "payment", f"/payments/{payment}/cancel", user=ann)
            assert assert_json(canceled)["status"] == "canceled"
        assert bench.api.balance(ann) == 10_200
        refused = bench.api.call("POST", "payment", f"/payments/{busy}/cancel", user=ann)
        assert_problem(refused, 409, "payment-state-conflict")


def test_T_a_key_makes_one_payment_for_fifty_clients_at_once(bench, ann, account, key):
    answers = at_once(50, lambda _: bench.pay("withdraw", account, 100, ann, key=key))
    assert {a.status_code for a in answers} <= {202, 409}
    assert len({a.json()["paymentId"] for a in answers if a.status_code == 202}) == 1
    assert_problem(bench.pay("withdraw", account, 99, ann, key=key), 422, "idempotency-key-reused")
    assert_problem(bench.pay("withdraw", account, 99, ann, key="two words"), 400, "idempotency-key-invalid")


def test_T_a_key_is_known_after_it_was_forgotten(ann):
    with Bench(IDEMPOTENCY_TTL_SECONDS="1") as bench:
        account = assert_first(bench.api.open_account(ann, 102), 201)["accountId"]
        first = bench.pay("deposit", account, 1, ann, key="k")
        time.sleep(1.2)
        again = bench.pay("deposit", account, 1, ann, key="k")
        assert again.status_code == 202 and again.content == first.content
        assert_problem(bench.pay("deposit", account, 2, ann, key="k"), 422, "idempotency-key-reused")


@pytest.mark.parametrize("change,pointer", [
    ({"type": "gift"}, "#/type"), ({"provider": "bank"}, "#/provider"), ({"amount": 0}, "#/amount"), ({"amount": 0.001}, "#/amount"),
    ({"sourceAccountId": ""}, "#/sourceAccountId"), ({"token": ""}, "#/token"), ({"more": 1}, "#/more"),
])
def test_T_a_bad_command_is_422(bench, ann, account, change, pointer):
    body = {"type": "deposit", "sourceAccountId": account, "amount": 1, "provider": "stripe", **change}
    assert_invalid(bench.api.call("POST", "payment", "/payments", body, new_key(), ann), pointer)


def test_T_another_users_payment_is_not_there(bench, ann, account):
    payment = bench.made("deposit", account, 1, ann)
    for method, path in [("GET", ""), ("GET", "/events"), ("POST", "/cancel")]:
        assert_problem(bench.api.call(method, "payment", f"/payments/{payment}{path}", user="mallory"), 404, "payment-not-found")
    assert_problem(bench.refund(payment, "mallory"), 404, "payment-not-found")
    assert_problem(bench.pay("deposit", account, 1, "mallory"), 404, "account-not-found")


# ---------------------------------------------------------------- breaker and webhooks

def test_T_a_provider_that_fails_is_left_alone_and_the_other_is_not(ann):
    with Bench(BREAKER_MIN_CALLS="4", BREAKER_CONSECUTIVE_FAILURES="4", BREAKER_OPEN_SECONDS="2", GATEWAY_MAX_ATTEMPTS="50") as bench:
        account = assert_first(bench.api.open_account(ann, 102), 201)["accountId"]
        bench.provider.faults[:] = ["error"] * 4
        payments = [bench.made("deposit", account, 1, ann) for _ in range(4)]
        eventually(lambda: bench.provider.count("/stripe/") >= 4, "four have failed", 5)
        asked = bench.provider.count("/stripe/")
        other = bench.made("deposit", account, 1, ann, provider="paypal")
        bench.until(other, ann, "succeeded")
        assert bench.provider.count("/stripe/") == asked
        metrics = bench.api.call("GET", "payment", "/metrics").text
        assert re.search(r'circuit_breaker_state\{target="stripe"\} [12]', metrics)
        assert 'circuit_breaker_state{target="paypal"} 0' in metrics
        for payment in payments:
            bench.until(payment, ann, "succeeded")


def test_T_a_webhook_settles_a_pending_payment_and_proves_nothing_by_itself(ann):
    with Bench(GATEWAY_BACKOFF_BASE_SECONDS="30", GATEWAY_BACKOFF_MAX_SECONDS="60") as bench:
        account = assert_first(bench.api.open_account(ann, 0), 201)["accountId"]
        bench.provider.faults[:] = ["pending"]
        payment = bench.made("deposit", account, 1, ann)
        eventually(lambda: "nextRetryAt" in bench.payment_of(payment, ann), "the provider has taken it up", 5)
        # It says that the payment has succeeded, but the provider, when asked, does not.
        assert bench.deliver(payment).status_code == 204
        eventually(lambda: bench.provider.count(f"/payments/{payment}") == 1, "the provider is asked", 5)
        assert bench.payment_of(payment, ann)["status"] == "processing"
        bench.provider.settle(payment)
        for _ in range(3):
            assert bench.deliver(payment, "msg_again").status_code == 204
        bench.until(payment, ann, "succeeded")
        assert bench.provider.count(f"/payments/{payment}") == 2
        assert bench.deliver(payment, "msg_late").status_code == 204
        assert bench.api.balance(ann) == 98


def test_T_a_forged_or_old_webhook_is_401(bench):
    body = event("x")
    good = signed(body, "msg_1")
    assert bench.api.call("POST", "payment", "/webhooks/stripe", headers=good, content=body).status_code == 204
    for headers, content in [
        ({}, body), (good, body + b" "), (signed(body, "msg_2", secret="whsec_" + "A" * 32), body),
        (signed(body, "msg_3", timestamp=int(time.time()) - 301), body),
        (signed(body, "msg_4", timestamp=int(time.time()) + 301), body), ({**good, "webhook-id": "msg_5"}, body),
    ]:
        answer = bench.api.call("POST", "payment", "/webhooks/stripe", headers=headers, content=content)
        assert_problem(answer, 401, "webhook-signature-invalid")
        assert answer.headers["www-authenticate"]
    paypal = bench.api.call("POST", "payment", "/webhooks/paypal", headers=good, content=body)
    assert_problem(paypal, 401, "webhook-signature-invalid")
    assert_problem(bench.api.call("POST", "payment", "/webhooks/bank", headers=good, content=body), 404, "not-found")


# ---------------------------------------------------------------- the whole

def test_T_after_a_storm_the_books_are_the_providers_books(ann):
    with Bench() as bench:
        account = assert_first(bench.api.open_account(ann, 102), 201)["accountId"]
        kinds = [None, "lose", "drop", "error", "throttle", "decline"]
        bench.provider.faults[:] = [kinds[i * 7 % 6] for i in range(60)]
        at_once(40, lambda i: bench.pay(["deposit", "withdraw", "external_payment"][i % 3], account, 1 + i % 3, ann))
        def open_payments():
            pages = [assert_json(bench.api.call("GET", "payment", f"/payments?status={s}", user=ann)) for s in ("new", "processing")]
            return not any(p["payments"] for p in pages)
        eventually(open_payments, "all have ended", 60)
        books = bench.books()
        assert books["settlement:stripe:USD"] == bench.provider.taken() and books["clearing:stripe:USD"] == 0
        metrics = bench.api.call("GET", "payment", "/metrics").text
        letters = len(bench.letter_ids())
        assert f"payment_dead_letters {letters}\n" in metrics
        assert 'payments_total{status="new",type="deposit"} 14' in metrics


@pytest.mark.parametrize("name,value", [
    ("TRANSACTION_FEE", "2%"), ("TRANSACTION_FEE", "1.1"), ("STRIPE_WEBHOOK_SECRET", "hunter2"), ("STRIPE_BASE_URL", "stripe"),
    ("PROVIDER_TIMEOUT_SECONDS", "0"), ("WORKER_MAX_IN_FLIGHT", "0"),
])
def test_OP_05_a_setting_that_cannot_be_used_stops_the_start(name, value):
    service = Service("payment", {name: value}).spawn()
    try:
        assert service.wait(10) == 78
        assert name in service.text()
        if "SECRET" in name:
            assert value not in service.text(), "a secret is not repeated"
    finally:
        service.stop()


# ---------------------------------------------------------------- through nginx, with the mock provider

@pytest.mark.parametrize("token,status,attempts", [
    ("tok_visa", "succeeded", 1), ("tok_declined", "failed", 1), ("tok_pending", "succeeded", 1), ("tok_pending_declined", "failed", 1),
    ("tok_rate_limited", "succeeded", 2), ("tok_error_once", "succeeded", 2), ("tok_timeout_after_commit", "succeeded", 2),
    ("tok_error_after_commit", "succeeded", 2), ("tok_error", "failed", 5),
])
def test_T_every_way_of_the_mock_provider_comes_to_its_end(api, user, token, status, attempts):
    account = assert_first(api.open_account(user, 102), 201)["accountId"]
    body = {"type": "withdraw", "sourceAccountId": account, "amount": 100, "provider": "paypal", "token": token}
    payment = assert_first(api.call("POST", "payment", "/payments", body, new_key(), user), 202)["paymentId"]

    def ended():
        found = assert_json(api.call("GET", "payment", f"/payments/{payment}", user=user))
        return found if found["status"] == status else None
    found = eventually(ended, f"{token} is {status}", 30)
    assert found["attempts"] == attempts
    assert api.balance(user) == (0 if status == "succeeded" else 10_200)
    if status == "succeeded":
        refund = api.call("POST", "payment", f"/payments/{payment}/refund", {}, new_key(), user)
        assert_first(refund, 202)
        status = "refunded"
        eventually(ended, "it is given back", 30)
        assert api.balance(user) == 10_200
    assert api.ledger()["balanced"]
