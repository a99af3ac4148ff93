"""IK-10 to IK-27: what a key does. IK-22 stands in test_crash.py."""

import os
import socket
import subprocess
import threading
import time
import uuid
from pathlib import Path

import pytest

import fakes
import raw
from api import (Api, Background, assert_first, assert_json, assert_problem, assert_replay, at_once, money, new_key, values)
from conftest import LAB_CHECKOUT_TIMEOUT
from decimal import Decimal
from lab import Lab
from stack import Service, eventually, free_ports


# IK-10: the first success

def test_IK_10_a_first_checkout_is_a_success_with_exactly_the_fields_of_the_contract(api, item, key, user):
    before = api.captured()
    response = api.checkout(key, item, 2, user)
    body = assert_first(response)
    assert set(body) == {"orderId", "status", "reservationId", "chargeId", "totalFee", "total", "lines", "createdAt"}
    assert body["status"] == "completed"
    assert body["totalFee"] == Decimal("20.00")
    assert body["total"] == money(2000)
    assert body["lines"] == [{"itemId": item, "quantity": 2, "unitPrice": money(1000)}]
    assert len({body["orderId"], body["reservationId"], body["chargeId"]}) == 3
    assert api.numbers(item) == (98, 0, 98)
    assert api.captured() == (before[0] + 2000, before[1])
    reservation = assert_json(api.reservation(body["reservationId"], user))
    assert reservation["status"] == "completed" and reservation["lines"] == body["lines"]
    charge = assert_json(api.charge_of(body["chargeId"], user))
    assert charge["status"] == "succeeded" and charge["amount"] == money(2000) and charge["orderId"] == body["orderId"]


def test_IK_10_a_cart_of_lines_is_one_order(api, new_item, key, user):
    one, two = new_item(api, 10, money(250)), new_item(api, 10, money(199))
    lines = [{"itemId": one, "quantity": 3}, {"itemId": two, "quantity": 1}]
    body = assert_first(api.checkout(key, user=user, body={"lines": lines}))
    assert body["total"] == money(949)
    assert body["totalFee"] == Decimal("9.49")
    assert sorted((ln["itemId"], ln["quantity"], ln["unitPrice"]["amount"]) for ln in body["lines"]) == sorted(
        [(one, 3, 250), (two, 1, 199)])
    assert api.numbers(one) == (7, 0, 7) and api.numbers(two) == (9, 0, 9)


def test_IK_10_a_first_charge_is_a_success(api, key):
    before = api.captured()
    body = assert_first(api.call("POST", "payment", "/charge", key=key, content=b'{"amount":20.00}'))
    assert body["status"] == "succeeded" and body["amount"] == money(2000) and body["chargeId"]
    assert api.captured() == (before[0] + 2000, before[1])


def test_IK_10_a_first_reserve_is_a_success(api, item, key):
    body = assert_first(api.reserve(key, item, 3))
    assert body["status"] == "reserved" and body["total"] == money(3000) and body["totalFee"] == Decimal(30)
    assert body["lines"] == [{"itemId": item, "quantity": 3, "unitPrice": money(1000)}]
    assert body["expiresAt"]
    assert api.numbers(item) == (100, 3, 97)
    assert_json(api.release(body["reservationId"]))
    assert api.numbers(item) == (100, 0, 100)


# IK-11: the replay

def test_IK_11_a_replay_has_the_same_status_and_bytes_and_a_new_request_id(api, item, key, user):
    first = api.checkout(key, item, 2, user)
    assert_first(first)
    totals = api.captured()
    for _ in range(3):
        assert_replay(api.checkout(key, item, 2, user), first)
    assert api.numbers(item) == (98, 0, 98)
    assert api.captured() == totals


def test_IK_11_a_replay_calls_nobody(lab, lab_item, key, user):
    first = lab.api.checkout(key, lab_item, 2, user)
    assert_first(first)
    calls = len(lab.calls())
    assert calls >= 3, "the first checkout must have called Stock and Payment"
    assert_replay(lab.api.checkout(key, lab_item, 2, user), first)
    assert len(lab.calls()) == calls


def test_IK_11_a_replayed_charge_moves_no_money(api, key):
    first = api.charge(key, money(777))
    assert_first(first)
    totals = api.captured()
    assert_replay(api.charge(key, money(777)), first)
    assert api.captured() == totals


def test_IK_11_a_replayed_reserve_takes_no_stock(api, item, key):
    first = api.reserve(key, item, 5)
    body = assert_first(first)
    assert_replay(api.reserve(key, item, 5), first)
    assert api.numbers(item) == (100, 5, 95)
    assert_json(api.release(body["reservationId"]))


def test_IK_11_the_replay_of_a_reserve_that_was_released_since_is_still_the_first_answer(api, item, key):
    first = api.reserve(key, item, 5)
    assert_json(api.release(assert_first(first)["reservationId"]))
    assert_replay(api.reserve(key, item, 5), first)
    assert api.numbers(item) == (100, 0, 100)


# IK-12: the fingerprint

@pytest.mark.parametrize("form", ['{"quantity":2,"itemId":%d}', '{ "itemId" : %d ,\r\n\t"quantity" : 2 }\n', '{"item\\u0049d":%d,"quantity":2}'],
                         ids=["reordered", "spaced", "escaped"])
