"""IK-22: kill -9 of any service at any point, and one coherent outcome all the same.

First with every crash point made certain by a fake between the services; then under load, through nginx, with the
supervisor of scripts/up bringing the killed one back; and last the invariants of docs/hazards.md over all that happened.
"""

import random
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import fakes
import invariants
from api import Api, Background, assert_first, assert_json, money, new_key
from invariants import Sent
from lab import Lab
from stack import SERVICES, Stack, eventually

# One crash point after the other


@pytest.fixture(scope="module")
def crash_lab():
    with Lab(order={"CHECKOUT_TIMEOUT_SECONDS": "4"}) as lab:
        yield lab
        lab.reset()
        invariants.check(lab.api, [])
    # Every service ends well after all of this; their stores are looked at in the tests of the stack.


@pytest.fixture
def crashing(crash_lab):
    crash_lab.reset()
    return crash_lab


def ask(api: Api, key: str, user: str, item: int, **more):
    try:
        return api.checkout(key, item, 2, user, **more)
    except httpx.TransportError:
        return None


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["reserve", "charge", "complete"])
@pytest.mark.parametrize("victim", SERVICES)
def test_IK_22_a_service_killed_around_a_step_leaves_one_coherent_outcome(crashing, new_item, key, user, victim, step, when):
    lab, killed = crashing, threading.Event()
    api, item = lab.api, new_item(lab.api)
    before = api.captured()

    def act(exchange):
        if when == "after":
            exchange.forward()
        getattr(lab, victim).kill()
        killed.set()
        exchange.close()
    (lab.to_payment if step == "charge" else lab.to_stock).on(step, act, times=1)
    first = Background(lambda: ask(api, key, user, item))
    assert killed.wait(15), f"the {step} never came"
    getattr(lab, victim).spawn().wait_ready()
    answers = [first.result()]
    # Nobody has to ask for it: recovery alone must bring it to an end.
    eventually(lambda: all(o["status"] != "pending" for o in api.orders_of(user)), "every order is terminal", 40, 0.1)
    answers.append(api.until_definite(key, item=item, quantity=2, user=user))
    assert assert_json(answers[-1])["status"] == "completed"
    assert api.numbers(item) == (98, 0, 98)
    captured, refunded = api.captured()
    assert (captured - refunded) - (before[0] - before[1]) == 2000, "the ledger's net is the total, once"
    invariants.check(api, [Sent(key, user, {"item": item, "quantity": 2}, answers)], only_orders_charge=False)


