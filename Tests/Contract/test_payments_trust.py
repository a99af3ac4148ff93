"""What Payment believes of a provider, and what it tells whom: the parts of payments through providers that strangers and bad answers reach."""

import json
import time
import uuid

from api import assert_first, assert_json, assert_problem, money, new_key
from provider import signed
from stack import eventually
from test_operator import WHO, tool
from test_payments import Bench, account, ann, bench, running  # noqa: F401  fixtures


def trail(bench, payment: str, user: str, of: str = "payments") -> list[str]:
    answer = assert_json(bench.api.call("GET", "payment", f"/{of}/{payment}/events", user=user))
    return [event["type"] for event in answer["events"]]


def test_INV_15_a_charge_under_the_id_of_a_payment_reads_and_writes_nothing_of_its_trail(bench, ann, account):
    eve, payment = f"eve-{uuid.uuid4()}", bench.made("deposit", account, 5, ann)
    bench.until(payment, ann, "succeeded")
    assert_first(bench.api.charge(new_key(), money(1), eve, chargeId=payment))
    assert trail(bench, payment, eve, "charges") == ["succeeded"]
    refund = assert_first(bench.refund(payment, ann, 1), 202)["refundId"]
    bench.until(refund, ann, "succeeded")
    assert_first(bench.api.refund(new_key(), refund, user=eve, orCancel=True))
    assert trail(bench, payment, eve, "charges") == ["succeeded"]
    assert trail(bench, payment, ann) == ["created", "processing", "succeeded", "refund_pending", "refunded"]
    assert trail(bench, refund, ann) == ["created", "processing", "succeeded"]
    assert_problem(bench.api.call("GET", "payment", f"/payments/{payment}/events", user=eve), 404, "payment-not-found")


def test_T_an_answer_about_another_amount_settles_nothing_until_an_operator_has_it_put_right(bench, ann, account):
    bench.provider.faults[:] = ["other amount"]
    payment = bench.made("deposit", account, 100, ann)
    eventually(lambda: bench.provider.count(f"{payment}/cancel") > 3, "it is asked about again and again", 20)
    shown = bench.payment_of(payment, ann)
    assert shown["status"] == "processing" and "other money" in shown["lastError"]
    assert bench.api.balance(ann) == 10_200
    metrics = bench.api.call("GET", "payment", "/metrics").text
    asked = next(line for line in metrics.splitlines() if all(
        part in line for part in ("payment_provider_calls_total", '"stripe"', '"cancel"', '"contradicted"')))
    assert float(asked.split()[-1]) > 3
    age = next(line for line in metrics.splitlines() if line.startswith('payments_oldest_open_seconds{provider="stripe"}'))
    assert float(age.split()[-1]) > 0
    env = {"PAYMENT_OPERATOR_URL": bench.payment.operator_url}

    def tools(*args: str) -> str:
        code, out, err = tool("payments", *args, env=env)
        assert code == 0, err
        return out
    assert payment in tools("list") and payment in tools("list", "--user", ann)
    assert "charge of 100 USD instead of charge of 10000 USD" in tools("show", payment)
    assert json.loads(tools("list", "--json"))["payments"] and json.loads(tools("show", payment, "--json"))["events"]
    bench.provider.payments[payment]["amount"] = money(10_000)
    code, out, err = tool("payments", "settle", payment, *WHO, "--json", env=env)
    assert code == 0 and json.loads(out)["paymentId"] == payment or "payment-state-conflict" in err
    bench.until(payment, ann, "succeeded")
    assert bench.api.balance(ann) == 20_000
    assert trail(bench, payment, ann)[-1] == "succeeded"
    assert payment in tools("list", "--state", "succeeded", "--user", ann)
    assert tool("payments", "settle", payment, *WHO, env=env)[0] == 1
    assert tool("payments", "show", "none", env=env)[0] == 1


def test_operator_a_payment_that_comes_to_no_end_is_ended_by_what_its_providers_books_show(bench, ann, account):
    env = {"PAYMENT_OPERATOR_URL": bench.payment.operator_url}
    before = bench.api.balance(ann)
    for verdict, status, more in (("moved", "succeeded", 9_800), ("not-moved", "failed", 0)):
        bench.provider.faults[:] = ["other amount"]
        payment = bench.made("deposit", account, 100, ann)
        eventually(lambda: "other money" in (bench.payment_of(payment, ann).get("lastError") or ""), "it is contradicted", 20)

        def decide():
            # Refused for the moment in which the provider is being asked about it.
            code, out, err = tool("payments", verdict, payment, *WHO, "--json", env=env)
            if code == 1:
                return None
            assert code == 0, err
            plan = json.loads(out)
            assert plan["action"] == verdict and "books" in plan["summary"] and plan["calls"] == []
            code, out, err = tool("payments", verdict, payment, "--commit", plan["plan"], *WHO, "--json", env=env)
            assert code in (0, 1), err
            return json.loads(out) if code == 0 else None
        ended = eventually(decide, "it is ended", 20)
        assert ended["status"] == status and ended["actions"][-1]["action"] == verdict
        before += more
        assert bench.api.balance(ann) == before
        assert tool("payments", verdict, payment, *WHO, env=env)[0] == 1
    assert assert_json(bench.api.call("GET", "payment", "/ledger/check"))["balanced"] is True


def test_P_a_refusal_is_final_by_the_providers_own_word_alone_and_the_customer_reads_its_code(bench, ann, account):
    bench.provider.faults[:] = ["refuse", "forbid"]
    failed = bench.until(bench.made("withdraw", account, 1, ann), ann, "failed")
    assert failed["attempts"] == 1 and failed["lastError"] == "refused: validation-failed"
    assert bench.api.balance(ann) == 10_200
    # A bare 403 may be that of a proxy which has held back the provider's answer, and not our command.
    made = bench.until(bench.made("withdraw", account, 1, ann), ann, "succeeded")
    assert made["attempts"] == 2
    assert bench.api.balance(ann) == 10_098


def test_T_an_event_of_a_type_that_nobody_knows_is_acknowledged(bench):
    for body in (b'{"type":"dispute.opened"}', b'{"type":"payout.paid","data":{}}'):
        headers = signed(body, f"msg_{uuid.uuid4().hex}")
        assert bench.api.call("POST", "payment", "/webhooks/stripe", headers=headers, content=body).status_code == 204
    body = b'{"type":"payment.succeeded"}'
    headers = signed(body, f"msg_{uuid.uuid4().hex}")
    assert_problem(
        bench.api.call("POST", "payment", "/webhooks/stripe", headers=headers, content=body), 422, "validation-failed")


def test_T_a_retry_after_holds_for_all_payments_of_the_provider(ann):
    with Bench() as bench:
        account = assert_first(bench.api.open_account(ann, 102), 201)["accountId"]
        bench.provider.faults[:] = ["throttle"]
        first = bench.made("deposit", account, 1, ann)
        eventually(lambda: bench.provider.calls, "it is asked", 5)
        began = time.monotonic()
        others = [bench.made("deposit", account, 1, ann) for _ in range(5)]
        elsewhere = bench.made("deposit", account, 1, ann, provider="paypal")
        bench.until(elsewhere, ann, "succeeded")
        assert time.monotonic() - began > 0.8 or bench.provider.count("/stripe/") == 1
        for payment in (first, *others):
            bench.until(payment, ann, "succeeded")
        assert bench.provider.count("/stripe/") == 7, "nobody was turned away twice"