def test_IK_12_the_same_command_in_other_words_is_a_replay(api, item, key, user, form):
    first = api.checkout(key, item, 2, user)
    assert_first(first)
    again = api.call("POST", "order", "/checkout", key=key, user=user, content=(form % item).encode())
    assert_replay(again, first)
    assert api.numbers(item) == (98, 0, 98)


def test_IK_12_another_spelling_of_the_content_type_is_a_replay(api, item, key, user):
    first = api.checkout(key, item, 2, user)
    again = api.checkout(key, item, 2, user, headers={"Content-Type": "Application/JSON; charset=UTF-8"})
    assert_replay(again, first)


@pytest.mark.parametrize("amount", ["20", "20.0", '{"currency":"USD","amount":2000}'])
def test_IK_12_the_same_amount_in_other_words_is_a_replay(api, key, amount):
    first = api.call("POST", "payment", "/charge", key=key, content=b'{"amount":20.00}')
    assert_first(first)
    again = api.call("POST", "payment", "/charge", key=key, content=b'{"amount":%s}' % amount.encode())
    assert_replay(again, first)


# IK-13: the same key for another command

@pytest.mark.parametrize("change", [{"quantity": 3}, {"method": "card"}, {"item": 1}], ids=["quantity", "method", "item"])
def test_IK_13_after_a_success_another_command_is_refused(api, item, key, user, change):
    first = api.checkout(key, item, 2, user, method="test_error_then_ok" if "method" in change else None)
    assert first.status_code == 200, first.text
    before, totals = api.numbers(item), api.captured()
    command = {"item": item, "quantity": 2, **change}
    assert_problem(api.checkout(key, user=user, **command), 422, "idempotency-key-reused")
    assert (api.numbers(item), api.captured()) == (before, totals)


def test_IK_13_after_a_failure_another_command_is_refused(api, item, key, user):
    assert_problem(api.checkout(key, item, 2, user, method="test_declined"), 402, "payment-declined")
    assert_problem(api.checkout(key, item, 2, user), 422, "idempotency-key-reused")
    assert api.numbers(item) == (100, 0, 100)


def test_IK_13_in_flight_another_command_is_refused(lab, lab_item, key, user):
    gate = threading.Event()
    lab.to_payment.on("charge", fakes.hold(gate))
    first = Background(lambda: lab.api.checkout(key, lab_item, 2, user))
    try:
        eventually(lambda: lab.to_payment.seen("charge"), "the charge is under way")
        assert_problem(lab.api.checkout(key, lab_item, 3, user), 422, "idempotency-key-reused")
    finally:
        gate.set()
    first.result()
    assert_json(lab.api.until_definite(key, item=lab_item, quantity=2, user=user))
    assert lab.api.numbers(lab_item) == (98, 0, 98)


@pytest.mark.parametrize("operation", ["charge", "reserve", "refund", "restock"])
def test_IK_13_holds_for_every_operation_with_a_key(api, item, key, operation):
    if operation == "charge":
        ask = lambda n: api.charge(key, money(1000 + n))
    elif operation == "reserve":
        ask = lambda n: api.reserve(key, item, 1 + n)
    elif operation == "refund":
        charge = assert_first(api.charge(new_key(), money(1000)))["chargeId"]
        ask = lambda n: api.refund(key, charge, money(100 + n))
    else:
        ask = lambda n: api.call("POST", "stock", f"/items/{item}/restock", {"quantity": 1 + n}, key)
    assert_first(ask(0))
    before, totals = api.numbers(item), api.captured()
    assert_problem(ask(1), 422, "idempotency-key-reused")
    assert (api.numbers(item), api.captured()) == (before, totals)


# IK-14: the scope of a key

def test_IK_14_another_users_equal_key_is_independent(api, item, key, user):
    mine = assert_first(api.checkout(key, item, 1, user))
    yours = assert_first(api.checkout(key, item, 1, user + "x"))
    nobodys = assert_first(api.checkout(key, item, 1))
    assert len({mine["orderId"], yours["orderId"], nobodys["orderId"]}) == 3
    assert len({mine["chargeId"], yours["chargeId"], nobodys["chargeId"]}) == 3
    assert api.numbers(item) == (97, 0, 97)


def test_IK_14_another_users_equal_key_may_stand_for_another_command(api, item, key, user):
    assert_first(api.checkout(key, item, 1, user))
    assert_first(api.checkout(key, item, 5, user + "x"))
    assert api.numbers(item) == (94, 0, 94)


def test_IK_14_another_operations_equal_key_is_independent(api, item, key, user):
    order = assert_first(api.checkout(key, item, 1, user))
    charge = assert_first(api.charge(key, money(1000), user))
    reservation = assert_first(api.reserve(key, item, 1, user))
    refund = assert_first(api.refund(key, charge["chargeId"], money(1), user))
    assert charge["chargeId"] != order["chargeId"] and reservation["reservationId"] != order["reservationId"]
    assert refund["chargeId"] == charge["chargeId"]
    assert_json(api.release(reservation["reservationId"], user))
    assert api.numbers(item) == (99, 0, 99)


