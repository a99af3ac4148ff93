"""`checkout mock-provider`: the wire between Payment and a provider, tokens and rates, its memory, and its webhooks."""

import base64
import hashlib
import hmac
import json
import re
import signal
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

import raw
from api import Background, assert_invalid, assert_json, assert_problem, money
from fakes import Downstream, delay, in_turn, problem, reply
from stack import Service, eventually, get
from test_openapi import fuzz

PROVIDERS = ("stripe", "paypal")
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
QUICK = {"MOCK_HOLD_SECONDS": "1.5", "MOCK_SETTLE_SECONDS": "0.3", "WEBHOOK_BACKOFF_BASE_SECONDS": "0.1",
         "WEBHOOK_BACKOFF_MAX_SECONDS": "0.4", "WEBHOOK_TIMEOUT_SECONDS": "1"}


def new_reference() -> str:
    return str(uuid.uuid4())


class Caller:
    """What Payment says to a provider."""

    def __init__(self, base: str, provider: str = "stripe", timeout: float = 10.0):
        self.base = f"{base}/{provider}/v1"
        self.root = base
        self.http = httpx.Client(timeout=timeout, trust_env=False)

    def pay(self, reference: str, amount=money(2000), kind: str = "charge", token: str | None = None, key: str | None = None,
            timeout: float | None = None, **more) -> httpx.Response:
        body = {"reference": reference, "kind": kind, "amount": amount, "capture": True, **more}
        if token:
            body["token"] = token
        return self.http.post(f"{self.base}/payments", json=body, headers={"Idempotency-Key": key or reference},
                              timeout=timeout or self.http.timeout)

    def payment(self, reference: str) -> httpx.Response:
        return self.http.get(f"{self.base}/payments/{reference}")

    def cancel(self, reference: str) -> httpx.Response:
        return self.http.post(f"{self.base}/payments/{reference}/cancel")

    def refund(self, reference: str, payment: str, amount) -> httpx.Response:
        body = {"reference": reference, "paymentReference": payment, "amount": amount}
        return self.http.post(f"{self.base}/refunds", json=body, headers={"Idempotency-Key": reference})

    def refund_of(self, reference: str) -> httpx.Response:
        return self.http.get(f"{self.base}/refunds/{reference}")

    def payments(self) -> list[dict]:
        return self.pages(f"{self.base}/payments?limit=100", "payments")

    def movements(self) -> list[dict]:
        """What moved at both providers, by their own books."""
        return self.pages(f"{self.root}/audit/movements?limit=200", "entries")

    def moved(self, reference: str) -> list[int]:
        return [m["amount"]["amount"] for m in self.movements() if m["reference"] == reference]

    def pages(self, url: str, name: str) -> list[dict]:
        found, cursor = [], None
        for _ in range(1000):
            page = assert_json(self.http.get(url + (f"&cursor={cursor}" if cursor else "")))
            found += page[name]
            cursor = page["nextCursor"]
            if cursor is None:
                return found
        raise AssertionError("the list does not end")


@pytest.fixture(scope="module")
def provider():
    with Service("mock-provider", QUICK) as running:
        yield running


@pytest.fixture(params=PROVIDERS)
def caller(request, provider):
    return Caller(provider.url, request.param)


@pytest.fixture
def stripe(provider):
    return Caller(provider.url)


@pytest.fixture
def reference():
    return new_reference()


# ---------------------------------------------------------------- the wire

def test_a_payment_is_taken_once_and_answered_to_the_byte_again(caller, reference):
    first = caller.pay(reference)
    body = assert_json(first)
    assert body.keys() == {"id", "reference", "kind", "status", "amount", "refunded"}
    assert (body["reference"], body["kind"], body["status"]) == (reference, "charge", "succeeded")
    assert (body["amount"], body["refunded"]) == (money(2000), money(0))
    assert caller.pay(reference).content == first.content == caller.payment(reference).content
    assert caller.moved(reference) == [2000]


def test_a_payout_moves_money_the_other_way(caller, reference):
    assert assert_json(caller.pay(reference, money(700, "JPY"), "payout"))["kind"] == "payout"
    assert caller.moved(reference) == [-700]


def test_fifty_at_once_with_one_reference_are_one_payment(stripe, reference):
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: stripe.pay(reference), range(50)))
    assert {a.status_code for a in answers} == {200} and len({a.content for a in answers}) == 1
    assert stripe.moved(reference) == [2000]


