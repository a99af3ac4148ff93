"""Payment: charges whose outcome is final, and refunds that never exceed them."""

import uuid

import pytest

from api import TIMESTAMP, assert_first, assert_invalid, assert_json, assert_problem, assert_replay, at_once, money, new_key
from stack import Service, eventually
from api import Api


def made(api, amount: int = 2000, **more) -> str:
    return assert_first(api.charge(new_key(), money(amount), **more))["chargeId"]


def state(api, charge: str) -> tuple[str, int]:
    body = assert_json(api.charge_of(charge))
    assert body["amount"]["currency"] == body["refunded"]["currency"]
    return body["status"], body["refunded"]["amount"]


def test_payment_a_charge_can_be_looked_up(api, key):
    order = str(uuid.uuid4())
    charge = assert_first(api.charge(key, money(2000), orderId=order))
    body = assert_json(api.charge_of(charge["chargeId"]))
    assert set(body) == {"chargeId", "status", "amount", "refunded", "orderId", "method", "createdAt"}
    assert body["chargeId"] == charge["chargeId"] and body["status"] == "succeeded" and body["orderId"] == order
    assert body["amount"] == money(2000) and body["refunded"] == money(0) and TIMESTAMP.match(body["createdAt"])


def test_payment_a_charge_nobody_made_is_404(api):
    assert_problem(api.charge_of(str(uuid.uuid4())), 404, "charge-not-found")
    assert_problem(api.refund(new_key(), str(uuid.uuid4())), 404, "charge-not-found")


@pytest.mark.parametrize("body,pointer", [
    ({}, "#/amount"), ({"amount": money(1), "x": 1}, "#/x"), ({"amount": money(1), "method": 5}, "#/method"),
    ({"amount": money(1), "orderId": 5}, "#/orderId"), ({"amount": money(1), "chargeId": 5}, "#/chargeId"),
])
def test_payment_a_bad_charge_is_422(api, body, pointer):
    before = api.captured()
    assert_invalid(api.call("POST", "payment", "/charge", body, new_key()), pointer)
    assert api.captured() == before


def test_payment_a_whole_refund(api):
    charge, before = made(api, 2000), api.captured()
    body = assert_first(api.refund(new_key(), charge))
    assert set(body) >= {"refundId", "chargeId", "status", "amount"}
    assert body["chargeId"] == charge and body["status"] == "succeeded" and body["amount"] == money(2000)
    assert state(api, charge) == ("refunded", 2000)
    assert api.captured() == (before[0], before[1] + 2000)


def test_payment_partial_refunds_up_to_the_charge_and_never_above(api):
    charge, before = made(api, 2000), api.captured()
    assert_first(api.refund(new_key(), charge, money(500)))
    assert state(api, charge) == ("partially_refunded", 500)
    assert_problem(api.refund(new_key(), charge, money(1501)), 409, "refund-exceeds-charge")
    assert state(api, charge) == ("partially_refunded", 500)
    assert_first(api.refund(new_key(), charge, money(1500)))
    assert state(api, charge) == ("refunded", 2000)
    assert_problem(api.refund(new_key(), charge, money(1)), 409, "refund-exceeds-charge")
    assert state(api, charge) == ("refunded", 2000)
    assert api.captured() == (before[0], before[1] + 2000)


def test_payment_a_refund_of_the_rest_after_a_part(api):
    charge = made(api, 2000)
    assert_first(api.refund(new_key(), charge, money(500)))
    assert assert_first(api.refund(new_key(), charge))["amount"] == money(1500)
    assert state(api, charge) == ("refunded", 2000)


def test_payment_a_partial_refund_repeated_with_its_key_counts_once(api, key):
    charge = made(api, 2000)
    first = api.refund(key, charge, money(700))
    assert_first(first)
    assert_replay(api.refund(key, charge, money(700)), first)
    assert state(api, charge) == ("partially_refunded", 700)


def test_payment_twenty_refunds_racing_never_exceed_the_charge(api):
    """Hazard 48."""
    charge, before = made(api, 1000), api.captured()
    answers = at_once(20, lambda _: api.refund(new_key(), charge, money(300)))
    assert [a.status_code for a in answers].count(200) == 3
    for a in answers:
        if a.status_code != 200:
            assert_problem(a, 409, "refund-exceeds-charge")
    assert state(api, charge) == ("partially_refunded", 900)
    assert api.captured() == (before[0], before[1] + 900)


