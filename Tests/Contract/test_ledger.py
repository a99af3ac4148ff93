"""The ledger, and checkouts that are paid from an account: through nginx, with every service's totals beside it."""

import sqlite3
import uuid
from contextlib import closing

import pytest

from api import Api, Background, assert_first, assert_json, assert_problem, at_once, money, new_key
from stack import Service, eventually, get
from test_audit import Shop, found


@pytest.fixture
def wallet(api, user):
    """The user has 50.00 USD."""
    return assert_first(api.open_account(user, 50), 201)["accountId"]


# ---------------------------------------------------------------- a checkout from an account

def test_a_checkout_is_paid_from_the_users_account(api, wallet, item, user, key):
    before = api.captured()
    order = assert_first(api.checkout(key, item, 2, user))
    assert order["total"] == money(2000) and api.balance(user) == 3000
    charge = assert_json(api.charge_of(order["chargeId"], user))
    assert charge["method"] == "wallet" and charge["status"] == "succeeded"
    assert api.captured() == (before[0] + 2000, before[1])
    page = assert_json(api.account(wallet, user, "/transactions"))["transactions"]
    assert page[0]["transactionId"] == order["chargeId"] and page[0]["change"] == money(-2000)
    assert api.checkout(key, item, 2, user).content and api.balance(user) == 3000  # a replay takes nothing


def test_too_little_in_the_account_is_402_and_the_goods_are_back(api, wallet, item, user, key):
    body = assert_problem(api.checkout(key, item, 6, user), 402, "payment-declined")
    assert body["declineCode"] == "insufficient_funds"
    assert api.numbers(item) == (100, 0, 100) and api.balance(user) == 5000
    assert_first(api.deposit(new_key(), 10, user))
    assert_first(api.checkout(key, item, 6, user))  # IK-18: the same key, now that there is enough
    assert api.balance(user) == 0 and api.numbers(item) == (94, 0, 94)


def test_without_an_account_in_the_currency_or_with_a_method_the_provider_pays(api, new_item, item, user):
    euro = new_item(api, 10, money(100, "EUR"))
    assert_first(api.open_account(user, 50), 201)
    assert_first(api.checkout(new_key(), euro, 1, user))
    assert_first(api.checkout(new_key(), item, 1, user, method="card"))
    assert_problem(api.checkout(new_key(), item, 1, user, method="test_declined"), 402, "payment-declined")
    assert_first(api.checkout(new_key(), item, 1))
    assert api.balance(user) == 5000


def test_checkouts_racing_for_one_account_never_overdraw_it(api, wallet, item, user):
    answers = at_once(20, lambda _: api.checkout(new_key(), item, 1, user))
    assert sorted(a.status_code for a in answers) == [200] * 5 + [402] * 15
    api.wait_settled()
    assert api.balance(user) == 0 and api.numbers(item) == (95, 0, 95)


def test_a_refund_goes_back_to_the_account(api, wallet, item, user):
    order = assert_first(api.checkout(new_key(), item, 3, user))
    assert_first(api.refund(new_key(), order["chargeId"], money(500), user))
    assert api.balance(user) == 2500
    assert_first(api.refund(new_key(), order["chargeId"], user=user))
    assert api.balance(user) == 5000
    assert [e["type"] for e in api.events(order["chargeId"], user)] == ["succeeded", "refunded", "refunded"]


# ---------------------------------------------------------------- events

def test_every_step_of_a_charge_is_in_its_trail(api, key):
    charge = str(uuid.uuid4())
    assert api.charge(key, chargeId=charge, method="test_timeout_after_charge").status_code == 504
    # Now, or by Payment itself in between.
    assert_json(api.charge(key, chargeId=charge, method="test_timeout_after_charge"))
    events = api.events(charge)
    assert [(e["sequence"], e["type"], e["amount"]) for e in events] == [
        (1, "pending", money(2000)), (2, "succeeded", money(2000))]
    assert_problem(api.call("GET", "payment", f"/charges/{charge}/events", user="eve"), 404, "charge-not-found")
    assert_problem(api.call("GET", "payment", f"/charges/{uuid.uuid4()}/events"), 404, "charge-not-found")


# ---------------------------------------------------------------- the check

