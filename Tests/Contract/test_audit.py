"""`checkout audit`: clean after all that clients do, and exact about what has been tampered with."""

import json
import sqlite3
import uuid
from contextlib import closing

import pytest

import raw
from api import Api, Background, assert_first, assert_json, assert_problem, money, new_key
from stack import SERVICES, Service, eventually, free_ports, run


class Shop:
    """The three services without nginx, on stores that can be changed while they are stopped."""

    def __init__(self):
        self.stock = Service("stock")
        # Payments through a provider that cannot be reached are given up within seconds.
        self.payment = Service("payment", {"GATEWAY_BACKOFF_BASE_SECONDS": "3", "GATEWAY_BACKOFF_MAX_SECONDS": "3"})
        self.order = Service("order", {"STOCK_BASE_URL": self.stock.url, "PAYMENT_BASE_URL": self.payment.url})
        self.api = Api(self.order.url, self.stock.url, self.payment.url)

    def service(self, name: str) -> Service:
        return getattr(self, name)

    def start(self) -> "Shop":
        try:
            for name in SERVICES:
                self.service(name).spawn()
            for name in SERVICES:
                self.service(name).wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        self.api.close()
        for name in SERVICES:
            self.service(name).stop()

    def tamper(self, name: str, *statements: str) -> None:
        """Changes a store while its service is stopped. Every statement must change one row."""
        service = self.service(name)
        assert service.terminate() == 0
        with closing(sqlite3.connect(service.data_dir / f"{name}.sqlite")) as db:
            for statement in statements:
                assert db.execute(statement).rowcount == 1, statement
            db.commit()
        service.start()

    def audit(self, *flags: str, env: dict | None = None) -> tuple[int, str, str]:
        urls = ["--order", self.order.url, "--stock", self.stock.url, "--payment", self.payment.url]
        return audit(*urls, *flags, env=env)

    def judge(self) -> tuple[int, dict]:
        """The audit of a quiet moment, for a program."""
        code, out, err = self.audit("--json", "--grace", "0")
        assert not err, err
        assert out.count("\n") == 1, "one object on one line"
        return code, json.loads(out)

    def clean(self) -> dict:
        code, report = self.judge()
        assert (code, report["findings"]) == (0, []), report["findings"]
        assert report["clean"] is True
        return report


def audit(*args: str, env: dict | None = None, within: float = 60) -> tuple[int, str, str]:
    return run("audit", *args, env=env, within=within)


def found(report: dict) -> list[tuple[str, set[str]]]:
    return [(f["invariant"], {s["id"] for s in f["subjects"]}) for f in report["findings"]]


@pytest.fixture(scope="module")
def shop():
    shop = Shop()
    shop.start()
    yield shop
    shop.stop()


@pytest.fixture
def api(shop):
    return shop.api


@pytest.fixture
def sold(shop, item, user, key):
    """A completed order in a shop that is clean before."""
    order = assert_json(shop.api.checkout(key, item, 2, user))
    shop.clean()
    return order