def test_payment_whole_refunds_racing_pay_back_once(api):
    charge, before = made(api, 1000), api.captured()
    answers = at_once(20, lambda _: api.refund(new_key(), charge))
    assert {a.status_code for a in answers} == {200}
    assert state(api, charge) == ("refunded", 1000)
    assert api.captured() == (before[0], before[1] + 1000)


@pytest.mark.parametrize("amount,pointer", [(money(-1), "#/amount/amount"), (money(1, "XQX"), "#/amount/currency"), ("1", "#/amount"), (1.001, "#/amount")])
def test_payment_a_bad_refund_is_422(api, amount, pointer):
    charge = made(api)
    assert_invalid(api.refund(new_key(), charge, amount), pointer)
    assert state(api, charge) == ("succeeded", 0)


def test_payment_a_refund_in_another_currency_is_refused(api):
    charge = made(api)
    response = api.refund(new_key(), charge, money(1, "EUR"))
    assert_problem(response, response.status_code, ("validation-failed", "charge-state-conflict", "refund-exceeds-charge"))
    assert response.status_code in (409, 422)
    assert state(api, charge) == ("succeeded", 0)


def test_payment_a_refund_needs_a_key(api):
    charge = made(api)
    assert_problem(api.refund(None, charge), 400, "idempotency-key-missing")
    assert state(api, charge) == ("succeeded", 0)


def test_payment_a_charge_with_the_callers_own_id_is_made_once(api):
    mine, before = str(uuid.uuid4()), api.captured()
    first = assert_json(api.charge(new_key(), money(800), chargeId=mine))
    assert first["chargeId"] == mine
    second = assert_json(api.charge(new_key(), money(800), chargeId=mine))
    assert second["chargeId"] == mine and second["status"] == "succeeded"
    assert api.captured() == (before[0] + 800, before[1])


def test_payment_fifty_charges_with_one_id_are_one(api):
    mine, before = str(uuid.uuid4()), api.captured()
    answers = at_once(50, lambda _: api.charge(new_key(), money(800), chargeId=mine))
    assert {a.status_code for a in answers} <= {200, 409} and 200 in {a.status_code for a in answers}
    assert api.captured() == (before[0] + 800, before[1])


def test_payment_a_charge_id_is_bound_to_its_amount_and_order(api):
    """Hazard 26."""
    mine, order = str(uuid.uuid4()), str(uuid.uuid4())
    assert_json(api.charge(new_key(), money(800), chargeId=mine, orderId=order))
    before = api.captured()
    for other in ({"amount": money(801), "orderId": order}, {"amount": money(800), "orderId": str(uuid.uuid4())}):
        response = api.call("POST", "payment", "/charge", {"chargeId": mine, **other}, new_key())
        assert response.status_code in (409, 422), response.text
        assert_problem(response, response.status_code, ("charge-state-conflict", "idempotency-key-reused"))
    assert api.captured() == before
    assert assert_json(api.charge_of(mine))["amount"] == money(800)


def test_payment_the_outcome_of_a_charge_id_is_final_even_when_it_is_a_decline(api):
    mine, before = str(uuid.uuid4()), api.captured()
    for _ in range(2):
        body = assert_problem(api.charge(new_key(), money(800), chargeId=mine, method="test_declined"), 402, "payment-declined")
        assert body["declineCode"] == "card_declined"
    assert state(api, mine) == ("failed", 0)
    response = api.refund(new_key(), mine)
    assert_problem(response, 409, "charge-state-conflict")
    assert api.captured() == before


def test_payment_or_cancel_leaves_a_tombstone_that_a_late_charge_meets(api):
    """Hazard 5."""
    mine, before = str(uuid.uuid4()), api.captured()
    assert_problem(api.refund(new_key(), mine), 404, "charge-not-found")
    body = assert_json(api.refund(new_key(), mine, orCancel=True))
    assert body["chargeId"] == mine and body["status"] == "canceled" and body["amount"]["amount"] == 0
    assert_problem(api.charge(new_key(), money(800), chargeId=mine), 409, "charge-state-conflict")
    assert_json(api.refund(new_key(), mine, orCancel=True))
    assert state(api, mine) == ("canceled", 0)
    assert api.captured() == before


def test_payment_or_cancel_of_a_charge_that_succeeded_refunds_it(api):
    charge, before = made(api, 900), api.captured()
    assert assert_json(api.refund(new_key(), charge, orCancel=True))["amount"] == money(900)
    assert state(api, charge) == ("refunded", 900)
    assert api.captured() == (before[0], before[1] + 900)


# The test methods of the simulated provider