def test_the_reference_with_another_command_is_refused(caller, reference):
    caller.pay(reference)
    for other in (dict(amount=money(2001)), dict(amount=money(2000, "EUR")), dict(kind="payout"), dict(token="tok_visa")):
        assert_problem(caller.pay(reference, **other), 422, "idempotency-key-reused")
    assert caller.moved(reference) == [2000]


def test_one_reference_at_two_providers_is_two_payments(provider, reference):
    assert all(Caller(provider.url, p).pay(reference).status_code == 200 for p in PROVIDERS)
    assert Caller(provider.url).moved(reference) == [2000, 2000]


@pytest.mark.parametrize("change, pointer", [
    ({"reference": "other"}, "#/reference"), ({"reference": "a/b"}, "#/reference"), ({"amount": 20.0}, "#/amount"),
    ({"amount": money(0)}, "#/amount/amount"), ({"amount": money(-1)}, "#/amount/amount"),
    ({"amount": money(1, "XXX")}, "#/amount/currency"), ({"kind": "gift"}, "#/kind"), ({"capture": False}, "#/capture"),
    ({"token": ""}, "#/token"), ({"note": "x"}, "#/note"),
])
def test_a_bad_command_is_told_where_it_is_bad(stripe, reference, change, pointer):
    body = {"reference": reference, "kind": "charge", "amount": money(2000), **change}
    answer = stripe.http.post(f"{stripe.base}/payments", json=body, headers={"Idempotency-Key": reference})
    assert_invalid(answer, pointer)
    assert_problem(stripe.payment(reference), 404, "not-found")


def test_a_command_without_a_key_is_refused(stripe, reference):
    body = {"reference": reference, "kind": "charge", "amount": money(2000)}
    assert_problem(stripe.http.post(f"{stripe.base}/payments", json=body), 400, "idempotency-key-missing")


def test_what_was_never_taken_is_not_found(caller, reference):
    assert_problem(caller.payment(reference), 404, "not-found")
    assert_problem(caller.refund_of(reference), 404, "not-found")
    assert_problem(caller.refund(new_reference(), reference, money(1)), 404, "not-found")


def test_a_canceled_reference_takes_no_late_payment(caller, reference):
    for _ in range(2):
        assert assert_json(caller.cancel(reference)) == {"reference": reference, "status": "canceled"}
    assert_problem(caller.pay(reference), 409, "payment-canceled")
    assert assert_json(caller.payment(reference))["status"] == "canceled"
    assert caller.moved(reference) == []


def test_a_cancel_of_what_was_taken_answers_with_the_payment(caller, reference):
    taken = caller.pay(reference)
    assert caller.cancel(reference).content == taken.content
    assert caller.moved(reference) == [2000]


def test_a_cancel_and_a_payment_at_once_agree(stripe):
    for _ in range(20):
        reference = new_reference()
        with ThreadPoolExecutor(2) as pool:
            paid, canceled = pool.submit(stripe.pay, reference), pool.submit(stripe.cancel, reference)
        outcome = {200: "succeeded", 409: "canceled"}[paid.result().status_code]
        assert assert_json(canceled.result())["status"] == outcome
        assert stripe.moved(reference) == ([2000] if outcome == "succeeded" else [])


def test_refunds_whole_and_partial_never_exceed_the_payment(caller, reference):
    caller.pay(reference)
    first, second = new_reference(), new_reference()
    answer = caller.refund(first, reference, money(1500))
    body = assert_json(answer)
    assert body.keys() == {"id", "reference", "paymentReference", "status", "amount"} and body["status"] == "succeeded"
    assert caller.refund(first, reference, money(1500)).content == answer.content == caller.refund_of(first).content
    assert_problem(caller.refund(first, reference, money(1)), 422, "idempotency-key-reused")
    assert_problem(caller.refund(second, reference, money(501)), 422, "refund-exceeds-payment")
    assert_problem(caller.refund_of(second), 404, "not-found")
    assert_invalid(caller.refund(second, reference, money(1, "EUR")), "#/amount/currency")
    assert assert_json(caller.payment(reference))["status"] == "succeeded"
    assert_json(caller.refund(second, reference, money(500)))
    after = assert_json(caller.payment(reference))
    assert (after["status"], after["refunded"]) == ("refunded", money(2000))
    assert caller.moved(first) == [-1500] and caller.moved(second) == [-500]