def test_an_audit_is_clean_after_all_that_clients_may_do(shop, item, user):
    api, before = shop.api, shop.clean()
    key = new_key()
    order = assert_json(api.checkout(key, item, 2, user))
    assert api.checkout(key, item, 2, user).status_code == 200  # a replay
    assert_problem(api.checkout(new_key(), item, 3, user, method="test_declined"), 402, "payment-declined")
    retried = new_key()
    for _ in range(2):  # a key that fails may be tried again
        assert_problem(api.checkout(retried, item, 1_000, user), 409, "insufficient-stock")
    assert_json(api.checkout(new_key(), item, 1, user, method="test_timeout_after_charge"))
    cart = {"lines": [{"itemId": item, "quantity": 1}, {"itemId": 1, "quantity": 2}]}
    assert_json(api.checkout(new_key(), user=user, body=cart))

    # A slow charge whose reservation is taken away: charged, released and refunded.
    slow = Background(lambda: api.checkout(new_key(), item, 1, user, method="test_slow"))
    reservation = wait_for_reservation(api, user)
    assert_json(api.release(reservation))
    assert_problem(slow.result(), 503, "checkout-unavailable")

    # Clients of Stock and Payment, without Order.
    for end in (api.release, api.complete):
        reserved = assert_json(api.reserve(new_key(), item, 1, user))
        assert_json(end(reserved["reservationId"]))
    assert_json(api.reserve(new_key(), item, 1, user))
    assert_json(api.release(f"never-seen:~{uuid.uuid4()}"))
    charge = assert_json(api.charge(new_key(), money(700, "JPY"), user))
    assert_json(api.refund(new_key(), charge["chargeId"], money(200, "JPY"), user))
    assert_json(api.charge(new_key(), money(500), user, orderId="shop-17"))
    assert_json(api.charge(new_key(), money(500), user, orderId=str(uuid.uuid4())))
    assert_problem(api.charge(new_key(), money(500), user, method="test_declined"), 402, "payment-declined")
    # A part of an order's price is given back as a favour: a matter between the client and Payment.
    assert_json(api.refund(new_key(), order["chargeId"], money(300), user))

    report = shop.clean()
    orders = {s: report["counts"]["orders"][s] - before["counts"]["orders"][s] for s in ("completed", "failed", "pending")}
    assert orders == {"completed": 3, "failed": 4, "pending": 0}
    totals = {t["currency"]: t for t in report["totals"]}
    assert (totals["JPY"]["capturedDirectly"], totals["JPY"]["refundedDirectly"]) == (700, 200)
    usd, old = totals["USD"], next((t for t in before["totals"] if t["currency"] == "USD"), None)
    change = {name: usd[name] - (old[name] if old else 0) for name in usd if name != "currency"}
    assert change == {"completedOrders": 6000, "capturedForOrders": 7000, "refundedForOrders": 1300,
                      "returnedByClients": 300, "capturedDirectly": 1000, "refundedDirectly": 0}

    code, out, err = shop.audit("--grace", "0")
    assert (code, err) == (0, "")
    assert out.endswith("Everything matches.\n")
    assert user not in out


def wait_for_reservation(api: Api, user: str) -> str:
    def reserved():
        newest = next(iter(api.orders_of(user)), None)
        if newest is None or newest["status"] != "pending":
            return None
        answer = api.reservation(newest["reservationId"])
        return answer.status_code == 200 and answer.json()["status"] == "reserved" and newest["reservationId"]
    return eventually(reserved, "the order has its reservation", 10)


# What was tampered with is named, and nothing else; the sums of money go with it.

def test_INV_8_a_charge_that_is_gone_is_found(shop, sold):
    store = shop.payment.data_dir / "payment.sqlite"
    with closing(sqlite3.connect(store)) as db:
        db.row_factory = sqlite3.Row
        row = dict(db.execute("SELECT * FROM charges WHERE charge_id = ?", (sold["chargeId"],)).fetchone())
    shop.tamper("payment", f"DELETE FROM charges WHERE charge_id = '{sold['chargeId']}'")
    code, report = shop.judge()
    assert code == 1 and report["clean"] is False
    assert found(report) == [
        ("INV-8", {sold["orderId"], sold["chargeId"]}), ("INV-11", {"USD"}), ("INV-3", {"USD"})]
    assert "nothing was paid" in report["findings"][0]["explanation"]
    assert "for no charge" in report["findings"][1]["explanation"]
    assert report["findingCounts"] == {"INV-3": 1, "INV-8": 1, "INV-11": 1}

    code, out, _ = shop.audit("--grace", "0")
    assert code == 1
    assert f"INV-8  order {sold['orderId']}  charge {sold['chargeId']}\n" in out
    assert out.endswith("3 findings: INV-3: 1, INV-8: 1, INV-11: 1.\n")
    # Younger than the grace, the order does not count yet; the ledger is whole at any moment.
    code, out, _ = shop.audit("--json")
    assert found(json.loads(out)) == [("INV-11", {"USD"})]

    names = ", ".join(row)
    values = ", ".join("NULL" if v is None else repr(v) for v in row.values())
    shop.tamper("payment", f"INSERT INTO charges ({names}) VALUES ({values})")
    shop.clean()