def test_IK_14_a_charge_made_before_with_the_key_does_not_pay_for_the_checkout(api, item, key, user):
    charge = assert_first(api.charge(key, money(1), user))
    order = assert_first(api.checkout(key, item, 2, user))
    assert order["chargeId"] != charge["chargeId"]
    assert assert_json(api.charge_of(order["chargeId"], user))["amount"] == money(2000)


# IK-15: in flight

def test_IK_15_the_same_key_in_flight_is_a_conflict_and_later_a_replay(lab, lab_item, key, user):
    gate = threading.Event()
    lab.to_payment.on("charge", fakes.hold(gate), times=1)
    first = Background(lambda: lab.api.checkout(key, lab_item, 2, user))
    try:
        eventually(lambda: lab.to_payment.seen("charge"), "the charge is under way")
        calls = len(lab.calls())
        refused = lab.api.checkout(key, lab_item, 2, user)
        assert_problem(refused, 409, "request-in-progress")
        assert refused.headers["retry-after"] == "1"
        assert len(lab.to_stock.seen("reserve")) == 1 and len(lab.calls()) <= calls + 1
    finally:
        gate.set()
    answer = first.result()
    assert_first(answer)
    assert_replay(lab.api.checkout(key, lab_item, 2, user), answer)
    assert lab.api.numbers(lab_item) == (98, 0, 98)


def test_IK_15_a_charge_in_flight_is_a_conflict(api, key):
    before = api.captured()
    first = Background(lambda: api.charge(key, money(500), method="test_slow"))
    def conflict():
        response = api.charge(key, money(500), method="test_slow")
        return response if response.status_code == 409 else None
    time.sleep(0.3)  # so that the slow one is surely the first; either way one of the two has to wait
    assert_problem(eventually(conflict, "a second request meets the first", 2.5), 409, "request-in-progress")
    answer = first.result()
    assert_first(answer)
    assert_replay(api.charge(key, money(500), method="test_slow"), answer)
    assert api.captured() == (before[0] + 500, before[1])


# IK-16: many at once

@pytest.mark.parametrize("way", ["nginx", "service"])
def test_IK_16_fifty_checkouts_with_one_key_are_one_execution(api, direct, item, key, user, way):
    one = api if way == "nginx" else direct
    api.wait_settled()
    before = api.captured()
    answers = at_once(50, lambda _: one.checkout(key, item, 3, user))
    good = [a for a in answers if a.status_code == 200]
    for other in answers:
        if other.status_code != 200:
            assert_problem(other, 409, "request-in-progress")
    assert len({a.content for a in good}) == 1, "at least one success, and all alike"
    assert sum(values(a, "Idempotent-Replayed") == [] for a in good) == 1, "one executed, the others are replays"
    assert api.numbers(item) == (97, 0, 97)
    assert api.captured() == (before[0] + 3000, before[1])
    assert [o["status"] for o in api.orders_of(user)] == ["completed"]
    assert_replay(api.checkout(key, item, 3, user), good[0])


def test_IK_16_fifty_charges_with_one_key_are_one_charge(api, key):
    before = api.captured()
    answers = at_once(50, lambda _: api.charge(key, money(1234)))
    assert {a.status_code for a in answers} <= {200, 409}
    assert len({a.content for a in answers if a.status_code == 200}) == 1
    assert api.captured() == (before[0] + 1234, before[1])


def test_IK_16_fifty_reserves_with_one_key_are_one_reservation(api, item, key):
    answers = at_once(50, lambda _: api.reserve(key, item, 2))
    assert {a.status_code for a in answers} <= {200, 409}
    bodies = {a.content for a in answers if a.status_code == 200}
    assert len(bodies) == 1
    assert api.numbers(item) == (100, 2, 98)


def test_IK_16_fifty_keys_for_the_last_ten_sell_exactly_ten(api, new_item, user):
    item = new_item(api, 10)
    before = api.captured()
    answers = at_once(50, lambda i: api.checkout(new_key(), item, 1, f"{user}-{i}"))
    good = [a for a in answers if a.status_code == 200]
    assert len(good) == 10
    for other in answers:
        if other.status_code != 200:
            assert_problem(other, 409, "insufficient-stock")
    assert api.numbers(item) == (0, 0, 0)
    assert api.captured() == (before[0] + 10_000, before[1])


# IK-17: refused before execution

def refusals(item: int):
    good = b'{"itemId":%d,"quantity":1}' % item
    json_type = ("Content-Type", "application/json")
    return {
        "400-json": ("POST", "/order/checkout", [json_type], b'{"itemId":', 400, "invalid-json"),
        "400-user": ("POST", "/order/checkout", [json_type, ("X-User-ID", "no spaces please")], good, 400, "user-id-invalid"),
        "404-route": ("POST", "/order/checkouts", [json_type], good, 404, "not-found"),
        "405": ("PUT", "/order/checkout", [json_type], good, 405, "method-not-allowed"),
        "413": ("POST", "/order/checkout", [json_type], good + b" " * 70_000, 413, "payload-too-large"),
        "415": ("POST", "/order/checkout", [("Content-Type", "text/plain")], good, 415, "unsupported-media-type"),
        "422": ("POST", "/order/checkout", [json_type], good.replace(b"1}", b"0}"), 422, "validation-failed"),
    }