def test_the_list_has_every_payment_once_in_order(provider):
    with Service("mock-provider") as own:
        caller = Caller(own.url)
        references = [new_reference() for _ in range(7)]
        for reference in references:
            caller.pay(reference)
        caller.cancel(new_reference())
        listed = caller.pages(f"{caller.base}/payments?limit=3", "payments")
        assert [p["reference"] for p in listed] == references
        assert Caller(own.url, "paypal").payments() == []
        assert_problem(caller.http.get(f"{caller.base}/payments?cursor=x"), 400, "invalid-parameter")


# ---------------------------------------------------------------- tokens

@pytest.mark.parametrize("token, code", [
    ("tok_declined", "card_declined"), ("tok_insufficient_funds", "insufficient_funds"), ("tok_expired_card", "expired_card"),
    ("tok_nobody_knows", "token_not_supported"),
])
def test_a_decline_is_final(caller, reference, token, code):
    for _ in range(2):
        assert assert_problem(caller.pay(reference, token=token), 402, "payment-declined")["declineCode"] == code
    found = assert_json(caller.payment(reference))
    assert (found["status"], found["declineCode"]) == ("declined", code)
    assert caller.moved(reference) == []


def test_tok_timeout_after_commit_was_taken_though_nobody_was_told(stripe, reference):
    with pytest.raises(httpx.TimeoutException):
        stripe.pay(reference, token="tok_timeout_after_commit", timeout=0.4)
    assert assert_json(stripe.payment(reference))["status"] == "succeeded"
    started = time.monotonic()
    assert stripe.pay(reference, token="tok_timeout_after_commit").status_code == 200
    assert time.monotonic() - started < 1, "asking again is answered at once"
    assert stripe.moved(reference) == [2000]


@pytest.mark.parametrize("canceled", [True, False])
def test_tok_late_arrives_after_its_caller_has_left_and_takes_nothing_if_it_was_canceled(stripe, reference, canceled):
    with pytest.raises(httpx.TimeoutException):
        stripe.pay(reference, token="tok_late", timeout=0.3)
    assert_problem(stripe.payment(reference), 404, "not-found")
    if canceled:
        assert assert_json(stripe.cancel(reference))["status"] == "canceled"
        time.sleep(2)  # past MOCK_HOLD_SECONDS
        assert assert_json(stripe.payment(reference))["status"] == "canceled"
        assert stripe.moved(reference) == []
    else:
        eventually(lambda: stripe.payment(reference).status_code == 200, "the late payment is taken", 5)
        assert stripe.moved(reference) == [2000]


def test_tok_rate_limited_and_tok_error_once_take_nothing_at_first(stripe):
    limited, failed = new_reference(), new_reference()
    assert assert_problem(stripe.pay(limited, token="tok_rate_limited"), 429, "too-many-requests")["retryable"] is True
    assert_problem(stripe.pay(failed, token="tok_error_once"), 500, "internal-error")
    for reference, token in ((limited, "tok_rate_limited"), (failed, "tok_error_once")):
        assert_problem(stripe.payment(reference), 404, "not-found")
        assert stripe.pay(reference, token=token).status_code == 200
        assert stripe.moved(reference) == [2000]


def test_tok_error_never_takes_anything(stripe, reference):
    for _ in range(3):
        assert_problem(stripe.pay(reference, token="tok_error"), 500, "internal-error")
    assert assert_json(stripe.cancel(reference))["status"] == "canceled"


def test_tok_error_after_commit_was_taken(stripe, reference):
    assert_problem(stripe.pay(reference, token="tok_error_after_commit"), 500, "internal-error")
    assert assert_json(stripe.payment(reference))["status"] == "succeeded"
    assert stripe.pay(reference, token="tok_error_after_commit").status_code == 200
    assert stripe.moved(reference) == [2000]


@pytest.mark.parametrize("token, status", [("tok_pending", "succeeded"), ("tok_pending_declined", "declined")])
def test_a_pending_payment_is_settled_by_itself(stripe, reference, token, status):
    assert assert_json(stripe.pay(reference, token=token))["status"] == "pending"
    eventually(lambda: stripe.payment(reference).json()["status"] == status, f"it is {status}", 5)
    assert stripe.moved(reference) == ([2000] if status == "succeeded" else [])


# ---------------------------------------------------------------- rates

