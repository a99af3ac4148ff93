"""HT-01 to HT-11 and HT-13 to HT-16: what every service makes of a request, and of a bad downstream."""

import json
import signal
import socket
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

import fakes
import raw
from api import (Api, Background, assert_first, assert_invalid, assert_json, assert_problem, media_type, money, new_key, values)
from stack import Service, eventually

JSON = ("Content-Type", "application/json")
POSTS = ["/order/checkout", "/stock/reserve", "/stock/release", "/stock/complete", "/payment/charge", "/payment/refund"]


@pytest.fixture
def untouched(api, item):
    """Fails the test when anything was reserved, sold or charged in it."""
    api.wait_settled()
    stock, totals = api.numbers(item), api.captured()
    yield
    assert api.numbers(item) == stock
    assert api.captured() == totals


def post(base: str, path: str, body: bytes, headers=(JSON,), key: str | None = None, **more):
    return raw.request(base, "POST", path, [*headers, ("Idempotency-Key", key or new_key())], body, **more)


# HT-01

BROKEN = {
    "empty": b"", "blank": b"  ", "open": b"{", "truncated": b'{"itemId":1,"quantity":2', "words": b"not json",
    "trailing-comma": b'{"itemId":1,"quantity":2,}', "no-quotes": b"{itemId:1}", "single-quotes": b"{'itemId':1}",
    "two-values": b'{"itemId":1,"quantity":2} {}', "leading-zero": b'{"itemId":01,"quantity":2}',
    "plus": b'{"itemId":+1,"quantity":2}', "nan": b'{"itemId":1,"quantity":NaN}', "comment": b'{"itemId":1,/**/"quantity":2}',
    "bad-utf-8": b'{"itemId":1,"quantity":2,"method":"\xff\xfe"}', "control": b'{"itemId":1,"quantity":2,"method":"a\x01b"}',
    "bad-escape": b'{"itemId":1,"quantity":2,"method":"\\x"}', "point": b'{"itemId":1,"quantity":2.}',
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_HT_01_malformed_json_is_400(stack, untouched, body):
    assert_problem(post(stack.base, "/order/checkout", body), 400, "invalid-json")


@pytest.mark.parametrize("path", POSTS)
def test_HT_01_every_command_refuses_malformed_json(stack, untouched, path):
    assert_problem(post(stack.base, path, b'{"a":'), 400, "invalid-json")


def test_HT_01_a_body_that_ends_too_early_is_not_executed(stack, api, item, key, untouched):
    for base, path in ((stack.base, "/order/checkout"), (stack.direct("order"), "/checkout")):
        with raw.connect(base, 15) as sock:
            good = b'{"itemId":%d,"quantity":1}' % item
            raw.send(sock, raw.message("POST", path, [JSON, ("Idempotency-Key", key)], good, length=len(good) + 10))
            sock.shutdown(socket.SHUT_WR)
            answer = raw.receive(sock)
        if answer is not None:
            assert answer.status_code in (400, 408), answer


@pytest.mark.parametrize("body", [b"[" * 30_000, b'{"a":' * 10_000, b"[" * 10_000 + b"]" * 10_000], ids=["arrays", "objects", "closed"])
def test_HT_01_nesting_without_end_does_no_harm(stack, api, untouched, body):
    answer = post(stack.base, "/order/checkout", body)
    assert answer.status_code in (400, 422), answer
    assert_problem(answer, answer.status_code, ("invalid-json", "validation-failed"))
    assert_json(api.call("GET", "stock", "/items/1"))


# HT-02

@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"text"', b"{}"])
def test_HT_02_json_of_another_shape_is_422(stack, untouched, path, body):
    assert_invalid(post(stack.base, path, body))


WRONG = {
    "no-quantity": ('{"itemId":%d}', "#/quantity"),
    "no-item": ('{"quantity":1}', "#/itemId"),
    "item-as-text": ('{"itemId":"%d","quantity":1}', "#/itemId"),
    "item-as-fraction": ('{"itemId":1.5,"quantity":1}', "#/itemId"),
    "item-null": ('{"itemId":null,"quantity":1}', "#/itemId"),
    "unknown-field": ('{"itemId":%d,"quantity":1,"price":0}', "#/price"),
    "other-case": ('{"itemId":%d,"Quantity":1}', "#/Quantity"),
    "escaped-pointer": ('{"itemId":%d,"quantity":1,"a/b~c":0}', "#/a~1b~0c"),
    "duplicate": ('{"itemId":%d,"quantity":1,"quantity":1}', "#/quantity"),
    "duplicate-escaped": ('{"itemId":%d,"quantity":1,"quant\\u0069ty":1}', "#/quantity"),
    "method-as-number": ('{"itemId":%d,"quantity":1,"method":5}', "#/method"),
    "lines-as-object": ('{"lines":{}}', "#/lines"),
    "lines-empty": ('{"lines":[]}', "#/lines"),
    "line-as-number": ('{"lines":[5]}', "#/lines/0"),
    "line-without-quantity": ('{"lines":[{"itemId":%d,"quantity":1},{"itemId":2}]}', "#/lines/1/quantity"),
    "line-with-unknown-field": ('{"lines":[{"itemId":%d,"quantity":1,"x":1}]}', "#/lines/0/x"),
    "line-of-zero": ('{"lines":[{"itemId":%d,"quantity":0}]}', "#/lines/0/quantity"),
}


@pytest.mark.parametrize("case", WRONG)
def test_HT_02_a_wrong_field_is_422_with_its_pointer(stack, item, untouched, case):
    text, pointer = WRONG[case]
    body = (text % item if "%d" in text else text).encode()
    assert_invalid(post(stack.base, "/order/checkout", body), pointer)


def test_HT_02_all_that_is_wrong_is_said_at_once(stack, untouched):
    assert_invalid(post(stack.base, "/order/checkout", b'{"itemId":"x","quantity":0,"foo":1}'), "#/itemId", "#/quantity", "#/foo")


@pytest.mark.parametrize("body", [
    {"lines": [{"itemId": i + 1, "quantity": 1} for i in range(101)]},
    {"lines": [{"itemId": 1, "quantity": 1}, {"itemId": 1, "quantity": 2}]},
    {"lines": [{"itemId": 1, "quantity": 1}], "itemId": 1, "quantity": 1},
], ids=["101-lines", "an-item-twice", "both-forms"])
def test_HT_02_a_cart_has_1_to_100_lines_and_an_item_once(stack, untouched, body):
    errors = assert_invalid(post(stack.base, "/order/checkout", json.dumps(body).encode()))["errors"]
    assert any(e["pointer"].startswith(("#/lines", "#/itemId")) or e["pointer"] == "#" for e in errors), errors


def test_HT_02_a_cart_of_100_lines_is_good(api, new_item, key):
    items = [new_item(api, 5, money(1)) for _ in range(100)]
    body = assert_first(api.checkout(key, body={"lines": [{"itemId": i, "quantity": 1} for i in items]}))
    assert len(body["lines"]) == 100 and body["total"] == money(100)
    assert all(api.numbers(i) == (4, 0, 4) for i in (items[0], items[50], items[99]))


# HT-03

@pytest.mark.parametrize("quantity", ["0", "-1", "1.5", '"2"', "2147483648", "1e400", "1000001", "9223372036854775808",
                                      "-9223372036854775808", "99999999999999999999999999", "true", "null", "[]", "{}", "1e-400"])
@pytest.mark.parametrize("path", ["/order/checkout", "/stock/reserve"])
def test_HT_03_a_quantity_that_is_none_is_422(stack, item, untouched, path, quantity):
    assert_invalid(post(stack.base, path, b'{"itemId":%d,"quantity":%s}' % (item, quantity.encode())), "#/quantity")


def test_HT_03_a_quantity_of_one_million_is_good(api, new_item, key):
    item = new_item(api, 1_000_000, money(1))
    assert assert_first(api.checkout(key, item, 1_000_000))["total"] == money(1_000_000)
    assert api.numbers(item) == (0, 0, 0)


def test_HT_03_a_total_that_overflows_is_422(api, new_item, user):
    item = new_item(api, 100, money(2**63 - 1))
    totals = api.captured()
    for call in (lambda: api.checkout(new_key(), item, 2, user), lambda: api.reserve(new_key(), item, 2)):
        assert_problem(call(), 422, "validation-failed")
        assert api.numbers(item) == (100, 0, 100)
    assert api.captured() == totals


@pytest.mark.parametrize("route", ["checkout", "reserve"])
def test_IK_17_a_total_that_overflows_binds_no_key(api, new_item, key, user, route):
    item, cheap = new_item(api, 100, money(2**63 - 1)), new_item(api, 100)
    send = api.checkout if route == "checkout" else api.reserve
    assert_problem(send(key, item, 2, user), 422, "validation-failed")
    assert send(key, cheap, 2, user).status_code == 200


# HT-04, HT-05, HT-06

def test_HT_04_an_unknown_item_is_404(api, new_item, key, user):
    known, unknown = new_item(api), 2**31 - 1
    totals = api.captured()
    assert_problem(api.checkout(key, unknown, 1, user), 404, "item-not-found")
    assert_problem(api.reserve(key, unknown, 1), 404, "item-not-found")
    body = {"lines": [{"itemId": known, "quantity": 1}, {"itemId": unknown, "quantity": 1}]}
    assert_problem(api.checkout(new_key(), body=body, user=user), 404, "item-not-found")
    assert api.numbers(known) == (100, 0, 100), "all lines or none"
    assert api.captured() == totals


def test_HT_05_not_enough_stock_is_409_and_not_worth_a_retry(api, new_item, key, user):
    few, many = new_item(api, 3), new_item(api, 100)
    totals = api.captured()
    for call in (lambda: api.checkout(key, few, 4, user), lambda: api.reserve(key, few, 4),
                 lambda: api.checkout(new_key(), body={"lines": [{"itemId": many, "quantity": 1}, {"itemId": few, "quantity": 4}]})):
        response = call()
        assert assert_problem(response, 409, "insufficient-stock")["retryable"] is False
        assert "retry-after" not in response.headers
    assert api.numbers(few) == (3, 0, 3) and api.numbers(many) == (100, 0, 100), "all lines or none"
    assert api.captured() == totals
    assert api.orders_of(user)[0]["status"] == "failed"
    assert api.orders_of(user)[0]["failure"]["code"] == "insufficient-stock"
    assert_first(api.checkout(new_key(), few, 3, user))
    assert api.numbers(few) == (0, 0, 0)


@pytest.mark.parametrize("method,decline", [("test_declined", "card_declined"), ("test_insufficient_funds", "insufficient_funds"),
                                            ("seashells", "payment_method_not_supported")])
def test_HT_06_a_decline_is_402_with_its_code_and_the_stock_is_given_back(api, item, key, user, method, decline):
    totals = api.captured()
    body = assert_problem(api.checkout(key, item, 2, user, method=method), 402, "payment-declined")
    assert body["declineCode"] == decline
    assert api.numbers(item) == (100, 0, 100)
    assert api.captured() == totals
    order = api.orders_of(user)[0]
    assert order["status"] == "failed" and order["failure"]["code"] == "payment-declined"
    direct = assert_problem(api.charge(key, money(2000), user, method=method), 402, "payment-declined")
    assert direct["declineCode"] == decline
    assert api.captured() == totals


# HT-07

@pytest.mark.parametrize("headers", [
    [], [("Content-Type", "")], [("Content-Type", "text/plain")], [("Content-Type", "application/x-www-form-urlencoded")],
    [("Content-Type", "application/jsonp")], [("Content-Type", "application/json; charset=iso-8859-1")],
    [("Content-Type", "application/json; charset=utf-16")], [JSON, JSON], [JSON, ("Content-Type", "text/plain")],
    [JSON, ("Content-Encoding", "gzip")], [JSON, ("Content-Encoding", "br")],
], ids=["none", "empty", "text", "form", "jsonp", "latin-1", "utf-16", "twice", "two", "gzip", "br"])
@pytest.mark.parametrize("way", ["nginx", "service"])
def test_HT_07_any_other_content_type_is_415(stack, item, untouched, way, headers):
    base, path = (stack.base, "/order/checkout") if way == "nginx" else (stack.direct("order"), "/checkout")
    assert_problem(post(base, path, b'{"itemId":%d,"quantity":1}' % item, headers), 415, "unsupported-media-type")


@pytest.mark.parametrize("path", POSTS)
def test_HT_07_every_command_looks_at_the_content_type(stack, untouched, path):
    assert_problem(post(stack.base, path, b"{}", [("Content-Type", "text/plain")]), 415, "unsupported-media-type")


@pytest.mark.parametrize("kind", ["application/json", "APPLICATION/JSON", "application/json; charset=utf-8",
                                  "Application/Json; Charset=UTF-8", "application/json;charset=utf-8", 'application/json; charset="utf-8"'])
def test_HT_07_json_in_utf_8_is_good_however_it_is_spelled(stack, api, item, kind):
    assert_first(post(stack.base, "/order/checkout", b'{"itemId":%d,"quantity":1}' % item, [("Content-Type", kind)]))
    assert api.numbers(item) == (99, 0, 99)


# HT-08

LIMIT = 64 * 1024


@pytest.mark.parametrize("form", ["length", "chunked", "claimed"])
@pytest.mark.parametrize("way", ["nginx", "order", "stock", "payment"])
def test_HT_08_a_body_over_64_kib_is_413(stack, item, untouched, way, form):
    base = stack.base if way == "nginx" else stack.direct(way)
    path = {"nginx": "/order/checkout", "order": "/checkout", "stock": "/reserve", "payment": "/charge"}[way]
    body = (b'{"itemId":%d,"quantity":1}' % item).ljust(LIMIT + 1)
    headers = [JSON, ("Idempotency-Key", new_key())]
    with raw.connect(base, 15) as sock:
        if form == "length":
            raw.send(sock, raw.message("POST", path, headers, body))
        elif form == "claimed":  # ten gigabytes are announced, and nothing is sent
            raw.send(sock, raw.message("POST", path, headers, b"", length=10 * 2**30))
        else:
            start = raw.message("POST", path, [*headers, ("Transfer-Encoding", "chunked")], b"", length=False)
            raw.send(sock, start + raw.chunked(body, end=False))
        assert_problem(raw.receive(sock, "POST"), 413, "payload-too-large")


@pytest.mark.parametrize("form", ["length", "chunked"])
@pytest.mark.parametrize("way", ["nginx", "service"])
def test_HT_08_a_body_of_just_64_kib_is_good(stack, api, item, way, form):
    base, path = (stack.base, "/order/checkout") if way == "nginx" else (stack.direct("order"), "/checkout")
    body = (b'{"itemId":%d,"quantity":1}' % item).ljust(LIMIT)
    headers = [JSON, ("Idempotency-Key", new_key())]
    with raw.connect(base, 15) as sock:
        if form == "length":
            raw.send(sock, raw.message("POST", path, headers, body))
        else:
            start = raw.message("POST", path, [*headers, ("Transfer-Encoding", "chunked")], b"", length=False)
            raw.send(sock, start + raw.chunked(body))
        assert_first(raw.receive(sock, "POST"))
    assert api.numbers(item) == (99, 0, 99)


@pytest.mark.parametrize("way", ["nginx", "service"])
def test_HT_08_both_length_headers_at_once_are_refused(stack, item, untouched, way):
    """Hazard 68: what one side takes for a body, the other could take for a second request."""
    base, path = (stack.base, "/order/checkout") if way == "nginx" else (stack.direct("order"), "/checkout")
    body = raw.chunked(b'{"itemId":%d,"quantity":1}' % item)
    headers = [JSON, ("Idempotency-Key", new_key()), ("Transfer-Encoding", "chunked")]
    answer = raw.request(base, "POST", path, headers, body)
    assert_problem(answer, 400, "bad-request")


# HT-09, HT-10, HT-11

@pytest.mark.parametrize("method,path,allowed", [
    ("GET", "/order/checkout", {"POST"}), ("PUT", "/order/checkout", {"POST"}), ("DELETE", "/order/checkout", {"POST"}),
    ("PATCH", "/order/checkout", {"POST"}), ("HEAD", "/order/checkout", {"POST"}),
    ("POST", "/order/orders", {"GET", "HEAD"}), ("DELETE", "/order/orders/x", {"GET", "HEAD"}),
    ("GET", "/stock/reserve", {"POST"}), ("GET", "/stock/release", {"POST"}), ("GET", "/stock/complete", {"POST"}),
    ("POST", "/stock/items", {"GET", "HEAD"}), ("DELETE", "/stock/items/1", {"GET", "HEAD", "PUT"}),
    ("GET", "/stock/items/1/restock", {"POST"}), ("POST", "/stock/reservations/x", {"GET", "HEAD"}),
    ("GET", "/payment/charge", {"POST"}), ("GET", "/payment/refund", {"POST"}), ("POST", "/payment/charges/x", {"GET", "HEAD"}),
])
def test_HT_09_another_method_is_405_and_says_which_are_allowed(stack, method, path, allowed):
    answer = raw.request(stack.base, method, path, [JSON, ("Idempotency-Key", new_key())])
    if method == "HEAD":
        assert answer.status_code == 405 and answer.content == b""
    else:
        assert_problem(answer, 405, "method-not-allowed")
    said = {m.strip() for m in ",".join(values(answer, "Allow")).split(",")}
    assert allowed <= said | {"HEAD"}, f"Allow: {said}"
    assert said <= allowed | {"HEAD", "OPTIONS"}, f"Allow: {said}"


@pytest.mark.parametrize("path", ["/", "/nope", "/order/", "/order/nope", "/order/checkout/", "/order/orders/", "/order/checkout/x",
                                  "/stock/", "/stock/items/", "/stock/items/1/", "/stock/items/1/nope", "/payment/", "/payment/charge/",
                                  "/orders", "/checkout", "/orderx/checkout", "/ORDER/checkout", "/order/CHECKOUT"])
def test_HT_10_an_unknown_path_is_a_404_problem_and_never_a_redirect(stack, path):
    for method in ("GET", "POST"):
        answer = raw.request(stack.base, method, path, [JSON, ("Idempotency-Key", new_key())], b"{}" if method == "POST" else b"")
        assert_problem(answer, 404, "not-found")
        assert "location" not in answer.headers


@pytest.mark.parametrize("service", ["order", "stock", "payment"])
def test_HT_10_the_services_themselves_answer_an_unknown_path_so(stack, service):
    for path in ("/", "/nope", "/health/", "/checkout/", "/items/1/"):
        answer = raw.request(stack.direct(service), "GET", path)
        assert_problem(answer, 404, "not-found")
        assert "location" not in answer.headers


def test_HT_11_head_is_answered_where_get_is(stack, api, item, key, user):
    order = assert_first(api.checkout(key, item, 1, user))
    for path, kind in ((f"/order/orders/{order['orderId']}", "application/json"), ("/order/orders", "application/json"),
                       ("/stock/items", "application/json"), (f"/stock/items/{item}", "application/json"),
                       (f"/stock/reservations/{order['reservationId']}", "application/json"),
                       (f"/payment/charges/{order['chargeId']}", "application/json")):
        head = raw.request(stack.base, "HEAD", path, [("X-User-ID", user)])
        assert head.status_code == 200, f"{path}: {head}"
        assert head.content == b"" and media_type(head) == kind
        if "content-length" in head.headers and path != "/order/orders":
            assert int(head.headers["content-length"]) == len(raw.request(stack.base, "GET", path, [("X-User-ID", user)]).content)
    assert raw.request(stack.base, "HEAD", f"/stock/items/{2**31 - 1}").status_code == 404
    assert raw.request(stack.base, "HEAD", "/order/nope").status_code == 404


def test_HT_11_nothing_follows_the_head_of_an_answer_to_head(stack):
    with raw.connect(stack.base, 5) as sock:
        raw.send(sock, raw.message("HEAD", "/stock/items/1", [], close=True))
        data = b""
        while part := sock.recv(65536):
            data += part
    assert data.startswith(b"HTTP/1.1 200 ") and data.endswith(b"\r\n\r\n") and data.count(b"\r\n\r\n") == 1


# HT-13

def test_HT_13_with_too_many_in_flight_the_next_is_503_overloaded(lab, lab_item, user):
    with Service("order", {"STOCK_BASE_URL": lab.to_stock.url, "PAYMENT_BASE_URL": lab.to_payment.url, "CHECKOUT_MAX_IN_FLIGHT": "2",
                           "GATEWAY_TIMEOUT_SECONDS": "8", "CHECKOUT_TIMEOUT_SECONDS": "20"}) as order:
        api, gate = Api(order.url, lab.stock.url, lab.payment.url), threading.Event()
        lab.to_payment.on("charge", fakes.hold(gate))
        held = [Background(lambda k=new_key(): api.checkout(k, lab_item, 1, user)) for _ in range(2)]
        try:
            eventually(lambda: len(lab.to_payment.seen("charge")) >= 2, "both are under way")
            refused = new_key()
            for _ in range(3):
                assert_problem(api.checkout(refused, lab_item, 1, user), 503, "overloaded")
            assert len(lab.to_stock.seen("reserve")) == 2
            assert_json(api.orders(user))  # reading goes on
        finally:
            gate.set()
        for one in held:
            assert_first(one.result())
        assert_first(api.checkout(refused, lab_item, 1, user))
        assert lab.api.numbers(lab_item) == (97, 0, 97)
        api.close()


def test_HT_13_while_draining_a_new_checkout_is_503_or_finds_the_door_closed(lab, lab_item, user):
    with Service("order", {"STOCK_BASE_URL": lab.to_stock.url, "PAYMENT_BASE_URL": lab.to_payment.url,
                           "GATEWAY_TIMEOUT_SECONDS": "8", "CHECKOUT_TIMEOUT_SECONDS": "20"}) as order:
        api, gate = Api(order.url, lab.stock.url, lab.payment.url), threading.Event()
        lab.to_payment.on("charge", fakes.hold(gate))
        sock = raw.connect(order.url, 5)
        raw.send(sock, raw.message("GET", "/health/live", [], close=False))
        assert raw.receive(sock).status_code == 200
        held = Background(lambda: api.checkout(new_key(), lab_item, 1, user))
        try:
            eventually(lambda: lab.to_payment.seen("charge"), "the checkout is under way")
            order.signal(signal.SIGTERM)
            time.sleep(0.5)
            headers = [JSON, ("Idempotency-Key", new_key()), ("X-User-ID", user)]
            raw.send(sock, raw.message("POST", "/checkout", headers, b'{"itemId":%d,"quantity":1}' % lab_item))
            answer = raw.receive(sock)
            if answer is not None:
                assert_problem(answer, 503, "draining")
            assert len(lab.to_stock.seen("reserve")) == 1
        finally:
            gate.set()
            sock.close()
        assert_first(held.result())
        assert order.wait(10) == 0
        api.close()


# HT-14

RUBBISH = {"no-http": fakes.garbage(), "html": fakes.not_json(), "other-shape": fakes.wrong_shape(), "nothing": fakes.reply(200),
           "redirect": fakes.redirect("http://127.0.0.1:9/elsewhere"), "status-of-its-own": fakes.reply(299, {}),
           "too-large": fakes.oversize(), "broken-json": fakes.reply(200, b'{"reservationId":')}


@pytest.mark.parametrize("case", RUBBISH)
def test_HT_14_rubbish_in_answer_to_the_reserve_is_502_and_compensated(lab, lab_item, key, user, case):
    lab.to_stock.on("reserve", RUBBISH[case])
    totals = lab.api.captured()
    assert_problem(lab.api.checkout(key, lab_item, 1, user), 502, "bad-gateway")
    assert lab.to_stock.seen("release"), "the reserve may have run: its id must be released"
    assert not lab.to_payment.seen("charge")
    assert lab.api.numbers(lab_item) == (100, 0, 100) and lab.api.captured() == totals
    lab.to_stock.reset()
    assert_json(lab.api.until_definite(key, item=lab_item, quantity=1, user=user))
    assert lab.api.numbers(lab_item) == (99, 0, 99)


@pytest.mark.parametrize("case", ["no-http", "html", "other-shape", "redirect", "too-large"])
def test_HT_14_rubbish_in_answer_to_the_charge_is_unknown_and_settled_in_the_end(lab, lab_item, key, user, case):
    def act(exchange):
        exchange.forward()
        RUBBISH[case](exchange)
    totals = lab.api.captured()
    lab.to_payment.on("charge", act)
    assert_problem(lab.api.checkout(key, lab_item, 1, user), 504, "outcome-unknown")
    assert lab.api.numbers(lab_item)[2] == 99, "unknown is not failed: the goods are held"
    lab.to_payment.reset()
    assert_json(lab.api.until_definite(key, item=lab_item, quantity=1, user=user))
    assert lab.api.numbers(lab_item) == (99, 0, 99)
    assert lab.api.captured() == (totals[0] + 1000, totals[1])


def test_HT_14_a_redirect_is_not_followed(lab, lab_item, key, user):
    """Hazard 66."""
    with fakes.Downstream() as elsewhere:
        elsewhere.on("", fakes.reply(200, {}), method="*")
        lab.to_stock.on("reserve", fakes.redirect(f"{elsewhere.url}/caught"))
        assert_problem(lab.api.checkout(key, lab_item, 1, user), 502, "bad-gateway")
        assert elsewhere.seen(method="*") == []


def test_HT_14_a_reserve_that_times_out_is_504_and_compensated(lab, lab_item, key, user):
    gate = threading.Event()
    lab.to_stock.on("reserve", fakes.hold(gate, fakes.drop()))
    try:
        assert_problem(lab.api.checkout(key, lab_item, 1, user), 504, ("gateway-timeout", "outcome-unknown"))
        eventually(lambda: lab.api.orders_of(user)[0]["status"] == "failed", "it is compensated", 15)
        assert lab.api.numbers(lab_item) == (100, 0, 100)
        assert not lab.to_payment.seen("charge")
    finally:
        gate.set()


# What Order makes of a batch as a whole. Rules elsewhere speak of single commands.

@pytest.fixture
def batching_lab(lab, monkeypatch):
    for service in (lab.to_stock, lab.to_payment):
        monkeypatch.setattr(service, "takes_batches", True)
    return lab


def run_then(action):
    def act(exchange):
        exchange.forward()
        action(exchange)
    return act


# What may become of a batch, before and after it was carried out; "older" is a service that takes none.
DISTURBED = {"dropped": fakes.drop(), "cut": fakes.cut(), "503": fakes.problem(503, "overloaded", True, "1"), "older": fakes.reply(404, b""),
             "500": fakes.reply(500, {}), **RUBBISH, "no-answers": fakes.reply(200, {"answers": []}),
             "too-many-answers": fakes.reply(200, {"answers": [{"alone": True}, {"alone": True}]}),
             "done-then-dropped": fakes.run_then_drop(), "done-then-cut": run_then(fakes.cut()), "done-then-html": run_then(fakes.not_json()),
             "done-then-500": run_then(fakes.reply(500, {}))}


@pytest.mark.parametrize("step", ["reserve", "charge", "complete"])
@pytest.mark.parametrize("case", DISTURBED)
def test_HT_14_whatever_becomes_of_a_batch_the_checkout_comes_to_one_outcome(batching_lab, lab_item, key, user, case, step):
    """The first batch with the step's command is disturbed, and what comes after it is not."""
    lab, disturbed = batching_lab, []
    target = lab.to_payment if step == "charge" else lab.to_stock

    def act(exchange):
        hit = not disturbed and any(c["path"] == f"/{step}" for c in exchange.request.commands())
        if hit:
            disturbed.append(case)
        (DISTURBED[case] if hit else fakes.forward())(exchange)
    totals = lab.api.captured()
    target.on("internal/batch", act)
    assert_json(lab.api.until_definite(key, item=lab_item, quantity=1, user=user))
    assert disturbed == [case]
    assert lab.api.numbers(lab_item) == (99, 0, 99)
    eventually(lambda: lab.api.captured()[0] - lab.api.captured()[1] == totals[0] - totals[1] + 1000, "one charge is left", 15)
    assert not [o for o in lab.api.orders_of(user) if o["status"] not in ("completed", "failed")]


def test_HT_14_commands_that_ask_together_share_the_fate_of_their_batch_and_are_settled_each(batching_lab, lab_item, user):
    """While as many requests as may be are held, further checkouts wait; then they go together, and their batch is lost."""
    lab, gate, together = batching_lab, threading.Event(), []

    def act(exchange):
        if not gate.is_set():
            return fakes.hold(gate)(exchange)
        if len(exchange.request.commands()) > 1 and not together:
            together.append(len(exchange.request.commands()))
            return fakes.run_then_drop()(exchange)
        fakes.forward()(exchange)
    lab.to_stock.on("internal/batch", act)
    with ThreadPoolExecutor(20) as pool:
        checkouts = [pool.submit(lab.api.until_definite, new_key(), item=lab_item, quantity=1, user=user) for _ in range(20)]
        eventually(lambda: len(lab.to_stock.seen("internal/batch")) >= 4, "all places are taken", 5)
        eventually(lambda: len(lab.api.orders_of(user)) == 20, "every checkout has begun", 5)
        gate.set()
        for checkout in checkouts:
            assert_json(checkout.result())
    assert together and together[0] > 1
    assert lab.api.numbers(lab_item) == (80, 0, 80)


# HT-15

def test_HT_15_an_error_inside_a_downstream_is_not_shown_and_the_checkout_can_be_repeated(lab, lab_item, key, user):
    secret = "at SecretClass.method (secret.swift:42)"
    lab.to_stock.on("reserve", fakes.reply(500, {"error": secret}))
    response = lab.api.checkout(key, lab_item, 1, user)
    assert response.status_code in (502, 503), response.text
    assert_problem(response, response.status_code, ("bad-gateway", "checkout-unavailable"))
    assert "Secret" not in response.text and "secret" not in str(lab.api.orders_of(user))
    assert lab.api.numbers(lab_item) == (100, 0, 100)
    lab.to_stock.reset()
    assert_json(lab.api.until_definite(key, item=lab_item, quantity=1, user=user))
    assert lab.api.numbers(lab_item) == (99, 0, 99)


@pytest.mark.parametrize("service", ["stock", "payment"])
def test_HT_15_an_error_nobody_expected_is_a_5xx_without_internals(service):
    with Service(service) as one:
        with closing(sqlite3.connect(one.data_dir / f"{service}.sqlite", timeout=10)) as db:
            db.execute("PRAGMA foreign_keys = OFF")
            tables = [r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite_%'")]
            assert tables
            for table in tables:
                db.execute(f'DROP TABLE "{table}"')
            db.commit()
        api = Api("", one.url, one.url)
        for _ in range(2):
            response = api.reserve(new_key(), 1, 1) if service == "stock" else api.charge(new_key(), money(100))
            assert response.status_code in (500, 503), response.text
            assert_problem(response, response.status_code, ("internal-error", "store-unavailable"))
            assert not any(t in response.text for t in tables if len(t) > 8)
        assert one.process.poll() is None, "it must not die of it"
        api.close()


# HT-16: slow clients. Each waits out the limit, so all run side by side.

def sluggish(base: str, first: bytes, drip: bytes, within: float) -> tuple[float, bytes]:
    """Sends `first`, then a byte of `drip` a second; how long until the other side ended it, and what it said."""
    started = time.monotonic()
    with raw.connect(base, 1.0) as sock:
        sock.sendall(first)
        said, sent = b"", 0
        while time.monotonic() - started < within:
            try:
                part = sock.recv(65536)
                if not part:
                    return time.monotonic() - started, said
                said += part
            except TimeoutError:
                if sent < len(drip):
                    try:
                        sock.sendall(drip[sent:sent + 1])
                        sent += 1
                    except OSError:
                        return time.monotonic() - started, said
            except OSError:
                return time.monotonic() - started, said
    return within, said


@pytest.fixture(scope="module")
def slow_clients(stack, api):
    """Starts every slow client as the module begins; a test then waits for its own."""
    keys, futures = {}, {}
    pool = ThreadPoolExecutor(16)
    ways = {"nginx": (stack.base, "/order/checkout"), "order": (stack.direct("order"), "/checkout"),
            "stock": (stack.direct("stock"), "/reserve"), "payment": (stack.direct("payment"), "/charge")}
    for way, (base, path) in ways.items():
        for kind in ("header", "dripping-header", "body", "dripping-body"):
            keys[way, kind] = key = new_key()
            whole = raw.message("POST", path, [JSON, ("Idempotency-Key", key)], b'{"itemId":1,"quantity":1}' + b" " * 100)
            cut = len(whole) - 120 if "body" in kind else whole.index(b"Content-Type") + 5
            futures[way, kind] = pool.submit(sluggish, base, whole[:cut], whole[cut:cut + 60] if "dripping" in kind else b"", 14.0)
    yield keys, futures
    pool.shutdown(wait=True)


@pytest.fixture(scope="module", autouse=True)
def start_slow_clients_early(slow_clients):
    """They wait while the other tests of this module run."""


@pytest.mark.parametrize("kind", ["header", "dripping-header", "body", "dripping-body"])
@pytest.mark.parametrize("way", ["nginx", "order", "stock", "payment"])
def test_HT_16_a_slow_client_is_ended_within_10_seconds_and_its_key_is_free(slow_clients, api, way, kind):
    keys, futures = slow_clients
    took, said = futures[way, kind].result(30)
    assert took < 11.5, f"still waiting after {took:.1f} s"
    if said:
        assert said.startswith(b"HTTP/1.1 408 "), said[:300]
        assert b"application/problem+json" in said and b'"request-timeout"' in said
    key = keys[way, kind]
    if way in ("nginx", "order"):
        assert_first(api.checkout(key, 1, 1))
    elif way == "stock":
        assert_json(api.release(assert_first(api.reserve(key, 1, 1))["reservationId"]))
    else:
        assert_first(api.charge(key, money(100)))


@pytest.mark.parametrize("path, key", [("/order/checkout", "not,one"), ("/payment/charge", ""), ("/order/nope", "abc-123")])
def test_a_connection_that_is_kept_open_is_usable_after_an_error_that_did_not_need_the_body(stack, path, key):
    """Head and body arrive apart. nginx would close the connection, having promised to keep it, if the service answered first."""
    body = b'{"itemId":1,"quantity":1}'
    headers = [("Content-Type", "application/json"), ("Idempotency-Key", key)]
    head = raw.message("POST", path, headers, length=len(body), close=False)
    sock = raw.connect(stack.base)
    try:
        for _ in range(3):
            raw.send(sock, head)
            time.sleep(0.05)
            raw.send(sock, body)
            answer = raw.receive(sock, "POST")
            assert answer is not None, "the connection was closed"
            assert 400 <= answer.status_code < 500
    finally:
        sock.close()


@pytest.mark.parametrize("half_closed", [False, True], ids=["connection-close", "half-closed"])
def test_requests_that_are_sent_together_are_answered_in_their_order(stack, item, half_closed):
    counts = list(range(1, 9))
    sent = b"".join(
        raw.message("POST", "/checkout", [JSON, ("Idempotency-Key", new_key())], b'{"itemId":%d,"quantity":%d}' % (item, count),
                    close=count == counts[-1] and not half_closed)
        for count in counts)
    with raw.connect(stack.direct("order")) as sock:
        raw.send(sock, sent)
        if half_closed:
            sock.shutdown(socket.SHUT_WR)
        answers = raw.receive_all(sock)
    assert [answer.status_code for answer in answers] == [200] * len(counts), answers
    assert [answer.json()["lines"][0]["quantity"] for answer in answers] == counts


def test_a_client_that_sends_nothing_more_and_reads_slowly_gets_all_its_answers_whole(stack):
    """More than the sockets between hold, so that most of it is still to be sent when the client's end is noticed."""
    count = 200
    with raw.connect(stack.direct("order")) as sock:
        raw.send(sock, raw.message("GET", "/openapi.json", [], close=False) * count)
        sock.shutdown(socket.SHUT_WR)
        time.sleep(1)
        answers = raw.receive_all(sock)
    assert [answer.status_code for answer in answers] == [200] * count
    assert {len(answer.content) for answer in answers} == {len(answers[0].content)}


def test_what_is_no_http_behind_a_request_is_refused_after_its_answer(stack, item):
    body = b'{"itemId":%d,"quantity":1}' % item
    with raw.connect(stack.direct("order")) as sock:
        raw.send(sock, raw.message("POST", "/checkout", [JSON, ("Idempotency-Key", new_key())], body, close=False) + b"no http\r\n\r\n")
        answers = raw.receive_all(sock)
    assert [answer.status_code for answer in answers] == [200, 400], answers
    assert_problem(answers[1], 400, "bad-request")
