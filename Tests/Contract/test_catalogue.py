"""The catalogue of Stock, and what is left of it between reserve, release and complete."""

import uuid

import pytest

from api import TIMESTAMP, assert_first, assert_invalid, assert_json, assert_problem, assert_replay, at_once, money, new_key
from stack import Service
from api import Api


def test_catalogue_a_fresh_system_has_item_1(direct):
    with Service("stock", {"STOCK_INITIAL_QUANTITY": "37"}) as stock:
        api = Api("", stock.url, "")
        assert api.item(1) == {"itemId": 1, "name": "sample item", "price": money(1000), "onHand": 37, "reserved": 0, "available": 37}
        assert [i["itemId"] for i in assert_json(api.call("GET", "stock", "/items"))["items"]] == [1]
        assert assert_json(api.call("GET", "stock", "/items"))["nextCursor"] is None
        api.close()


def test_catalogue_the_default_stock_is_one_hundred():
    stock = Service("stock")
    del stock.env["STOCK_INITIAL_QUANTITY"]
    with stock:
        api = Api("", stock.url, "")
        assert api.numbers(1) == (100, 0, 100)
        api.close()


def test_catalogue_after_a_restart_the_stock_comes_from_the_store_and_not_from_the_environment(tmp_path):
    """Hazard 23."""
    with Service("stock", {"STOCK_INITIAL_QUANTITY": "10"}, tmp_path) as stock:
        api = Api("", stock.url, "")
        assert_json(api.complete(assert_first(api.reserve(new_key(), 1, 4))["reservationId"]))
        assert_first(api.reserve(new_key(), 1, 1))
        assert stock.terminate() == 0
        api.close()
    with Service("stock", {"STOCK_INITIAL_QUANTITY": "1000"}, tmp_path) as stock:
        api = Api("", stock.url, "")
        assert api.numbers(1) == (6, 1, 5)
        api.close()


def test_catalogue_put_creates_and_then_changes_name_and_price(api, new_item):
    item = new_item(api, 12, money(500))
    assert api.item(item) == {"itemId": item, "name": "test item", "price": money(500), "onHand": 12, "reserved": 0, "available": 12}
    body = assert_json(api.put_item(item, money(750, "EUR"), name="renamed"), 200)
    assert body == {"itemId": item, "name": "renamed", "price": money(750, "EUR"), "onHand": 12, "reserved": 0, "available": 12}
    assert api.item(item) == body
    assert_json(api.put_item(item, money(750, "EUR"), 12, name="renamed"), 200)  # the same number says nothing new


def test_catalogue_without_a_number_a_new_item_has_none(api, new_item, user):
    item = new_item(api) + 500_000_000
    assert_json(api.put_item(item), 201)
    assert api.numbers(item) == (0, 0, 0)
    assert_problem(api.checkout(new_key(), item, 1, user), 409, "insufficient-stock")


def test_catalogue_the_number_of_an_existing_item_cannot_be_put(api, item):
    assert_invalid(api.put_item(item, money(1), 101), "#/onHand")
    assert api.item(item)["price"] == money(1000) and api.numbers(item) == (100, 0, 100)


@pytest.mark.parametrize("body,pointer", [
    ({"price": money(1)}, "#/name"), ({"name": "x"}, "#/price"), ({"name": 5, "price": money(1)}, "#/name"),
    ({"name": "x", "price": money(1), "onHand": -1}, "#/onHand"), ({"name": "x", "price": money(1), "onHand": 1.5}, "#/onHand"),
    ({"name": "x", "price": money(1), "reserved": 0}, "#/reserved"),
])
def test_catalogue_a_bad_item_is_422(api, body, pointer):
    unknown = 2**31 - 2
    assert_invalid(api.call("PUT", "stock", f"/items/{unknown}", body), pointer)
    assert_problem(api.call("GET", "stock", f"/items/{unknown}"), 404, "item-not-found")


def test_catalogue_an_item_that_is_not_there_is_404(api):
    assert_problem(api.call("GET", "stock", f"/items/{2**31 - 1}"), 404, "item-not-found")
    assert_problem(api.call("POST", "stock", f"/items/{2**31 - 1}/restock", {"quantity": 1}), 404, "item-not-found")


@pytest.mark.parametrize("name", ["x", "0", "-1", "1.5", "2147483648", "99999999999999999999", "%20", "1%00"])
def test_catalogue_a_number_that_no_item_can_have_is_not_found(api, name):
    response = api.call("GET", "stock", f"/items/{name}")
    assert response.status_code in (400, 404), response.text
    assert_problem(response, response.status_code, ("item-not-found", "not-found", "invalid-parameter", "bad-request"))


def test_catalogue_restock_adds(api, item):
    body = assert_json(api.call("POST", "stock", f"/items/{item}/restock", {"quantity": 25}))
    assert body["itemId"] == item and (body["onHand"], body["available"]) == (125, 125)
    assert_json(api.call("POST", "stock", f"/items/{item}/restock", {"quantity": 25}))  # without a key each one counts
    assert api.numbers(item) == (150, 0, 150)


