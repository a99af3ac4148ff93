"""OP-03: what the logs of the three services tell of one checkout, found by its order's id alone, at the usual level."""

import re

import fakes
from api import assert_json, assert_problem, new_key
from stack import SERVICES, eventually


def story(lab, order: str) -> list[dict]:
    """As docs/operations.md says: the order's lines in Order's log name its request, and that finds the rest."""
    def found():
        requests = {e["request_id"] for e in lab.order.logs() if e.get("order_id") == order}
        lines = [e for s in SERVICES for e in getattr(lab, s).logs() if e.get("request_id") in requests]
        ended = any(e["message"] == "checkout ended" and e.get("order_id") == order for e in lines)
        return (requests, lines) if ended else None
    requests, lines = eventually(found, "the story has an end", 15)
    assert len(requests) == 1, requests
    return sorted(lines, key=lambda e: e["timestamp"])


def answers(lines: list[dict]) -> list[tuple]:
    return [(e["service"], e["route"], e["status"]) for e in lines if e["message"] == "request"]


def events(lines: list[dict]) -> list[str]:
    return [e["event"] for e in lines if e["message"] == "saga"]


def test_OP_03_a_declined_checkout_is_told_from_its_beginning_to_its_end(lab, lab_item, user):
    lab.to_stock.on("/reserve", fakes.problem(503, "overloaded", True, "1"), times=2)
    answer = lab.api.checkout(new_key(), lab_item, 2, user, method="test_declined")
    body = assert_problem(answer, 402, "payment-declined")
    order = lab.api.orders_of(user)[0]["orderId"]
    lines = story(lab, order)
    assert {e["request_id"] for e in lines} == {body["requestId"]}
    assert len({e["trace_id"] for e in lines}) == 1 and all(e["span_id"] for e in lines)

    retried = [e for e in lines if e["message"] == "a call failed and is tried again"]
    assert [(e["target"], e["operation"], e["attempt"]) for e in retried] == [("stock", "reserve", 1), ("stock", "reserve", 2)]
    succeeded = [e for e in lines if e["message"] == "a call that had failed has succeeded"]
    assert [(e["operation"], e["attempt"]) for e in succeeded] == [("reserve", 3)]
    assert events(lines) == ["charge refused: card_declined", "release succeeded"]
    assert answers(lines) == [
        ("stock", "/reserve", 200), ("payment", "/charge", 402), ("stock", "/release", 200), ("order", "/checkout", 402)]

    end = next(e for e in lines if e["message"] == "checkout ended")
    assert (end["status"], end["failure"], end["order_id"]) == ("failed", "payment-declined", order)
    assert re.findall(r"Z ([^;]+)", end["history"]) == [
        "created", "reserve succeeded", "charge refused: card_declined", "release succeeded"]
    assert next(e for e in lines if e.get("route") == "/checkout")["order_id"] == order
    assert next(e for e in lines if e.get("route") == "/charge")["order_id"] == order


def test_OP_03_a_checkout_whose_goods_are_lost_is_told_with_its_release_and_its_refund(lab, lab_item, user):
    def lose(_):
        assert_json(lab.api.release(lab.api.orders_of(user)[0]["reservationId"], user))
    lab.to_payment.on("/charge", fakes.before_answer(lose), times=1)
    answer = lab.api.checkout(new_key(), lab_item, 2, user)
    assert_problem(answer, 503, "checkout-unavailable")
    lines = story(lab, lab.api.orders_of(user)[0]["orderId"])
    assert events(lines) == ["complete refused: reservation-state-conflict", "release succeeded", "refund succeeded"]
    assert answers(lines) == [
        ("stock", "/reserve", 200), ("payment", "/charge", 200), ("stock", "/complete", 409), ("stock", "/release", 200),
        ("payment", "/refund", 200), ("order", "/checkout", 503)]


def test_OP_03_a_checkout_that_goes_on_without_its_client_is_told_under_the_same_request(lab, lab_item, user):
    lab.to_payment.on("/charge", fakes.run_then_drop())
    answer = lab.api.checkout(new_key(), lab_item, 2, user)
    body = assert_problem(answer, 504, "outcome-unknown")
    order = lab.api.orders_of(user)[0]["orderId"]
    lab.to_payment.reset()
    eventually(lambda: lab.api.orders_of(user)[0]["status"] == "completed", "it is completed", 30)
    lines = story(lab, order)
    assert {e["request_id"] for e in lines} == {body["requestId"]}
    taken = [e for e in lines if e["message"] == "an unfinished order is taken up"]
    assert taken and taken[0]["saga_step"] == "charging"
    end = next(e for e in lines if e["message"] == "checkout ended")
    assert end["status"] == "completed" and "complete succeeded" in end["history"]