def statuses(seed: str, count: int = 60) -> list[int]:
    rates = {"MOCK_ERROR_RATE": "0.2", "MOCK_THROTTLE_RATE": "0.2", "MOCK_RETRY_AFTER_SECONDS": "3", "MOCK_SEED": seed}
    with Service("mock-provider", rates) as one:
        caller = Caller(one.url)
        answers = [caller.pay(f"seeded-{number}") for number in range(count)]
        for answer in answers:
            if answer.status_code == 429:
                assert answer.headers["retry-after"] == "3"
        taken = sum(a.status_code == 200 for a in answers)
        assert len(caller.payments()) == len(caller.movements()) == taken, "what failed took nothing"
        return [a.status_code for a in answers]


def test_rates_are_met_and_one_seed_makes_the_same_choices():
    first = statuses("1")
    assert {first.count(s) > 3 for s in (200, 429, 500)} == {True}, first
    assert statuses("1") == first
    assert statuses("2") != first


def test_the_timeout_rate_takes_the_payment_and_keeps_the_answer_back():
    with Service("mock-provider", {**QUICK, "MOCK_TIMEOUT_RATE": "1"}) as one:
        caller, reference = Caller(one.url), new_reference()
        with pytest.raises(httpx.TimeoutException):
            caller.pay(reference, timeout=0.4)
        assert assert_json(caller.payment(reference))["status"] == "succeeded", "asking is not held"


def test_the_delay_and_the_declined_ending():
    settings = {"MOCK_DELAY_MIN_SECONDS": "0.2", "MOCK_DELAY_MAX_SECONDS": "0.4", "MOCK_DECLINE_AMOUNT_ENDING": "13"}
    with Service("mock-provider", settings) as one:
        caller = Caller(one.url)
        started = time.monotonic()
        assert_problem(caller.pay(new_reference(), money(1013)), 402, "payment-declined")
        assert 0.2 <= time.monotonic() - started < 2
        assert caller.pay(new_reference(), money(1014)).status_code == 200


# ---------------------------------------------------------------- its memory

def test_kill_9_loses_nothing_that_was_answered():
    with Service("mock-provider") as one:
        answered: dict[str, bytes] = {}
        sent: list[str] = []
        stop = threading.Event()

        def drive(_):
            caller = Caller(one.url, timeout=2)
            while not stop.is_set():
                reference = new_reference()
                sent.append(reference)
                try:
                    answer = caller.pay(reference)
                except httpx.TransportError:
                    return
                if answer.status_code == 200:
                    answered[reference] = answer.content

        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(drive, n) for n in range(8)]
            eventually(lambda: len(answered) > 50, "payments are made")
            one.kill()
            stop.set()
            [job.result() for job in jobs]
        one.start()
        caller = Caller(one.url)
        for reference, content in answered.items():
            assert caller.payment(reference).content == content
        for reference in sent:
            assert caller.pay(reference).status_code == 200
        moved = [m["reference"] for m in caller.movements()]
        assert sorted(moved) == sorted(sent), "each reference moved money exactly once"


def test_a_tombstone_and_a_decline_survive_kill_9(reference):
    with Service("mock-provider") as one:
        declined = new_reference()
        Caller(one.url).cancel(reference)
        Caller(one.url).pay(declined, token="tok_declined")
        one.kill()
        one.start()
        assert_problem(Caller(one.url).pay(reference), 409, "payment-canceled")
        assert_problem(Caller(one.url).pay(declined, token="tok_declined"), 402, "payment-declined")


def test_it_takes_no_more_references_than_it_may_remember():
    with Service("mock-provider", {"MOCK_MAX_REFERENCES": "3"}) as one:
        caller = Caller(one.url)
        known = [new_reference() for _ in range(3)]
        assert {caller.pay(reference).status_code for reference in known} == {200}
        assert_problem(caller.pay(new_reference()), 503, "overloaded")
        assert {caller.pay(reference).status_code for reference in known} == {200}


# ---------------------------------------------------------------- webhooks

class Hooked:
    """A mock provider and whoever gets its messages."""

    def __init__(self, **settings: str):
        self.receiver = Downstream()
        self.receiver.on("/hooks", reply(204))
        self.settings = {**QUICK, "WEBHOOK_URL": f"{self.receiver.url}/hooks/{{provider}}", "STRIPE_WEBHOOK_SECRET": SECRET,
                         "PAYPAL_WEBHOOK_SECRET": SECRET, **settings}
        self.service = Service("mock-provider", self.settings)

    def __enter__(self) -> "Hooked":
        self.service.start()
        self.caller = Caller(self.service.url)
        return self

    def __exit__(self, *_) -> None:
        self.service.stop()
        self.receiver.stop()

    def messages(self, reference: str) -> list:
        return [r for r in self.receiver.seen("/hooks") if r.json()["data"]["reference"] == reference]

    def wait(self, reference: str, count: int = 1) -> list:
        return eventually(lambda: len(found := self.messages(reference)) >= count and found, f"{count} messages")

    def metric(self, series: str) -> float:
        found = re.search(rf"(?m)^{re.escape(series)} (\S+)$", get(f"{self.service.url}/metrics").text)
        return float(found.group(1)) if found else 0.0