def test_the_ledger_is_balanced_after_all_that_clients_do(api, wallet, item, user, key):
    before = api.ledger()
    assert before["balanced"] is True
    order = assert_first(api.checkout(key, item, 1, user))
    assert_first(api.refund(new_key(), order["chargeId"], money(100), user))
    assert_first(api.charge(new_key(), money(700)))
    assert_first(api.deposit(new_key(), 1, user))
    after = api.ledger()
    assert after["balanced"] is True and after["faultyEntries"] == after["faultyAccounts"] == 0
    assert after["entries"] == before["entries"] + 4
    for line in after["currencies"]:
        assert line["debits"] == line["credits"], line


def test_the_check_is_true_while_money_moves(api, wallet, item, user):
    moving = Background(lambda: [api.deposit(new_key(), 1, user).status_code for _ in range(150)])
    while not moving.done:
        assert api.ledger()["balanced"] is True
    assert set(moving.result()) == {200}


# ---------------------------------------------------------------- long work, and the requests meanwhile

def alive_while(url: str, is_going_on) -> int:
    """How many times in a row a service has answered while something went on."""
    count = 0
    while count < 1000 and is_going_on():
        assert get(f"{url}/health/live", 30).status_code == 200
        count += 1
    return count


def numbers(count: int, insert: str) -> str:
    return f"WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count}) {insert}"