@pytest.mark.parametrize("service, change, undo, expected", [
    ("payment", "UPDATE charges SET amount = amount + 1 WHERE charge_id = '{chargeId}'",
     "UPDATE charges SET amount = amount - 1 WHERE charge_id = '{chargeId}'",
     [("INV-8", ("orderId", "chargeId")), ("INV-11", ("USD",)), ("INV-3", ("USD",))]),
    ("payment", "UPDATE charges SET status = 'failed' WHERE charge_id = '{chargeId}'",
     "UPDATE charges SET status = 'succeeded' WHERE charge_id = '{chargeId}'",
     [("INV-8", ("orderId", "chargeId")), ("INV-3", ("USD",))]),
    ("payment", "UPDATE charges SET refunded = 500 WHERE charge_id = '{chargeId}'",
     "UPDATE charges SET refunded = 0 WHERE charge_id = '{chargeId}'",
     [("INV-4", ("chargeId",))]),
    ("order", "UPDATE orders SET status = 'failed' WHERE order_id = '{orderId}'",
     "UPDATE orders SET status = 'completed' WHERE order_id = '{orderId}'",
     [("INV-1", ("orderId",))]),
    ("order", "UPDATE orders SET total = total * 2 WHERE order_id = '{orderId}'",
     "UPDATE orders SET total = total / 2 WHERE order_id = '{orderId}'",
     [("INV-3", ("orderId",))]),
    ("stock", "UPDATE reservations SET total = total + 1 WHERE reservation_id = '{reservationId}'",
     "UPDATE reservations SET total = total - 1 WHERE reservation_id = '{reservationId}'",
     [("INV-8", ("orderId", "reservationId"))]),
    ("stock", "UPDATE reservations SET status = 'canceled' WHERE reservation_id = '{reservationId}'",
     "UPDATE reservations SET status = 'completed' WHERE reservation_id = '{reservationId}'",
     [("INV-8", ("orderId", "reservationId")), ("INV-7", ("item",))]),
    ("stock", "UPDATE items SET received = received + 5, on_hand = on_hand + 5, reserved = reserved + 5 WHERE item_id = {item}",
     "UPDATE items SET received = received - 5, on_hand = on_hand - 5, reserved = reserved - 5 WHERE item_id = {item}",
     [("INV-7", ("item",))]),
])
def test_what_was_tampered_with_is_named_and_nothing_else(shop, sold, item, service, change, undo, expected):
    names = {**sold, "item": str(item), "USD": "USD"}
    shop.tamper(service, change.format(**names))
    code, report = shop.judge()
    assert code == 1
    assert found(report) == [(invariant, {names[n] for n in subjects}) for invariant, subjects in expected]
    shop.tamper(service, undo.format(**names))
    shop.clean()


def test_INV_4_an_order_that_Order_has_lost_is_found_by_its_charge(shop, sold):
    store = shop.order.data_dir / "order.sqlite"
    with closing(sqlite3.connect(store)) as db:
        db.row_factory = sqlite3.Row
        row = dict(db.execute("SELECT * FROM orders WHERE order_id = ?", (sold["orderId"],)).fetchone())
    shop.tamper("order", f"DELETE FROM orders WHERE order_id = '{sold['orderId']}'")
    code, report = shop.judge()
    assert code == 1
    assert found(report) == [("INV-4", {sold["orderId"], sold["chargeId"]}), ("INV-3", {"USD"})]
    assert "restore" in report["findings"][0]["explanation"]

    names = ", ".join(row)
    values = ", ".join("NULL" if v is None else "'" + v.replace("'", "''") + "'" if isinstance(v, str) else str(v)
                       for v in row.values())
    shop.tamper("order", f"INSERT INTO orders ({names}) VALUES ({values})")
    shop.clean()


