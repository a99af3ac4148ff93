"""Accounts and transfers (rows W and T of the feature table), through nginx: money that users hold with us."""

import uuid

import pytest

from api import (TIMESTAMP, assert_first, assert_invalid, assert_json, assert_problem, assert_replay, at_once, money,
                 new_key)


@pytest.fixture
def ann():
    return f"ann-{uuid.uuid4()}"


@pytest.fixture
def bob():
    return f"bob-{uuid.uuid4()}"


def opened(api, user: str, balance=0, **more) -> str:
    return assert_first(api.open_account(user, balance, **more), 201)["accountId"]


# ---------------------------------------------------------------- W: an account for a user

def test_W_create_account_deposit_balance(api, ann):
    account = assert_first(api.open_account(ann), 201)
    assert set(account) == {"accountId", "userId", "currency", "balance", "version", "createdAt"}
    assert account["userId"] == ann and account["balance"] == money(0) and TIMESTAMP.match(account["createdAt"])
    deposit = assert_first(api.deposit(new_key(), 100, ann))
    assert deposit["type"] == "deposit" and deposit["amount"] == deposit["balance"] == money(10_000)
    assert api.balance(ann) == 10_000
    withdrawal = assert_first(api.withdraw(new_key(), 2.5, ann))
    assert withdrawal["amount"] == money(250) and withdrawal["balance"] == money(9750)
    assert api.balance(ann) == 9750


def test_W_one_account_for_each_user_and_currency(api, ann, key):
    first = api.open_account(ann, 5, key)
    assert_first(first, 201)
    assert_replay(api.open_account(ann, 5, key), first)
    assert_problem(api.open_account(ann, 6, key), 422, "idempotency-key-reused")
    assert_problem(api.open_account(ann, 5, new_key()), 409, "account-exists")
    assert_problem(api.open_account(ann), 409, "account-exists")
    assert_first(api.open_account(ann, 1.234, currency="KWD"), 201)
    assert (api.balance(ann), api.balance(ann, "KWD")) == (500, 1234)


def test_W_fifty_openings_at_once_make_one_account(api, ann):
    answers = at_once(50, lambda _: api.open_account(ann, 5))
    assert sorted(a.status_code for a in answers) == [201] + [409] * 49
    assert api.balance(ann) == 500


@pytest.mark.parametrize("amount,pointer", [(0, "#/amount"), (-1, "#/amount"), (0.001, "#/amount"), ("1", "#/amount"),
                                            (None, "#/amount"), (money(1, "XQX"), "#/amount/currency")])
def test_W_a_bad_amount_is_422_and_its_key_is_not_recorded(api, ann, key, amount, pointer):
    opened(api, ann, 10)
    assert_invalid(api.deposit(key, amount, ann), pointer)
    assert_invalid(api.withdraw(key, amount, ann), pointer)
    assert_first(api.deposit(key, 1, ann))
    assert api.balance(ann) == 1100


@pytest.mark.parametrize("command", ["deposit", "withdraw"])
def test_W_a_command_needs_a_key_and_is_carried_out_once_for_it(api, ann, bob, key, command):
    opened(api, ann, 10), opened(api, bob, 10)
    send = getattr(api, command)
    assert_problem(send(None, 1, ann), 400, "idempotency-key-missing")
    first = send(key, 1, ann)
    assert_first(first)
    assert_replay(send(key, money(100), ann), first)
    assert_problem(send(key, 2, ann), 422, "idempotency-key-reused")
    assert_first(send(key, 2, bob))  # another user's key is another key
    assert abs(api.balance(ann) - 1000) == 100 and abs(api.balance(bob) - 1000) == 200


def test_W_fifty_deposits_with_one_key_are_one(api, ann, key):
    opened(api, ann)
    answers = at_once(50, lambda _: api.deposit(key, 3, ann))
    assert {a.status_code for a in answers} <= {200, 409} and 200 in {a.status_code for a in answers}
    assert api.balance(ann) == 300