@pytest.fixture(scope="module")
def hooked():
    with Hooked() as running:
        yield running


def assert_signed(request, key: bytes = KEY) -> None:
    """Standard Webhooks, done here by hand."""
    stamp = request.header("webhook-timestamp")
    assert re.fullmatch(r"\d{10}", stamp) and abs(int(stamp) - time.time()) < 30
    assert re.fullmatch(r"[!-~]+", request.header("webhook-id")) and "." not in request.header("webhook-id")
    content = f"{request.header('webhook-id')}.{stamp}.".encode() + request.body
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    assert f"v1,{expected}" in request.header("webhook-signature").split(" ")


@pytest.mark.parametrize("token, kind, status", [
    (None, "payment.succeeded", "succeeded"), ("tok_declined", "payment.declined", "declined"),
    ("tok_pending", "payment.succeeded", "succeeded"), ("tok_timeout_after_commit", "payment.succeeded", "succeeded"),
])
def test_each_outcome_is_told_signed(hooked, reference, token, kind, status):
    try:
        hooked.caller.pay(reference, token=token, timeout=0.5)
    except httpx.TimeoutException:
        assert token == "tok_timeout_after_commit"
    message, = hooked.wait(reference)
    assert_signed(message)
    assert message.path == "/hooks/stripe" and message.header("content-type") == "application/json"
    event = message.json()
    assert event["type"] == kind and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["timestamp"])
    data = {"reference": reference, "status": status, "amount": money(2000)}
    assert event["data"] == ({**data, "declineCode": "card_declined"} if status == "declined" else data)


def test_cancels_and_refunds_are_told_and_each_provider_has_its_own_address(hooked, reference):
    hooked.caller.cancel(reference)
    message, = hooked.wait(reference)
    assert_signed(message)
    assert (message.json()["type"], message.json()["data"]["status"]) == ("payment.canceled", "canceled")
    paypal, payment, refund = Caller(hooked.service.url, "paypal"), new_reference(), new_reference()
    paypal.pay(payment)
    paypal.refund(refund, payment, money(300))
    message, = hooked.wait(refund)
    assert_signed(message)
    assert message.path == "/hooks/paypal" and message.json()["type"] == "refund.succeeded"
    assert message.json()["data"] == {"reference": refund, "paymentReference": payment, "status": "succeeded", "amount": money(300)}


def test_a_message_that_is_not_taken_comes_again_with_its_id_until_it_is(hooked, reference):
    rule = hooked.receiver.on("/hooks", in_turn(problem(500, "internal-error"), delay(1.5, reply(204)), reply(404), reply(204)))
    hooked.caller.pay(reference)
    messages = hooked.wait(reference, 4)
    hooked.receiver.off(rule)
    assert len({m.header("webhook-id") for m in messages}) == 1 and len({m.body for m in messages}) == 1
    for message in messages:
        assert_signed(message)
    waits = [b.at - a.at for a, b in zip(messages, messages[1:])]
    assert waits[0] >= 0.1 and waits[1] >= 1.2 and waits[2] >= 0.4, waits
    time.sleep(0.8)
    assert len(hooked.messages(reference)) == 4, "what was taken does not come again"


def test_a_message_that_nobody_takes_is_given_up_counted_and_logged(reference):
    with Hooked(WEBHOOK_MAX_ATTEMPTS="3") as own:
        own.receiver.on("/hooks", problem(503, "overloaded"))
        own.caller.pay(reference)
        eventually(lambda: own.metric('webhook_deliveries_total{outcome="dropped"}') == 1, "it is given up")
        assert len(own.messages(reference)) == 3
        assert own.metric('webhook_deliveries_total{outcome="failed"}') == 3
        assert own.metric("webhook_queue_length") == 0
        lines = [line for line in own.service.logs() if line["message"].startswith("a webhook was given up")]
        assert len(lines) == 1 and lines[0]["provider"] == "stripe"