def test_INV_8_what_a_store_that_was_restored_has_lost_is_entered_again_as_the_manual_says(tmp_path):
    """With a price that was changed after the copy: a reservation that is made anew holds today's for ever."""
    shop = Shop().start()
    try:
        api = shop.api

        def price(amount: str) -> None:
            assert_json(api.call("PUT", "stock", "/items/1", {"name": "one", "price": float(amount)}))

        def tool(name: str, verb: str, flag: str) -> None:
            code, _, err = run(verb, "--data-dir", str(shop.service(name).data_dir), flag, str(tmp_path), name)
            assert code == 0, err
        price("12.34")
        for name in ("stock", "payment"):
            tool(name, "backup", "--to")
        order = assert_json(api.checkout(new_key(), 1, 2, "ann"))
        price("13.00")
        for name in ("stock", "payment"):
            assert shop.service(name).terminate() == 0
            tool(name, "restore", "--from")
            shop.service(name).start()
        price("13.00")
        code, report = shop.judge()
        assert code == 1 and {f["invariant"] for f in report["findings"]} == {"INV-3", "INV-8"}

        price(str(order["lines"][0]["unitPrice"]["amount"] / 100))
        body = {"reservationId": order["reservationId"], "lines": [{"itemId": 1, "quantity": 2}]}
        assert_json(api.call("POST", "stock", "/reserve", body, new_key(), "ann"))
        assert_json(api.complete(order["reservationId"]))
        price("13.00")
        body = {"chargeId": order["chargeId"], "orderId": order["orderId"], "amount": float(order["totalFee"]), "method": "card"}
        assert_json(api.call("POST", "payment", "/charge", body, f"audit-{order['chargeId']}", "ann"))
        shop.clean()
    finally:
        shop.stop()


def test_INV_4_a_second_charge_for_an_order_is_found(shop, sold, user):
    charge = assert_json(shop.api.charge(new_key(), money(2000), user, orderId=sold["orderId"]))["chargeId"]
    code, report = shop.judge()
    assert code == 1
    assert found(report) == [("INV-4", {sold["orderId"], charge, sold["chargeId"]}), ("INV-3", {"USD"})]
    assert_json(shop.api.refund(new_key(), charge, user=user))
    shop.clean()


def test_INV_6_an_order_that_hangs_is_found_with_what_it_holds(shop, item, user):
    slow = Background(lambda: shop.api.checkout(new_key(), item, 1, user, method="test_slow"))
    wait_for_reservation(shop.api, user)
    order = shop.api.orders_of(user)[0]
    code, report = shop.judge()
    assert code == 1
    assert ("INV-6", {order["orderId"], order["reservationId"], order["chargeId"]}) in found(report)
    # At a busy moment what is younger than the grace is no finding.
    assert shop.audit("--grace", "60")[0] == 0
    assert_json(slow.result())
    shop.clean()


def test_INV_11_what_is_set_aside_for_an_open_payment_is_no_finding_and_what_is_not_is_one(shop, user):
    """Nobody is where the provider should be, so that the payment stays open for as long as this takes."""
    account = assert_first(shop.api.open_account(user, 102), 201)["accountId"]
    body = {"type": "external_payment", "sourceAccountId": account, "amount": 10, "provider": "paypal"}
    payment = assert_first(shop.api.call("POST", "payment", "/payments", body, new_key(), user), 202)["paymentId"]
    assert assert_json(shop.api.call("GET", "payment", "/audit/clearing"))["entries"] == [
        {"accountId": "clearing:paypal:USD", "currency": "USD", "balance": "-1000", "held": "1000"}]
    code, out, _ = shop.audit("--json")
    assert code == 0, out
    shop.tamper("payment", f"UPDATE payments SET held = 600 WHERE payment_id = '{payment}'")
    code, out, _ = shop.audit("--json")
    assert code == 1 and found(json.loads(out)) == [("INV-11", {"clearing:paypal:USD"})]
    assert "4.00 USD of customers' money is held for nothing" in out
    shop.tamper("payment", f"UPDATE payments SET held = 1000 WHERE payment_id = '{payment}'")
    assert shop.audit("--json")[0] == 0

    def ended():
        answer = assert_json(shop.api.call("GET", "payment", f"/payments/{payment}", user=user))
        return answer["status"] == "failed"
    eventually(ended, "the payment is given up", 60, every=0.5)
    shop.clean()


def test_an_audit_while_checkouts_are_made_finds_nothing(shop, item, user):
    def buy():
        for number in range(60):
            method = (None, "test_declined", "test_error_then_ok")[number % 3]
            shop.api.checkout(new_key(), item, 1, user, method=method)
    busy = Background(buy)
    audits = 0
    while not busy.done or audits == 0:
        code, out, err = shop.audit("--json")
        assert (code, err) == (0, ""), out
        audits += 1
    busy.result()
    shop.clean()