def test_W_withdrawals_racing_never_overdraw(api, ann):
    opened(api, ann, 10)
    answers = at_once(20, lambda _: api.withdraw(new_key(), 3, ann))
    assert [a.status_code for a in answers].count(200) == 3
    for answer in answers:
        if answer.status_code != 200:
            assert assert_problem(answer, 402, "payment-declined")["declineCode"] == "insufficient_funds"
    assert api.balance(ann) == 100


def test_W_without_an_account_there_is_nothing_to_move(api, ann):
    assert_problem(api.deposit(new_key(), 1, ann), 404, "account-not-found")
    assert_problem(api.withdraw(new_key(), 1, ann), 404, "account-not-found")
    assert_problem(api.call("GET", "payment", "/accounts/balance", user=ann), 404, "account-not-found")
    assert_problem(api.call("GET", "payment", "/accounts/balance"), 400, "invalid-parameter")


# ---------------------------------------------------------------- T: accounts by id, transfers

def test_T_accounts_in_several_currencies_named_by_user_id(api, ann, bob):
    first = assert_first(api.open_account(None, 100, userId=ann, currency="EUR"), 201)
    second = assert_first(api.open_account(None, money(0, "EUR"), userId=bob), 201)
    assert first["balance"] == money(10_000, "EUR") and second["currency"] == "EUR"
    assert assert_json(api.account(first["accountId"])) == first
    assert assert_json(api.account(first["accountId"], part="/balance"))["balance"] == money(10_000, "EUR")
    transfer = assert_first(api.transfer(new_key(), first["accountId"], second["accountId"], 40, currency="EUR"), 201)
    assert transfer["amount"] == money(4000, "EUR") and transfer["status"] == "completed"
    assert api.balance(bob, "EUR") == 4000
    page = assert_json(api.account(first["accountId"], part="/transactions"))
    assert [(t["type"], t["change"]) for t in page["transactions"]] == [
        ("transfer", money(-4000, "EUR")), ("opening", money(10_000, "EUR"))]
    assert page["nextCursor"] is None


def test_T_a_transfer_is_made_once_for_its_key(api, ann, bob, key):
    source, destination = opened(api, ann, 10), opened(api, bob)
    first = api.transfer(key, source, destination, 4, ann)
    assert_first(first, 201)
    assert_replay(api.transfer(key, source, destination, 4, ann), first)
    assert_problem(api.transfer(key, source, destination, 5, ann), 422, "idempotency-key-reused")
    assert_problem(api.transfer(None, source, destination, 4, ann), 400, "idempotency-key-missing")
    assert (api.balance(ann), api.balance(bob)) == (600, 400)


def test_T_what_cannot_be_transferred_says_why_and_moves_nothing(api, ann, bob):
    source, destination = opened(api, ann, 10), opened(api, bob)
    euro = assert_first(api.open_account(bob, currency="EUR"), 201)["accountId"]
    assert_invalid(api.transfer(new_key(), source, source, 1, ann), "#/destinationAccountId")
    assert_invalid(api.transfer(new_key(), source, euro, 1, ann), "#/destinationAccountId")
    assert_invalid(api.transfer(new_key(), source, destination, 1, ann, currency="EUR"), "#/amount")
    assert_invalid(api.transfer(new_key(), source, destination, 0, ann), "#/amount")
    for there in (str(uuid.uuid4()), "sales:USD"):
        assert "destinationAccountId" in assert_problem(
            api.transfer(new_key(), source, there, 1, ann), 404, "account-not-found")["detail"]
    assert "sourceAccountId" in assert_problem(
        api.transfer(new_key(), str(uuid.uuid4()), destination, 1, ann), 404, "account-not-found")["detail"]
    body = assert_problem(api.transfer(new_key(), source, destination, 10.01, ann), 402, "payment-declined")
    assert body["declineCode"] == "insufficient_funds"
    assert (api.balance(ann), api.balance(bob)) == (1000, 0)