@pytest.mark.parametrize("case", ["400-json", "400-user", "404-route", "405", "413", "415", "422"])
def test_IK_17_a_request_refused_before_execution_never_records_its_key(stack, api, item, key, case):
    method, path, headers, body, status, code = refusals(item)[case]
    assert_problem(raw.request(stack.base, method, path, [*headers, ("Idempotency-Key", key)], body), status, code)
    assert_first(api.checkout(key, item, 1))
    assert api.numbers(item) == (99, 0, 99)


# IK-18: definite failures

def test_IK_18_an_unknown_item_fails_and_the_same_key_executes_when_it_exists(api, key, user):
    item = int(time.time() * 1000) % 2_000_000_000 + 1
    assert_problem(api.checkout(key, item, 1, user), 404, "item-not-found")
    assert_json(api.put_item(item, money(1000), 5), 201)
    assert_first(api.checkout(key, item, 1, user))
    assert api.numbers(item) == (4, 0, 4)


def test_IK_18_too_little_stock_fails_and_the_same_key_executes_after_a_restock(api, new_item, key, user):
    item = new_item(api, 1)
    before = api.captured()
    assert_problem(api.checkout(key, item, 2, user), 409, "insufficient-stock")
    assert api.numbers(item) == (1, 0, 1) and api.captured() == before
    assert_json(api.call("POST", "stock", f"/items/{item}/restock", {"quantity": 5}))
    body = assert_first(api.checkout(key, item, 2, user))
    assert api.numbers(item) == (4, 0, 4)
    assert [o["status"] for o in api.orders_of(user)].count("completed") == 1
    assert body["orderId"] in [o["orderId"] for o in api.orders_of(user)]


def test_IK_18_a_decline_is_compensated_and_the_same_key_is_a_new_attempt(lab, lab_item, key, user):
    before = lab.api.captured()
    lab.to_payment.on("charge", fakes.problem(402, "payment-declined", declineCode="card_declined"), times=1)
    first = assert_problem(lab.api.checkout(key, lab_item, 2, user), 402, "payment-declined")
    assert first["declineCode"] == "card_declined"
    assert lab.api.numbers(lab_item) == (100, 0, 100)
    refused = lab.api.orders_of(user)[0]
    assert refused["status"] == "failed" and refused["failure"]["code"] == "payment-declined"
    assert assert_json(lab.api.reservation(refused["reservationId"], user))["status"] == "canceled"
    body = assert_first(lab.api.checkout(key, lab_item, 2, user))
    assert body["reservationId"] != refused["reservationId"], "a new attempt has new ids"
    assert body["chargeId"] != refused.get("chargeId")
    assert lab.api.numbers(lab_item) == (98, 0, 98)
    assert lab.api.captured() == (before[0] + 2000, before[1])


def test_IK_18_a_decline_that_stays_is_executed_again_and_not_replayed(lab, lab_item, key, user):
    for attempt in (1, 2, 3):
        response = lab.api.checkout(key, lab_item, 2, user, method="test_declined")
        assert_problem(response, 402, "payment-declined")
        assert values(response, "Idempotent-Replayed") == []
        assert len(lab.to_payment.seen("charge")) == attempt
        assert lab.api.numbers(lab_item) == (100, 0, 100)
    ids = {r.json().get("chargeId") for r in lab.to_payment.seen("/charge$")}
    assert len(ids) == 3, "every attempt has its own charge id"


# IK-19: transient failures

def test_IK_19_a_provider_that_stays_out_fails_the_checkout_compensated_and_retryable(api, item, key, user):
    before = api.captured()
    for _ in range(2):
        response = api.checkout(key, item, 2, user, method="test_error")
        assert_problem(response, 503, "checkout-unavailable")
        assert values(response, "Idempotent-Replayed") == []
        assert api.numbers(item) == (100, 0, 100)
        assert api.captured() == before


def test_IK_19_a_provider_that_fails_once_is_asked_again_within_the_checkout(api, item, key, user):
    before = api.captured()
    assert_first(api.checkout(key, item, 2, user, method="test_error_then_ok"))
    assert api.numbers(item) == (98, 0, 98)
    assert api.captured() == (before[0] + 2000, before[1])


@pytest.mark.parametrize("missing", ["stock", "payment"])
def test_IK_19_while_a_service_is_down_nothing_happens_and_the_same_key_executes_when_it_is_back(missing, key, user):
    port, stock, payment = free_ports(1)[0], Service("stock"), Service("payment")
    order = Service("order", {"STOCK_BASE_URL": stock.url, "PAYMENT_BASE_URL": payment.url, f"{missing.upper()}_BASE_URL": f"http://127.0.0.1:{port}"})
    late = None
    api = Api(order.url, stock.url, payment.url)
    try:
        stock.start(), payment.start(), order.start()
        assert_json(api.put_item(7, money(1000), 10), 201)
        assert_problem(api.checkout(key, 7, 1, user), 503, "checkout-unavailable")
        assert api.numbers(7) == (10, 0, 10)
        assert api.captured() == (0, 0)
        late = fakes.Downstream(stock.url if missing == "stock" else payment.url, port)
        assert_json(api.until_definite(key, item=7, quantity=1, user=user))
        assert api.numbers(7) == (9, 0, 9)
        assert api.captured() == (1000, 0)
    finally:
        api.close()
        for part in (order, stock, payment, late):
            if part is not None:
                part.stop()