def test_catalogue_restock_with_a_key_counts_once(api, item, key):
    first = api.call("POST", "stock", f"/items/{item}/restock", {"quantity": 25}, key)
    assert_first(first)
    assert_replay(api.call("POST", "stock", f"/items/{item}/restock", {"quantity": 25}, key), first)
    assert api.numbers(item) == (125, 0, 125)
    assert_problem(api.call("POST", "stock", f"/items/{item}/restock", {"quantity": 26}, key), 422, "idempotency-key-reused")
    assert_problem(api.call("POST", "stock", f"/items/{item}/restock", {"quantity": 1}, '"bad'), 400, "idempotency-key-invalid")
    assert api.numbers(item) == (125, 0, 125)


def test_catalogue_thirty_restocks_at_once_lose_none(api, item):
    answers = at_once(30, lambda _: api.call("POST", "stock", f"/items/{item}/restock", {"quantity": 1}))
    assert {a.status_code for a in answers} == {200}
    assert api.numbers(item) == (130, 0, 130)


@pytest.mark.parametrize("quantity", [0, -1, 1.5, "2", 2**31, None])
def test_catalogue_a_restock_of_nothing_is_422(api, item, quantity):
    assert_invalid(api.call("POST", "stock", f"/items/{item}/restock", {"quantity": quantity}), "#/quantity")
    assert api.numbers(item) == (100, 0, 100)


def test_catalogue_the_list_is_paged_without_gap_or_double():
    with Service("stock") as stock:
        api = Api("", stock.url, "")
        for i in range(2, 26):
            assert_json(api.put_item(i, money(i), i), 201)
        found, cursor, pages = [], None, 0
        while True:
            page = assert_json(api.call("GET", "stock", "/items?limit=10" + (f"&cursor={cursor}" if cursor else "")))
            assert len(page["items"]) <= 10
            found += [i["itemId"] for i in page["items"]]
            cursor, pages = page["nextCursor"], pages + 1
            if cursor is None:
                break
            assert pages < 10
        assert sorted(found) == list(range(1, 26)) and len(found) == 25 and pages == 3
        api.close()


@pytest.mark.parametrize("query", ["?limit=0", "?limit=-1", "?limit=101", "?limit=x", "?limit=", "?cursor=%00", "?cursor=nonsense!"])
@pytest.mark.parametrize("service,path", [("stock", "/items"), ("order", "/orders")])
def test_catalogue_a_bad_page_is_400(api, service, path, query):
    assert_problem(api.call("GET", service, path + query), 400, "invalid-parameter")


def test_catalogue_a_reservation_shows_its_life(api, item, key):
    made = assert_first(api.reserve(key, item, 2))
    seen = assert_json(api.reservation(made["reservationId"]))
    assert set(seen) == {"reservationId", "status", "totalFee", "total", "expiresAt", "lines", "createdAt"}
    assert seen["status"] == "reserved" and seen["total"] == money(2000)
    assert TIMESTAMP.match(seen["expiresAt"]) and TIMESTAMP.match(seen["createdAt"]) and seen["expiresAt"] > seen["createdAt"]
    assert seen["lines"] == [{"itemId": item, "quantity": 2, "unitPrice": money(1000)}]
    assert assert_json(api.complete(made["reservationId"]))["status"] == "completed"
    assert assert_json(api.reservation(made["reservationId"]))["status"] == "completed"


def test_catalogue_a_reservation_nobody_made_is_404(api):
    assert_problem(api.reservation(str(uuid.uuid4())), 404, "reservation-not-found")


def test_catalogue_a_reservation_of_many_lines_is_all_or_nothing(api, new_item):
    plenty, few = new_item(api, 100), new_item(api, 1)
    lines = [{"itemId": plenty, "quantity": 5}, {"itemId": few, "quantity": 2}]
    assert_problem(api.call("POST", "stock", "/reserve", {"lines": lines}, new_key()), 409, "insufficient-stock")
    assert api.numbers(plenty) == (100, 0, 100) and api.numbers(few) == (1, 0, 1)
    lines[1]["quantity"] = 1
    body = assert_first(api.call("POST", "stock", "/reserve", {"lines": lines}, new_key()))
    assert body["total"] == money(6000)
    assert api.numbers(plenty) == (100, 5, 95) and api.numbers(few) == (1, 1, 0)
    assert_json(api.release(body["reservationId"]))
    assert api.numbers(plenty) == (100, 0, 100) and api.numbers(few) == (1, 0, 1)


def test_catalogue_the_totals_add_up(api, item):
    """INV-5 on an item with every kind of past."""
    assert_json(api.complete(assert_first(api.reserve(new_key(), item, 5))["reservationId"]))
    assert_json(api.release(assert_first(api.reserve(new_key(), item, 7))["reservationId"]))
    held = assert_first(api.reserve(new_key(), item, 11))["reservationId"]
    assert_json(api.call("POST", "stock", f"/items/{item}/restock", {"quantity": 13}))
    line = next(i for i in api.audit("stock")["items"] if i["itemId"] == item)
    assert line == {"itemId": item, "received": 113, "available": 97, "reserved": 11, "completed": 5}
    assert_json(api.release(held))
