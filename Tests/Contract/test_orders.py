"""GET /orders and GET /orders/{id}: a caller sees their own, newest first, with all that happened."""

import uuid

import pytest

import raw
from api import TIMESTAMP, assert_first, assert_json, assert_problem, money, new_key, values


def test_orders_one_order_tells_its_outcome_and_its_history(api, item, key, user):
    made = assert_first(api.checkout(key, item, 2, user))
    order = assert_json(api.order(made["orderId"], user))
    assert set(order) == {"orderId", "status", "reservationId", "chargeId", "totalFee", "total", "lines", "createdAt", "updatedAt", "history"}
    for name in ("orderId", "status", "reservationId", "chargeId", "totalFee", "total", "lines", "createdAt"):
        assert order[name] == made[name], name
    assert TIMESTAMP.match(order["createdAt"]) and TIMESTAMP.match(order["updatedAt"]) and order["updatedAt"] >= order["createdAt"]
    assert len(order["history"]) >= 2
    for entry in order["history"]:
        assert set(entry) == {"at", "event"} and TIMESTAMP.match(entry["at"]) and isinstance(entry["event"], str) and entry["event"]
    assert [e["at"] for e in order["history"]] == sorted(e["at"] for e in order["history"])


def test_orders_a_failed_order_says_why(api, item, key, user):
    assert_problem(api.checkout(key, item, 2, user, method="test_declined"), 402, "payment-declined")
    listed = api.orders_of(user)
    assert len(listed) == 1
    order = assert_json(api.order(listed[0]["orderId"], user))
    assert order["status"] == "failed"
    assert order["failure"]["code"] == "payment-declined" and order["failure"]["detail"]


def test_orders_the_list_is_newest_first_and_paged_without_gap_or_double(api, item, user):
    made = [assert_first(api.checkout(new_key(), item, 1, user))["orderId"] for _ in range(7)]
    made.reverse()
    everything = assert_json(api.orders(user))
    assert [o["orderId"] for o in everything["orders"]] == made and everything["nextCursor"] is None
    assert all("history" not in o for o in everything["orders"])
    assert all(o["status"] == "completed" and o["total"] == money(1000) for o in everything["orders"])
    found, cursor, pages = [], None, 0
    while True:
        page = assert_json(api.orders(user, "?limit=3" + (f"&cursor={cursor}" if cursor else "")))
        assert len(page["orders"]) <= 3
        found += [o["orderId"] for o in page["orders"]]
        cursor, pages = page["nextCursor"], pages + 1
        if cursor is None or pages > 5:
            break
    assert found == made and pages == 3


def test_orders_a_page_stays_where_it_was_when_newer_orders_come(api, item, user):
    made = [assert_first(api.checkout(new_key(), item, 1, user))["orderId"] for _ in range(4)]
    first = assert_json(api.orders(user, "?limit=2"))
    assert_first(api.checkout(new_key(), item, 1, user))
    second = assert_json(api.orders(user, f"?limit=2&cursor={first['nextCursor']}"))
    assert [o["orderId"] for o in first["orders"] + second["orders"]] == made[::-1]


def test_orders_a_user_without_orders_has_an_empty_list(api, user):
    assert assert_json(api.orders(user)) == {"orders": [], "nextCursor": None}


def test_orders_of_another_user_read_as_not_found(api, item, key, user):
    """Hazard 69."""
    made = assert_first(api.checkout(key, item, 1, user))["orderId"]
    theirs = assert_problem(api.order(made, user + "x"), 404, "order-not-found")
    nobodys = assert_problem(api.order(made), 404, "order-not-found")
    absent = assert_problem(api.order(str(uuid.uuid4()), user), 404, "order-not-found")
    assert theirs["title"] == absent["title"] == nobodys["title"]
    assert theirs["detail"].replace(made, "") == nobodys["detail"].replace(made, "")
    assert made not in [o["orderId"] for o in api.orders_of(user + "x")]
    assert_json(api.order(made, user))


def test_orders_a_cursor_of_another_user_shows_nothing_of_theirs(api, item, user):
    made = {assert_first(api.checkout(new_key(), item, 1, user))["orderId"] for _ in range(3)}
    cursor = assert_json(api.orders(user, "?limit=1"))["nextCursor"]
    response = api.orders(user + "x", f"?cursor={cursor}")
    if response.status_code == 200:
        assert not made & {o["orderId"] for o in response.json()["orders"]}
    else:
        assert_problem(response, 400, "invalid-parameter")


def test_orders_an_id_that_cannot_be_one_is_not_found(api, user):
    for name in ("x", "0", "%27%20OR%201=1", "a" * 300, "..%2f..%2fetc"):
        response = api.order(name, user)
        assert_problem(response, 404, ("order-not-found", "not-found"))


GOOD_USERS = [b"a", b"alice@example.com", b"tenant:user_1.x-y", b"u" * 128]
BAD_USERS = [b"", b"a b", b"u" * 129, b"a/b", "üser".encode(), b"a,b", b"<x>", b"a'b"]


@pytest.mark.parametrize("name", GOOD_USERS, ids=lambda b: b.decode()[:20])
def test_orders_a_good_user_id_is_taken(stack, api, item, name):
    headers = [("Content-Type", "application/json"), ("Idempotency-Key", new_key()), ("X-User-ID", name)]
    made = assert_first(raw.request(stack.base, "POST", "/order/checkout", headers, b'{"itemId":%d,"quantity":1}' % item))
    listed = assert_json(raw.request(stack.base, "GET", "/order/orders?limit=1", [("X-User-ID", name)]))
    assert listed["orders"][0]["orderId"] == made["orderId"]


@pytest.mark.parametrize("name", BAD_USERS, ids=["empty", "space", "129", "slash", "non-ascii", "comma", "tag", "quote"])
def test_orders_a_bad_user_id_is_400_and_nothing_is_executed(stack, api, item, name):
    headers = [("Content-Type", "application/json"), ("Idempotency-Key", new_key()), ("X-User-ID", name)]
    for method, path, body in (("POST", "/order/checkout", b'{"itemId":%d,"quantity":1}' % item), ("GET", "/order/orders", b"")):
        assert_problem(raw.request(stack.base, method, path, headers, body), 400, "user-id-invalid")
    assert api.numbers(item) == (100, 0, 100)


def test_orders_two_user_ids_are_refused(stack, api, item):
    headers = [("Content-Type", "application/json"), ("Idempotency-Key", new_key()), ("X-User-ID", "alice"), ("X-User-ID", "bob")]
    assert_problem(raw.request(stack.base, "POST", "/order/checkout", headers, b'{"itemId":%d,"quantity":1}' % item), 400, "user-id-invalid")
    assert api.numbers(item) == (100, 0, 100)


def test_orders_without_a_user_are_those_of_nobody_in_particular(api, item, key):
    made = assert_first(api.checkout(key, item, 1))["orderId"]
    assert assert_json(api.order(made))["orderId"] == made
    assert assert_json(api.orders(query="?limit=1"))["orders"][0]["orderId"] == made


def test_orders_a_request_id_is_never_an_identity(api, item, user):
    """Hazard 27: equal request ids do not make two checkouts one."""
    headers = {"X-Request-ID": f"same-{uuid.uuid4()}"}
    one = assert_first(api.checkout(new_key(), item, 1, user, headers=headers))
    two = api.checkout(new_key(), item, 1, user, headers=headers)
    assert assert_first(two)["orderId"] != one["orderId"]
    assert values(two, "X-Request-ID") == [headers["X-Request-ID"]]