# IK-20: the outcome is unknown

def test_IK_20_an_unknown_outcome_is_a_504_then_a_409_and_in_the_end_the_outcome(lab, lab_item, key, user):
    before = lab.api.captured()
    fault = lab.to_payment.on("charge|refund", fakes.run_then_drop())
    started = time.monotonic()
    response = lab.api.checkout(key, lab_item, 2, user)
    took = time.monotonic() - started
    assert_problem(response, 504, "outcome-unknown")
    assert took < LAB_CHECKOUT_TIMEOUT + 1.5, f"the answer took {took:.1f} s"
    again = lab.api.checkout(key, lab_item, 2, user)
    assert_problem(again, 409, "request-in-progress")
    order = lab.api.orders_of(user)[0]
    assert order["status"] == "pending", "unknown is not failed"
    assert lab.api.numbers(lab_item)[2] == 98, "the goods are still held"
    lab.to_payment.off(fault)
    final = lab.api.until_definite(key, item=lab_item, quantity=2, user=user)
    body = assert_json(final)
    assert_replay(lab.api.checkout(key, lab_item, 2, user), final)
    assert body["orderId"] == order["orderId"]
    assert lab.api.captured() == (before[0] + 2000, before[1]), "one charge, however often it was asked for"
    assert len({r.json()["chargeId"] for r in lab.to_payment.seen("/charge$")}) == 1
    assert lab.api.numbers(lab_item) == (98, 0, 98)


@pytest.mark.parametrize("fault", ["lost", "cut", "garbage", "late"])
@pytest.mark.parametrize("step", ["reserve", "charge", "complete"])
def test_IK_20_a_lost_answer_to_any_step_is_asked_for_again_with_the_same_id(lab, lab_item, key, user, step, fault):
    def act(exchange):
        exchange.forward()
        {"lost": fakes.drop(), "cut": fakes.cut(), "garbage": fakes.garbage(), "late": fakes.delay(1.5, fakes.drop())}[fault](exchange)
    before = lab.api.captured()
    (lab.to_payment if step == "charge" else lab.to_stock).on(step, act, times=1)
    body = assert_json(lab.api.until_definite(key, item=lab_item, quantity=2, user=user))
    assert lab.api.numbers(lab_item) == (98, 0, 98)
    assert lab.api.captured() == (before[0] + 2000, before[1])
    assert assert_json(lab.api.charge_of(body["chargeId"], user))["status"] == "succeeded"
    assert [o["status"] for o in lab.api.orders_of(user)] in (["completed"], ["completed", "failed"])


def test_IK_20_a_charge_whose_first_reply_is_withheld_is_one_charge(api, item, key, user):
    before = api.captured()
    body = assert_json(api.until_definite(key, item=item, quantity=2, user=user, method="test_timeout_after_charge"))
    assert body["status"] == "completed"
    assert api.numbers(item) == (98, 0, 98)
    assert api.captured() == (before[0] + 2000, before[1])


def test_IK_20_a_provider_that_does_not_know_is_asked_until_it_does(api, item, key, user):
    before = api.captured()
    body = assert_json(api.until_definite(key, item=item, quantity=1, user=user, method="test_unknown_then_ok"))
    assert body["status"] == "completed"
    assert api.captured() == (before[0] + 1000, before[1])
    assert api.numbers(item) == (99, 0, 99)


# IK-21: the client leaves

def test_IK_21_a_client_that_leaves_gets_its_outcome_later_through_nginx(stack, api, item, key, user):
    before = api.captured()
    body = b'{"itemId":%d,"quantity":2,"method":"test_slow"}' % item
    headers = [("Content-Type", "application/json"), ("Idempotency-Key", key), ("X-User-ID", user)]
    with raw.connect(stack.base) as sock:
        raw.send(sock, raw.message("POST", "/order/checkout", headers, body))
        eventually(lambda: [o["status"] for o in api.orders_of(user)] == ["pending"], "the checkout has begun", 5)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # leave with a reset
    again = api.checkout(key, item, 2, user, method="test_slow")
    assert again.status_code in (200, 409, 504), again.text
    body = assert_json(api.until_definite(key, item=item, quantity=2, user=user, method="test_slow"))
    assert [o["orderId"] for o in api.orders_of(user)] == [body["orderId"]]
    assert api.numbers(item) == (98, 0, 98)
    assert api.captured() == (before[0] + 2000, before[1])


@pytest.mark.parametrize("step", ["reserve", "charge", "complete"])
def test_IK_21_a_client_that_leaves_at_any_step_changes_nothing(lab, lab_item, key, user, step):
    gate = threading.Event()
    target = lab.to_payment if step == "charge" else lab.to_stock
    target.on(step, fakes.hold(gate), times=1)
    body = b'{"itemId":%d,"quantity":2}' % lab_item
    headers = [("Content-Type", "application/json"), ("Idempotency-Key", key), ("X-User-ID", user)]
    try:
        with raw.connect(lab.order.url) as sock:
            raw.send(sock, raw.message("POST", "/checkout", headers, body))
            eventually(lambda: target.seen(step), f"the {step} is under way", 5)
    finally:
        gate.set()
    # Nobody asks again: the saga has to end by itself.
    eventually(lambda: [o["status"] for o in lab.api.orders_of(user)] == ["completed"], "the saga ends by itself", 15)
    assert lab.api.numbers(lab_item) == (98, 0, 98)
    answer = lab.api.checkout(key, lab_item, 2, user)
    assert assert_json(answer)["status"] == "completed"
    assert values(answer, "Idempotent-Replayed") == ["true"]