def test_T_transfers_there_and_back_at_once_never_lose_or_lock(api, ann, bob):
    """Hazard 46."""
    a, b = opened(api, ann, 10), opened(api, bob, 10)
    answers = at_once(40, lambda i: api.transfer(new_key(), *((a, b, 0.5, ann) if i % 2 else (b, a, 0.5, bob))))
    assert {x.status_code for x in answers} == {201}
    assert (api.balance(ann), api.balance(bob)) == (1000, 1000)


def test_T_64_clients_transfer_around_a_ring_and_the_sum_stays(api):
    users = [f"ring-{uuid.uuid4()}" for _ in range(64)]
    accounts = [opened(api, u, 10) for u in users]

    def go(i: int):
        return [api.transfer(new_key(), accounts[i], accounts[(i + 1) % 64], 9 if (i + r) % 3 == 0 else 2, users[i])
                for r in range(5)]
    answers = [a for some in at_once(64, go) for a in some]
    assert {a.status_code for a in answers} == {201, 402}
    for answer in answers:
        if answer.status_code == 402:
            assert answer.json()["declineCode"] == "insufficient_funds"
    balances = [api.balance(u) for u in users]
    assert sum(balances) == 64 * 1000 and min(balances) >= 0


def test_T_pages_of_transactions_follow_one_another(api, ann):
    account = opened(api, ann)
    for number in range(7):
        assert_first(api.deposit(new_key(), number + 1, ann))
    changes, cursor = [], None
    for _ in range(10):
        page = assert_json(api.account(account, ann, "/transactions?limit=3" + (f"&cursor={cursor}" if cursor else "")))
        changes += [t["change"]["amount"] for t in page["transactions"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert changes == [700, 600, 500, 400, 300, 200, 100]
    assert_problem(api.account(account, ann, "/transactions?limit=0"), 400, "invalid-parameter")
    assert_problem(api.account(account, ann, "/transactions?cursor=x"), 400, "invalid-parameter")


# ---------------------------------------------------------------- whose it is

@pytest.mark.parametrize("part", ["", "/balance", "/transactions"])
def test_INV_15_another_users_account_reads_as_one_that_does_not_exist(api, ann, bob, part):
    account = opened(api, ann, 10)
    assert_json(api.account(account, ann, part))
    for user in (bob, None):
        assert_problem(api.account(account, user, part), 404, "account-not-found")
    assert_problem(api.account(str(uuid.uuid4()), ann, part), 404, "account-not-found")


def test_INV_15_nobody_else_moves_a_users_money(api, ann, bob):
    source, destination = opened(api, ann, 10), opened(api, bob)
    for user in (bob, None):
        assert_problem(api.transfer(new_key(), source, destination, 1, user), 404, "account-not-found")
    assert_problem(api.withdraw(new_key(), 1, None, userId=ann), 404, "account-not-found")
    assert_invalid(api.withdraw(new_key(), 1, bob, userId=ann), "#/userId")
    assert (api.balance(ann), api.balance(bob)) == (1000, 0)


@pytest.mark.parametrize("body,pointer", [({}, "#/userId"), ({"userId": "a b"}, "#/userId"), ({"userId": 5}, "#/userId"),
                                          ({"userId": "x" * 129}, "#/userId"), ({"userId": "u", "x": 1}, "#/x")])
def test_an_account_needs_a_user(api, body, pointer):
    assert_invalid(api.call("POST", "payment", "/accounts", body), pointer)


@pytest.mark.parametrize("method,path,allow", [
    ("GET", "/accounts", "POST"), ("GET", "/accounts/deposit", "POST"), ("GET", "/transfers", "POST"),
    ("POST", "/accounts/balance", "GET, HEAD"), ("POST", "/accounts/x", "GET, HEAD"), ("POST", "/ledger/check", "GET, HEAD"),
])
def test_HT_09_another_method_on_a_route_of_accounts_is_405(api, method, path, allow):
    response = api.call(method, "payment", path, {} if method == "POST" else None)
    assert_problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == allow