def test_payment_test_declined_and_test_insufficient_funds_take_nothing(api):
    before = api.captured()
    for method, code in (("test_declined", "card_declined"), ("test_insufficient_funds", "insufficient_funds")):
        body = assert_problem(api.charge(new_key(), money(100), method=method), 402, "payment-declined")
        assert body["declineCode"] == code and body["retryable"] is False
    assert api.captured() == before


def test_payment_test_error_takes_nothing_however_often(api, key):
    before = api.captured()
    for _ in range(3):
        assert_problem(api.charge(key, money(100), method="test_error"), 503, "provider-unavailable")
    assert api.captured() == before


def test_payment_test_error_then_ok_succeeds_when_asked_again(api, key):
    """Asked again for the same charge: without an id of the caller's, the same key would be another charge."""
    mine, before = str(uuid.uuid4()), api.captured()
    assert_problem(api.charge(key, money(100), chargeId=mine, method="test_error_then_ok"), 503, "provider-unavailable")
    assert api.captured() == before
    assert_first(api.charge(key, money(100), chargeId=mine, method="test_error_then_ok"))
    assert api.captured() == (before[0] + 100, before[1])


def test_payment_test_unknown_then_ok_is_asked_three_times(api, key):
    before = api.captured()
    for _ in range(2):
        assert_problem(api.charge(key, money(100), method="test_unknown_then_ok"), 504, "outcome-unknown")
    assert_json(api.charge(key, money(100), method="test_unknown_then_ok"))
    assert api.captured() == (before[0] + 100, before[1])


def test_payment_test_timeout_after_charge_is_replayed_to_who_asks_again(api, key):
    import httpx
    before = api.captured()
    with pytest.raises(httpx.TimeoutException):
        httpx.post(f"{api.urls['payment']}/charge", json={"amount": money(100), "method": "test_timeout_after_charge"},
                   headers={"Idempotency-Key": key}, timeout=1, trust_env=False)

    def asked():
        response = api.charge(key, money(100), method="test_timeout_after_charge")
        return response if response.status_code == 200 else None
    body = assert_json(eventually(asked, "asking again replays", 5))
    assert body["status"] == "succeeded"
    assert api.captured() == (before[0] + 100, before[1])


def test_payment_test_slow_is_pending_and_then_succeeds(api, key):
    from api import Background
    mine, before = str(uuid.uuid4()), api.captured()
    slow = Background(lambda: api.charge(key, money(100), chargeId=mine, method="test_slow"))
    eventually(lambda: api.charge_of(mine).status_code == 200 and state(api, mine)[0] == "pending", "it is pending", 2.5)
    assert api.captured() == before
    assert_first(slow.result())
    assert state(api, mine) == ("succeeded", 0)
    assert api.captured() == (before[0] + 100, before[1])


def test_payment_test_refund_fails_once_and_then_succeeds(api, key):
    charge, before = made(api, 600, method="test_refund_fails_once"), api.captured()
    assert_problem(api.refund(key, charge), 503, "provider-unavailable")
    assert state(api, charge) == ("succeeded", 0)
    assert_first(api.refund(key, charge))
    assert state(api, charge) == ("refunded", 600)
    assert api.captured() == (before[0], before[1] + 600)


@pytest.mark.parametrize("method", ["test_declined", "test_slow", "test_error", "paypal", "CARD", ""])
def test_payment_without_the_setting_only_cards_are_taken(plain_payment, method):
    response = plain_payment.charge(new_key(), money(100), method=method)
    if method == "" and response.status_code == 422:
        assert_invalid(response, "#/method")
    else:
        assert assert_problem(response, 402, "payment-declined")["declineCode"] == "payment_method_not_supported"
    assert plain_payment.captured() == (0, 0) or method == "card"


def test_payment_without_the_setting_a_card_is_taken_named_or_not(plain_payment):
    before = plain_payment.captured()
    charge = assert_first(plain_payment.charge(new_key(), money(100), method="card"))["chargeId"]
    other = assert_first(plain_payment.charge(new_key(), money(100)))["chargeId"]
    assert assert_json(plain_payment.charge_of(other))["method"] == assert_json(plain_payment.charge_of(charge))["method"] == "card"
    for one in (charge, other):
        assert_first(plain_payment.refund(new_key(), one))
    assert plain_payment.captured() == (before[0] + 200, before[1] + 200)


@pytest.fixture(scope="module")
def plain_payment():
    """Payment as it is in production: PAYMENT_TEST_METHODS is not set."""
    service = Service("payment")
    del service.env["PAYMENT_TEST_METHODS"]
    with service:
        api = Api("", "", service.url)
        yield api
        api.close()