# IK-23: the store is full

@pytest.fixture
def small_disk(tmp_path):
    """A file system of 6 MiB for a store to fill up, and its removal."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True, capture_output=True)


def fill(place: Path) -> Path:
    ballast = place / "ballast"
    with open(ballast, "wb", buffering=0) as out:
        for size in (65536, 4096, 512, 1):
            while True:
                try:
                    if out.write(b"\0" * size) == 0:
                        break
                except OSError:
                    break
    return ballast


def until_refused(ask, at_most: int = 3000):
    """A store may still have room in a file it holds already; use it up. The last answers are of a store that is full."""
    for _ in range(at_most):
        if ask().status_code >= 500:
            return
    raise AssertionError(f"the disk is full, and yet {at_most} requests succeeded")


def test_IK_23_when_orders_store_is_not_writable_nothing_is_executed(small_disk, user):
    with Lab(order_data_dir=small_disk) as lab:
        api = lab.api
        assert_first(api.checkout(new_key(), 1, 1, user))
        ballast = fill(small_disk)
        until_refused(lambda: api.checkout(new_key(), 1, 1, user))
        time.sleep(1)  # let a saga that began in the last free bytes use up its attempts
        keys = [new_key() for _ in range(5)]
        before, totals, calls = api.numbers(1), api.captured(), len(lab.to_stock.seen("reserve"))
        for key in keys:
            assert_problem(api.checkout(key, 1, 1, user), 503, "store-unavailable")
        assert len(lab.to_stock.seen("reserve")) == calls, "Stock was called although nothing could be written down"
        assert (api.numbers(1), api.captured()) == (before, totals)
        ballast.unlink()
        for key in keys:
            assert_json(api.until_definite(key, item=1, quantity=1, user=user))
        api.wait_settled()
        completed = [o for o in api.orders_of(user) if o["status"] == "completed"]
        assert api.numbers(1) == (1_000_000 - len(completed), 0, 1_000_000 - len(completed))
        assert api.captured()[0] - api.captured()[1] == 1000 * len(completed)


def test_IK_23_when_stocks_store_is_not_writable_nothing_is_reserved(small_disk):
    with Service("stock", data_dir=small_disk) as stock:
        api = Api("", stock.url, "")
        ballast = fill(small_disk)
        until_refused(lambda: api.reserve(new_key(), 1, 1))
        before = api.numbers(1)
        key = new_key()
        for _ in range(3):
            assert_problem(api.reserve(key, 1, 1), 503, "store-unavailable")
        assert api.numbers(1) == before
        ballast.unlink()
        eventually(lambda: api.reserve(key, 1, 1).status_code == 200, "the store takes writes again", 15)
        assert api.numbers(1) == (before[0], before[1] + 1, before[2] - 1)
        api.close()


def test_IK_23_when_payments_store_is_not_writable_nothing_is_charged(small_disk):
    with Service("payment", data_dir=small_disk) as payment:
        api = Api("", "", payment.url)
        ballast = fill(small_disk)
        until_refused(lambda: api.charge(new_key(), money(100)))
        before = api.captured()
        key = new_key()
        for _ in range(3):
            assert_problem(api.charge(key, money(100)), 503, "store-unavailable")
        assert api.captured() == before
        ballast.unlink()
        eventually(lambda: api.charge(key, money(100)).status_code == 200, "the store takes writes again", 15)
        assert api.captured() == (before[0] + 100, before[1])
        api.close()


# IK-24: complete fails for good after the charge

def test_IK_24_complete_refused_after_the_charge_is_released_and_refunded_and_the_key_is_a_new_attempt(lab, lab_item, key, user):
    before = lab.api.captured()

    def take_it_away(_exchange):
        pending = lab.api.orders_of(user)[0]
        assert_json(lab.api.release(pending["reservationId"], user))
    lab.to_payment.on("charge", fakes.before_answer(take_it_away), times=1)
    assert_problem(lab.api.checkout(key, lab_item, 2, user), 503, "checkout-unavailable")
    lost = assert_json(lab.api.order(lab.api.orders_of(user)[0]["orderId"], user))
    assert lost["status"] == "failed" and lost["failure"]["code"]
    assert lab.api.numbers(lab_item) == (100, 0, 100)
    assert lab.api.captured() == (before[0] + 2000, before[1] + 2000)
    refunded = assert_json(lab.api.charge_of(lost["chargeId"], user))
    assert refunded["status"] == "refunded" and refunded["refunded"] == money(2000)
    release = lab.to_stock.seen("release")
    assert release and release[0].at <= lab.to_payment.seen("refund")[0].at, "release comes before the refund"

    body = assert_first(lab.api.checkout(key, lab_item, 2, user))
    assert body["chargeId"] != lost["chargeId"] and body["reservationId"] != lost["reservationId"]
    assert lab.api.numbers(lab_item) == (98, 0, 98)
    assert lab.api.captured() == (before[0] + 4000, before[1] + 2000), "charge, refund, charge"
    assert assert_json(lab.api.charge_of(lost["chargeId"], user))["status"] == "refunded"


def test_IK_24_seen_from_outside_a_reservation_released_during_a_slow_charge_is_refunded(api, item, key, user):
    before = api.captured()
    first = Background(lambda: api.checkout(key, item, 2, user, method="test_slow"))
    order = eventually(lambda: next((o for o in api.orders_of(user) if o["status"] == "pending" and o.get("reservationId")), None),
                       "the order is pending", 3)
    eventually(lambda: api.reservation(order["reservationId"], user).status_code == 200, "its reservation exists", 3)
    assert assert_json(api.release(order["reservationId"], user))["status"] == "canceled"
    response = first.result()
    assert response.status_code in (503, 504), response.text
    eventually(lambda: assert_json(api.order(order["orderId"], user))["status"] == "failed", "the order has failed", 20)
    assert api.numbers(item) == (100, 0, 100)
    assert api.captured() == (before[0] + 2000, before[1] + 2000)


def test_IK_24_a_refund_that_fails_once_is_done_in_the_end(lab, lab_item, key, user):
    before = lab.api.captured()

    def take_it_away(_exchange):
        assert_json(lab.api.release(lab.api.orders_of(user)[0]["reservationId"], user))
    lab.to_payment.on("charge", fakes.before_answer(take_it_away), times=1)
    response = lab.api.checkout(key, lab_item, 2, user, method="test_refund_fails_once")
    assert response.status_code in (503, 504), response.text
    eventually(lambda: lab.api.captured() == (before[0] + 2000, before[1] + 2000), "the money is back", 20)
    eventually(lambda: lab.api.orders_of(user)[0]["status"] == "failed", "the order has failed", 10)
    assert lab.api.numbers(lab_item) == (100, 0, 100)


@pytest.mark.parametrize("whose", ["the user's own", "another's"])
def test_HAZARD_26_other_money_under_the_id_of_an_order_s_charge_pays_for_nothing(lab, lab_item, key, user, whose):
    payer, charged = user if whose == "the user's own" else f"{user}-other", []

    def charge_directly(_exchange):
        charged.append(lab.api.orders_of(user)[0]["chargeId"])
        assert_first(lab.api.charge(new_key(), money(1), payer, chargeId=charged[0]))
    lab.to_stock.on("reserve", fakes.before_answer(charge_directly), times=1)
    assert_problem(lab.api.checkout(key, lab_item, 2, user), 503, "checkout-unavailable")
    assert lab.api.orders_of(user)[0]["status"] == "failed"
    assert lab.api.numbers(lab_item) == (100, 0, 100)
    # What the user has paid is given back. What another has is no business of the order's, and does not keep it from its end.
    left = assert_json(lab.api.charge_of(charged[0], payer))
    assert left["status"] == ("refunded" if payer == user else "succeeded"), left
    # The key is a new attempt, with a charge id of its own.
    assert assert_first(lab.api.checkout(key, lab_item, 2, user))["chargeId"] != charged[0]


# IK-25: forgetting

@pytest.fixture(scope="module")
def forgetful():
    """Keys live for one second; an attempt may last longer than that."""
    settings = {"IDEMPOTENCY_TTL_SECONDS": "1", "GATEWAY_TIMEOUT_SECONDS": "6"}
    with Lab(order={**settings, "CHECKOUT_TIMEOUT_SECONDS": "15"}, stock=settings, payment=settings) as lab:
        yield lab


def test_IK_25_a_terminal_key_is_forgotten_after_its_time(forgetful, new_item, key, user):
    api, item = forgetful.api, new_item(forgetful.api)
    first = assert_first(api.checkout(key, item, 1, user))
    assert api.checkout(key, item, 1, user).content
    second = eventually(lambda: (r := api.checkout(key, item, 2, user)).status_code == 200 and r, "the key is free again", 15, 0.2)
    assert assert_first(second)["orderId"] != first["orderId"]
    assert api.numbers(item) == (97, 0, 97)
    # The order itself is not forgotten with its key.
    assert assert_json(api.order(first["orderId"], user))["status"] == "completed"


def test_IK_25_the_key_of_a_charge_or_a_refund_moves_money_once_also_when_it_is_forgotten(forgetful, user):
    """Forgotten is only the answer: money that a key has moved stands in the books, with the key (decision 15)."""
    api, key, before = forgetful.api, new_key(), forgetful.api.captured()
    first = assert_first(api.charge(key, money(2000), user))
    back = assert_first(api.refund(key, first["chargeId"], money(500), user))
    for _ in range(2):
        time.sleep(1.3)
        again = api.charge(key, money(2000), user)
        assert assert_json(again) == first and again.headers["Idempotent-Replayed"] == "true"
        assert_problem(api.charge(key, money(2001), user), 422, "idempotency-key-reused")
        again = api.refund(key, first["chargeId"], money(500), user)
        assert assert_json(again) == back and again.headers["Idempotent-Replayed"] == "true"
        assert_problem(api.refund(key, first["chargeId"], user=user), 422, "idempotency-key-reused")
    assert api.captured() == (before[0] + 2000, before[1] + 500)


def test_IK_25_a_key_in_progress_never_expires(forgetful, new_item, key, user):
    api, item, gate = forgetful.api, new_item(forgetful.api), threading.Event()
    forgetful.to_payment.on("charge", fakes.hold(gate), times=1)
    first = Background(lambda: api.checkout(key, item, 1, user))
    try:
        eventually(lambda: forgetful.to_payment.seen("charge"), "the charge is under way")
        until = time.monotonic() + 2.5  # more than twice the life of a key, and less than until the charge is tried again
        while time.monotonic() < until:
            assert_problem(api.checkout(key, item, 1, user), 409, "request-in-progress")
            time.sleep(0.25)
    finally:
        gate.set()
    assert_first(first.result())
    assert api.numbers(item) == (99, 0, 99)


# IK-26 and IK-27: commands that are their own identity

def test_IK_26_release_repeated_gives_the_stock_back_once(api, item, key):
    reservation = assert_first(api.reserve(key, item, 4))["reservationId"]
    assert api.numbers(item) == (100, 4, 96)
    for _ in range(3):
        assert assert_json(api.release(reservation))["status"] == "canceled"
        assert api.numbers(item) == (100, 0, 100)


def test_IK_26_complete_repeated_takes_the_stock_once(api, item, key):
    reservation = assert_first(api.reserve(key, item, 4))["reservationId"]
    for _ in range(3):
        assert assert_json(api.complete(reservation))["status"] == "completed"
        assert api.numbers(item) == (96, 0, 96)


@pytest.mark.parametrize("command", ["release", "complete"])
def test_IK_26_twenty_at_once_have_one_effect(api, item, key, command):
    reservation = assert_first(api.reserve(key, item, 4))["reservationId"]
    answers = at_once(20, lambda _: getattr(api, command)(reservation))
    assert {a.status_code for a in answers} == {200}
    assert api.numbers(item) == ((100, 0, 100) if command == "release" else (96, 0, 96))


def test_IK_26_release_and_complete_at_once_have_one_winner(api, item):
    for _ in range(10):
        stock = api.numbers(item)[0]
        reservation = assert_first(api.reserve(new_key(), item, 1))["reservationId"]
        answers = at_once(8, lambda i: (api.release if i % 2 else api.complete)(reservation))
        status = assert_json(api.reservation(reservation))["status"]
        for i, answer in enumerate(answers):
            if (status == "canceled") == bool(i % 2):
                assert_json(answer)
            else:
                assert_problem(answer, 409, "reservation-state-conflict")
        assert api.numbers(item) == ((stock, 0, stock) if status == "canceled" else (stock - 1, 0, stock - 1))


def test_IK_26_release_after_complete_and_complete_after_release_are_conflicts(api, item):
    one = assert_first(api.reserve(new_key(), item, 1))["reservationId"]
    assert_json(api.complete(one))
    assert_problem(api.release(one), 409, "reservation-state-conflict")
    assert api.numbers(item) == (99, 0, 99)
    two = assert_first(api.reserve(new_key(), item, 1))["reservationId"]
    assert_json(api.release(two))
    assert_problem(api.complete(two), 409, "reservation-state-conflict")
    assert api.numbers(item) == (99, 0, 99)


def test_IK_26_a_refund_repeated_has_no_second_effect(api, key):
    charge = assert_first(api.charge(new_key(), money(900)))["chargeId"]
    before = api.captured()
    first = api.refund(key, charge)
    body = assert_first(first)
    assert body["status"] == "succeeded" and body["amount"] == money(900) and body["chargeId"] == charge
    assert_replay(api.refund(key, charge), first)
    assert_json(api.refund(new_key(), charge))  # under another key: all of it is back already
    assert api.captured() == (before[0], before[1] + 900)
    assert assert_json(api.charge_of(charge))["refunded"] == money(900)


def test_IK_27_reserve_with_the_same_reservation_id_is_the_same_reservation(api, item):
    mine = str(uuid.uuid4())
    first = assert_json(api.reserve(new_key(), item, 3, reservationId=mine))
    assert first["reservationId"] == mine
    second = assert_json(api.reserve(new_key(), item, 3, reservationId=mine))
    assert second == first
    assert api.numbers(item) == (100, 3, 97)


def test_IK_27_fifty_reserves_with_one_reservation_id_take_the_stock_once(api, item):
    mine = str(uuid.uuid4())
    answers = at_once(50, lambda _: api.reserve(new_key(), item, 2, reservationId=mine))
    assert {a.status_code for a in answers} == {200}
    assert api.numbers(item) == (100, 2, 98)


def test_IK_27_release_of_an_id_never_seen_leaves_a_tombstone_that_a_late_reserve_meets(api, item):
    mine = str(uuid.uuid4())
    assert api.reservation(mine).status_code == 404
    body = assert_json(api.release(mine))
    assert body["reservationId"] == mine and body["status"] == "canceled" and body["lines"] == []
    assert_json(api.release(mine))
    assert_problem(api.reserve(new_key(), item, 2, reservationId=mine), 409, "reservation-state-conflict")
    assert api.numbers(item) == (100, 0, 100)
    assert assert_json(api.reservation(mine))["status"] == "canceled"


def test_IK_27_complete_of_an_id_never_seen_is_not_found(api):
    assert_problem(api.complete(str(uuid.uuid4())), 404, "reservation-not-found")