@pytest.mark.parametrize("step", ["release", "refund"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_IK_22_order_killed_in_its_compensation_finishes_it(crashing, new_item, key, user, step, when):
    lab, killed = crashing, threading.Event()
    api, item = lab.api, new_item(lab.api)
    before = api.captured()

    def act(exchange):
        if when == "after":
            exchange.forward()
        lab.order.kill()
        killed.set()
        exchange.close()
    (lab.to_payment if step == "refund" else lab.to_stock).on(step, act, times=1)
    # The reservation is taken away while the charge runs, so that complete is refused for good.
    lab.to_payment.on("charge", fakes.before_answer(lambda _: assert_json(api.release(api.orders_of(user)[0]["reservationId"], user))), times=1)
    first = Background(lambda: ask(api, key, user, item))
    assert killed.wait(15), f"the {step} never came"
    lab.order.spawn().wait_ready()
    first.result()
    eventually(lambda: [o["status"] for o in api.orders_of(user)] == ["failed"], "the order has failed", 40, 0.1)
    assert api.numbers(item) == (100, 0, 100)
    assert api.captured() == (before[0] + 2000, before[1] + 2000)
    invariants.check(api, [Sent(key, user, {"item": item, "quantity": 2})], only_orders_charge=False)


def test_IK_22_a_crash_during_the_recovery_of_a_crash_changes_nothing(crashing, new_item, key, user):
    lab = crashing
    api, item, seen = lab.api, new_item(lab.api), threading.Semaphore(0)

    def act(exchange):
        exchange.forward()
        lab.order.kill()
        seen.release()
        exchange.close()
    lab.to_payment.on("charge", act, times=3)
    first = Background(lambda: ask(api, key, user, item))
    for _ in range(3):
        assert seen.acquire(timeout=20), "recovery never asked for the charge again"
        lab.order.spawn()  # and it may be killed again before it is even ready
    lab.order.wait_ready()
    first.result()
    answer = api.until_definite(key, item=item, quantity=2, user=user)
    assert assert_json(answer)["status"] == "completed"
    assert api.numbers(item) == (98, 0, 98)
    assert len({r.json().get("chargeId") for r in lab.to_payment.seen("/charge$")}) == 1
    invariants.check(api, [Sent(key, user, {"item": item, "quantity": 2}, [answer])], only_orders_charge=False)


# Under load, through nginx

@pytest.fixture(scope="module")
def crash_stack():
    stack = Stack({"SHUTDOWN_TIMEOUT_SECONDS": "10"})
    try:
        stack.start()
        yield stack
        for service in SERVICES:
            stack.logs(service)  # INV-18
        stack.stop(keep=True)
        invariants.check_stores(stack.data_dir)
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def crash_api(crash_stack):
    api = Api.through_nginx(crash_stack)
    yield api
    api.close()


def drive(api: Api, sent: Sent, until: float) -> None:
    """What a good client does: sends it again with the same key until the outcome is definite."""
    while time.monotonic() < until:
        try:
            answer = api.checkout(sent.key, user=sent.user, **sent.command)
        except httpx.TransportError:
            answer = None
        sent.answers.append(answer)
        if answer is not None and answer.status_code < 500 and answer.status_code not in (408, 429):
            if not (answer.status_code == 409 and answer.json()["code"] == "request-in-progress"):
                return
        time.sleep(0.1)
    last = sent.answers[-1]
    raise AssertionError(f"no definite outcome for {sent.command}, at last {last is not None and last.text}")


@pytest.mark.parametrize("victim", SERVICES)
def test_IK_22_kill_9_during_a_slow_charge_has_one_outcome(crash_stack, crash_api, new_item, key, user, victim):
    api, item = crash_api, new_item(crash_api)
    sent = Sent(key, user, {"item": item, "quantity": 2, "method": "test_slow"})
    client = Background(lambda: drive(api, sent, time.monotonic() + 60))
    eventually(lambda: api.orders_of(user) and api.numbers(item)[1] == 2, "the goods are held", 10)
    time.sleep(0.5)  # well within the three seconds of the charge
    old = crash_stack.kill(victim)
    crash_stack.wait_restarted(victim, old)
    client.result(70)
    assert sent.answers[-1].status_code == 200, sent.answers[-1].text
    assert api.numbers(item) == (98, 0, 98)
    invariants.check(api, [sent])


@pytest.mark.parametrize("victims", [["order"], ["stock"], ["payment"], list(SERVICES)], ids=lambda v: "+".join(v))
def test_IK_22_kill_9_under_load_has_one_outcome_for_every_key(crash_stack, crash_api, new_item, victims):
    api, run = crash_api, uuid.uuid4().hex[:8]
    plenty, scarce = new_item(api, 10_000, money(1999)), new_item(api, 40, money(333, "JPY"))
    methods = [None, None, None, None, "test_declined", "test_error_then_ok", "test_unknown_then_ok", None, None, "test_insufficient_funds"]
    sent = []
    for i in range(160):
        command = {"item": scarce if i % 3 == 0 else plenty, "quantity": 1 + i % 2}
        if methods[i % len(methods)]:
            command["method"] = methods[i % len(methods)]
        sent.append(Sent(new_key(), f"{run}-{i % 4}", command))
    until = time.monotonic() + 90
    with ThreadPoolExecutor(16) as pool:
        running = [pool.submit(drive, api, one, until) for one in sent]
        for _ in range(2):
            time.sleep(random.uniform(0.2, 0.6))
            killed = [(victim, crash_stack.kill(victim)) for victim in victims]
            for victim, old in killed:
                crash_stack.wait_restarted(victim, old)
        for one in running:
            one.result(120)
    for one in sent:
        last = one.answers[-1]
        allowed = {"test_declined": {402, 409}, "test_insufficient_funds": {402, 409}}.get(one.command.get("method"), {200, 409})
        assert last.status_code in allowed, f"{one.command}: {last.text}"
        if last.status_code == 409:
            assert last.json()["code"] == "insufficient-stock" and one.command["item"] == scarce, last.text
    sold = {item: sum(one.command["quantity"] for one in sent if one.command["item"] == item and one.answers[-1].status_code == 200)
            for item in (plenty, scarce)}
    invariants.check(api, sent)
    assert api.numbers(plenty) == (10_000 - sold[plenty], 0, 10_000 - sold[plenty])
    assert api.numbers(scarce) == (40 - sold[scarce], 0, 40 - sold[scarce])


def test_IK_22_what_was_answered_survives_the_death_of_everything(crash_stack, crash_api, new_item, user):
    """INV-9: an answer that a client holds is never taken back."""
    api, item = crash_api, new_item(crash_api)
    sent = [Sent(new_key(), user, {"item": item, "quantity": 1}) for _ in range(5)]
    for one in sent:
        one.answers.append(api.checkout(one.key, user=user, **one.command))
        assert_first(one.answers[0])
    killed = [(service, crash_stack.kill(service)) for service in SERVICES]
    for service, old in killed:
        crash_stack.wait_restarted(service, old)
    invariants.check(api, sent)
    assert api.numbers(item) == (95, 0, 95)