# The command

@pytest.mark.parametrize("down", SERVICES)
def test_a_service_that_cannot_be_read_is_named_and_the_audit_ends_with_69(shop, down):
    addresses = {name: shop.service(name).url for name in SERVICES}
    addresses[down] = f"http://127.0.0.1:{free_ports(1)[0]}"
    code, out, err = audit(*(x for name in SERVICES for x in (f"--{name}", addresses[name])))
    assert (code, out) == (69, "")
    assert err.startswith(f"Error: {down.capitalize()} cannot be read at {addresses[down]}/audit/")


def test_the_wrong_service_behind_an_address_is_told(shop):
    code, _, err = audit("--order", shop.stock.url, "--stock", shop.stock.url, "--payment", shop.payment.url)
    assert code == 69 and "no such route" in err and "nginx" in err


def test_the_addresses_and_times_are_taken_from_the_environment_and_flags_win(shop):
    env = {"ORDER_BASE_URL": shop.order.url, "STOCK_BASE_URL": shop.stock.url, "PAYMENT_BASE_URL": shop.payment.url,
           "CHECKOUT_TIMEOUT_SECONDS": "12"}
    code, out, _ = audit("--json", env=env)
    assert code == 0 and json.loads(out)["graceSeconds"] == 42
    nowhere = {**env, "ORDER_BASE_URL": "http://127.0.0.1:9"}
    code, out, _ = audit("--json", "--order", shop.order.url, "--grace", "1.5", env=nowhere)
    assert code == 0 and json.loads(out)["graceSeconds"] == 1.5
    code, _, err = audit(env={**env, "STOCK_BASE_URL": "nonsense"})
    assert code == 78 and "STOCK_BASE_URL" in err


@pytest.mark.parametrize("flags", [["--order", "nonsense"], ["--stock", "ftp://x"], ["--grace", "-1"], ["--grace", "soon"],
                                   ["--key-life", "x"], ["--unknown"], ["more"]])
def test_a_flag_that_cannot_be_used_is_named_and_ends_with_64(flags):
    code, out, err = audit(*flags)
    assert (code, out) == (64, "")
    assert flags[0] in err


def test_the_help_says_what_it_is_for():
    code, out, _ = audit("--help")
    assert code == 0
    for word in ("--order", "--stock", "--payment", "--grace", "--key-life", "--json", "Exit codes", "nginx"):
        assert word in out
    assert "audit" in run("--help")[1]


@pytest.mark.parametrize("path", ["order/audit/orders", "stock/audit/reservations", "stock/audit/items",
                                  "payment/audit/charges", "payment/audit/charges?id=x", "payment/audit/accounts"])
def test_NX_06_the_audit_routes_are_not_reachable_through_nginx(stack, path):
    assert_problem(raw.request(stack.base, "GET", f"/{path}"), 404, "not-found")


def test_INV_11_money_that_a_provider_has_moved_and_the_ledger_does_not_know_is_found(shop):
    with Service("mock-provider") as provider:
        def judge(*flags: str) -> tuple[int, dict]:
            code, out, err = shop.audit("--json", "--provider-url", provider.url, *flags)
            assert not err, err
            return code, json.loads(out)

        code, report = judge("--grace", "0")
        assert (code, report["findings"], report["counts"]["movements"]) == (0, [], {"total": 0})
        body = {"reference": "unknown-to-us", "kind": "charge", "amount": money(1234)}
        assert_json(raw.request(provider.url, "POST", "/paypal/v1/payments", [
            ("Content-Type", "application/json"), ("Idempotency-Key", "unknown-to-us")], json.dumps(body).encode()))
        code, report = judge("--grace", "0")
        assert code == 1 and found(report) == [("INV-11", {"settlement:paypal:USD"})]
        assert "12.34 USD" in report["findings"][0]["explanation"]
        code, report = judge("--grace", "60")
        assert (code, report["findings"]) == (0, []), "it may still be entered"
        assert shop.clean()["counts"].get("movements") is None, "without the flag the books are not read"
        url = provider.url
    code, out, err = shop.audit("--provider-url", url)
    assert code == 69 and "Provider cannot be read" in err, err