def fill(path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA synchronous = OFF")
        for statement in statements:
            db.execute(statement)
        db.commit()


def test_requests_are_answered_while_a_long_ledger_is_checked(tmp_path):
    with Service("payment", data_dir=tmp_path) as service:
        api = Api(service.url, service.url, service.url)
        assert_first(api.open_account("ann", 1), 201)
        assert service.terminate() == 0
        fill(tmp_path / "payment.sqlite", numbers(
            200_000, "INSERT INTO ledger_entries (transaction_id, type, debit_account, credit_account, amount, currency,"
            " created_at) SELECT 'd', 'deposit', -100211904, 1, 1, 'USD', 0 FROM n"))
        service.start()
        check = Background(lambda: api.call("GET", "payment", "/ledger/check"))
        assert alive_while(service.url, lambda: not check.done) >= 10
        body = assert_json(check.result())
        assert body["balanced"] is True and body["entries"] == 200_001
        api.close()


SWEPT = {
    "charges of before the ledger": (
        "payment", "SELECT count(*) FROM charges WHERE in_ledger = 0",
        "INSERT INTO charges (charge_id, user_id, method, amount, currency, status, operation_key, created_at)"
        " SELECT 'c' || n, '', 'card', 1000, 'USD', 'succeeded', 'k' || n, 0 FROM n"),
    "keys whose time is over": (
        "payment", "SELECT count(*) FROM idempotency_keys",
        "INSERT INTO idempotency_keys (user_id, operation, key, fingerprint, state, attempt, reference, expires_at)"
        " SELECT '', 'charge', 'k' || n, x'00', 'failed', 1, 'r', 1 FROM n"),
    "reservations whose time is over": (
        "stock", "SELECT count(*) FROM reservations WHERE status = 'reserved'",
        "INSERT INTO reservations (reservation_id, status, lines, total, currency, created_at, expires_at)"
        " SELECT 'r' || n, 'reserved', '{\"lines\":[]}', 0, 'USD', 0, 1 FROM n"),
}


@pytest.mark.parametrize("what", SWEPT)
def test_requests_are_answered_while_much_is_swept(tmp_path, what):
    name, rest, insert = SWEPT[what]
    with Service(name, data_dir=tmp_path) as service:
        assert service.terminate() == 0
        path = tmp_path / f"{name}.sqlite"
        fill(path, numbers(60_000, insert))
        service.spawn()
        eventually(lambda: get(f"{service.url}/health/live", 30).status_code == 200, "it answers", every=0.001)
        with closing(sqlite3.connect(path)) as db:
            assert alive_while(service.url, lambda: db.execute(rest).fetchone()[0] > 0) >= 10
            eventually(lambda: db.execute(rest).fetchone()[0] == 0, "all is swept", 60)


@pytest.fixture(scope="module")
def shop():
    shop = Shop()
    shop.start()
    yield shop
    shop.stop()


def test_the_audit_is_clean_with_accounts_and_finds_a_balance_that_never_moved(shop, user):
    api = shop.api
    account = assert_first(api.open_account(user, 50), 201)["accountId"]
    assert_first(api.checkout(new_key(), 1, 2, user))
    assert_first(api.charge(new_key(), money(700)))
    report = shop.clean()
    assert report["counts"]["accounts"]["total"] == 4
    shop.tamper("payment", "UPDATE accounts SET balance_low = balance_low + 1 WHERE kind = 'wallet'")
    code, report = shop.judge()
    assert (code, found(report)) == (1, [("INV-11", {account})])
    assert "30.01 USD" in report["findings"][0]["explanation"]
    assert shop.api.ledger()["balanced"] is False
    shop.tamper("payment", "UPDATE accounts SET balance_low = balance_low - 1 WHERE kind = 'wallet'")
    shop.clean()


def test_the_audit_finds_a_charge_that_was_entered_twice(shop, user):
    api = shop.api
    charge = assert_first(api.charge(new_key(), money(700)))["chargeId"]
    shop.clean()
    shop.tamper("payment", "INSERT INTO ledger_entries (transaction_id, type, debit_account, credit_account, amount, currency,"
                " created_at) SELECT transaction_id, type, debit_account, credit_account, amount, currency, created_at"
                f" FROM ledger_entries WHERE transaction_id = '{charge}'")
    assert api.ledger()["balanced"] is True  # The books balance: it is the charges that say less was sold.
    code, report = shop.judge()
    assert (code, found(report)) == (1, [("INV-11", {"USD"})])
    assert "7.00 USD stand in it twice" in report["findings"][0]["explanation"]


# ---------------------------------------------------------------- from the version before

def test_a_store_of_the_version_before_the_ledger_is_brought_up_to_date(tmp_path):
    """The schema of then, as Payment left it: with a paid charge, one refunded in part, a declined one and a key."""
    with Service("payment", data_dir=tmp_path) as service:
        assert service.terminate() == 0
    with closing(sqlite3.connect(tmp_path / "payment.sqlite")) as db:
        back_to_before_the_ledger(db)
        for number, (status, refunded) in enumerate([("succeeded", 0), ("succeeded", 300), ("failed", 0)]):
            db.execute("INSERT INTO charges (charge_id, user_id, method, amount, currency, refunded, status, operation_key,"
                       " created_at) VALUES (?, '', 'card', 1000, 'USD', ?, ?, ?, 1767225600000)",
                       (f"old-{number}", refunded, status, f"key-{number}"))
        db.execute("INSERT INTO refunds (refund_id, charge_id, user_id, amount, status, operation_key, created_at) VALUES ('old-refund', 'old-1', '', 300, 'succeeded', 'key', 1767225600000)")
        db.commit()
    with Service("payment", data_dir=tmp_path) as service:
        api = Api(service.url, service.url, service.url)
        for _ in range(50):
            check = api.ledger()
            if check["entries"] == 3:
                break
        assert check["balanced"] is True and check["entries"] == 3
        assert check["currencies"] == [{"currency": "USD", "debits": 2300, "credits": 2300}]
        assert api.captured() == (2000, 300)
        assert_first(api.refund(new_key(), "old-1"))
        assert api.ledger()["currencies"][0]["debits"] == 3000
        api.close()


def back_to_before_the_ledger(db) -> None:
    """Undoes the migration "ledger" by hand; the next start must make it again."""
    for kind in ("trigger", "index", "table"):
        names = [r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type = ? AND sql IS NOT NULL", (kind,))]
        for name in names:
            if kind != "table" and ("ledger" in name or "never" in name or "wallets" in name):
                db.execute(f"DROP {kind} {name}")
            if name in ("accounts", "ledger_entries", "ledger_sums", "movements", "payment_events"):
                db.execute(f"DROP TABLE {name}")
    db.execute("ALTER TABLE charges DROP COLUMN wallet")
    db.execute("ALTER TABLE charges DROP COLUMN in_ledger")
    db.execute("ALTER TABLE refunds DROP COLUMN in_ledger")
    assert db.execute("DELETE FROM grdb_migrations WHERE identifier IN ('ledger', 'accounts are claimed',"
                      " 'keys of movements by caller', 'movements are kept',"
                      " 'dropped charges are known by their events', 'entries of accounts are counted')").rowcount == 6