def test_messages_wait_through_kill_9(reference):
    with Hooked() as own:
        own.receiver.on("/hooks", problem(503, "overloaded"))
        own.caller.pay(reference)
        own.wait(reference)
        own.service.kill()
        own.receiver.reset()
        own.receiver.on("/hooks", reply(204))
        own.service.start()
        assert_signed(own.wait(reference)[0])


def test_duplicates_come_twice_with_one_id_and_one_content(reference):
    with Hooked(MOCK_WEBHOOK_DUPLICATE_RATE="1") as own:
        own.caller.pay(reference)
        messages = own.wait(reference, 2)
        time.sleep(0.5)
        assert len(own.messages(reference)) == 2
        assert len({m.header("webhook-id") for m in messages}) == 1 and len({m.body for m in messages}) == 1


def test_some_messages_are_overtaken():
    with Hooked(MOCK_WEBHOOK_REORDER_RATE="0.5") as own:
        references = [f"ordered-{number}" for number in range(20)]
        for reference in references:
            own.caller.pay(reference)
        eventually(lambda: len(own.receiver.seen("/hooks")) == 20, "all are told", 10)
        told = [r.json()["data"]["reference"] for r in own.receiver.seen("/hooks")]
        assert sorted(told) == sorted(references)
        # Those that are not held back are told within a turn or two, the others a second later.
        assert any(told.index(b) < told.index(a) for n, a in enumerate(references) for b in references[n + 8:])


def test_without_a_secret_nothing_is_sent_and_the_log_says_so(reference):
    with Hooked(STRIPE_WEBHOOK_SECRET="none") as own:
        own.caller.pay(reference)
        Caller(own.service.url, "paypal").pay(reference)
        own.wait(reference)
        time.sleep(0.3)
        assert {m.path for m in own.messages(reference)} == {"/hooks/paypal"}
        assert any(line.get("setting") == "STRIPE_WEBHOOK_SECRET" for line in own.service.logs())


def test_no_secret_and_no_token_is_logged(hooked, reference):
    hooked.caller.pay(reference, token="tok_expired_card")
    hooked.wait(reference)
    text = hooked.service.text()
    assert SECRET not in text and SECRET.removeprefix("whsec_") not in text and "tok_expired_card" not in text


# ---------------------------------------------------------------- a service like the others

@pytest.mark.parametrize("setting, value", [
    ("MOCK_ERROR_RATE", "2"), ("STRIPE_WEBHOOK_SECRET", "whsec_short"), ("MOCK_SEED", "-3"), ("WEBHOOK_MAX_ATTEMPTS", "0"),
])
def test_a_setting_that_cannot_be_used_ends_with_78_and_is_named(setting, value):
    service = Service("mock-provider", {setting: value}).spawn()
    try:
        assert service.wait(10) == 78
        assert service.logs()[-1]["setting"] == setting
        assert "whsec_short" not in service.text()
    finally:
        service.stop()


def test_sigterm_lets_a_held_answer_out(reference):
    with Service("mock-provider", QUICK) as one:
        held = Background(lambda: Caller(one.url).pay(reference, token="tok_timeout_after_commit"))
        eventually(lambda: Caller(one.url).payment(reference).status_code == 200, "it is taken")
        one.signal(signal.SIGTERM)
        assert held.result().status_code == 200
        assert one.wait(10) == 0


def test_it_is_not_reachable_through_nginx(stack, reference):
    assert get(f"{stack.direct('mock-provider')}/health/ready").status_code == 200
    for path in ("/stripe/v1/payments", "/mock-provider/stripe/v1/payments", "/payment/stripe/v1/payments", "/mock-provider/health/live"):
        assert raw.request(stack.base, "GET", path).status_code == 404


def test_its_document_is_valid_and_says_nothing_of_nginx(provider):
    for path in ("/openapi.json", "/internal/openapi.json"):
        document = assert_json(get(f"{provider.url}{path}"))
        assert [e.message for e in OpenAPIV31SpecValidator(json.loads(json.dumps(document, default=float))).iter_errors()] == []
        assert [s["url"] for s in document["servers"]] == ["http://127.0.0.1:3134"]


def test_schemathesis_finds_no_answer_that_the_document_does_not_have(provider, tmp_path):
    fuzz("mock-provider", assert_json(get(f"{provider.url}/openapi.json")), provider.url, tmp_path, seconds=20)
