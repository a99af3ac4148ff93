"""The words the tests are written in: one call of the contract each, and the assertions that every answer must meet."""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from urllib.parse import quote

import httpx

from stack import eventually

REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,128}$")
TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")

# Whether the same request may be sent again as it is (SPEC): by code, so that no test has to say it.
RETRYABLE = {
    "request-in-progress": True, "too-many-requests": True, "bad-gateway": True, "service-unavailable": True,
    "store-unavailable": True, "draining": True, "overloaded": True, "provider-unavailable": True,
    "checkout-unavailable": True, "outcome-unknown": True, "gateway-timeout": True,
    "invalid-json": False, "invalid-parameter": False, "user-id-invalid": False, "idempotency-key-missing": False,
    "idempotency-key-invalid": False, "bad-request": False, "payment-declined": False, "not-found": False,
    "item-not-found": False, "order-not-found": False, "reservation-not-found": False, "charge-not-found": False,
    "account-not-found": False, "payment-not-found": False, "payment-state-conflict": False, "refund-exceeds-payment": False,
    "webhook-signature-invalid": False, "account-exists": False, "balance-limit-exceeded": False, "ledger-check-running": True,
    "method-not-allowed": False, "insufficient-stock": False, "order-state-conflict": False,
    "reservation-state-conflict": False, "charge-state-conflict": False, "refund-exceeds-charge": False,
    "payment-canceled": False, "refund-exceeds-payment": False,
    "payload-too-large": False, "uri-too-long": False, "deadline-exceeded": True,
    "unsupported-media-type": False, "idempotency-key-reused": False, "validation-failed": False,
    "header-fields-too-large": False,
}
# Traces of the inside that no `detail` may show.
INTERNALS = re.compile(r"sqlite|grdb|\.swift|swift\.|nioc?ore|fatal error|stack trace|/tmp/|/home/|/src/|errno|curl", re.I)


def new_key(prefix: str = "key") -> str:
    return f"{prefix}-{uuid.uuid4()}"


def values(response, name: str) -> list[str]:
    """Every line of a header."""
    pairs = response.header_list if hasattr(response, "header_list") else response.headers.multi_items()
    return [v for k, v in pairs if k.lower() == name.lower()]


def exact(response):
    """The body with every decimal as it was written: never through binary floating point."""
    return json.loads(response.content, parse_float=Decimal)


def media_type(response) -> str:
    return response.headers.get("content-type", "").split(";")[0].strip().lower()


def assert_problem(response, status: int, code: str | tuple[str, ...]) -> dict:
    """A whole problem document: every member, the headers that go with it, and nothing of the inside. Returns it."""
    assert response is not None, "the connection was closed without an answer"
    codes = (code,) if isinstance(code, str) else code
    assert response.status_code == status, f"{response.status_code} instead of {status}: {response.text[:500]}"
    assert media_type(response) == "application/problem+json", response.headers.get("content-type")
    assert response.headers.get("cache-control") == "no-store"
    body = response.json()
    missing = {"type", "title", "status", "detail", "instance", "code", "retryable", "requestId"} - body.keys()
    assert not missing, f"the problem document lacks {missing}: {body}"
    assert body["code"] in codes, f"{body['code']} instead of {codes}: {body}"
    assert body["type"] == f"/problems/{body['code']}"
    assert body["status"] == status
    assert isinstance(body["title"], str) and body["title"]
    assert isinstance(body["detail"], str) and body["detail"]
    assert isinstance(body["instance"], str) and body["instance"]
    assert isinstance(body["requestId"], str) and REQUEST_ID.match(body["requestId"])
    assert values(response, "X-Request-ID") == [body["requestId"]]
    assert isinstance(body["retryable"], bool)
    if body["code"] in RETRYABLE:
        assert body["retryable"] is RETRYABLE[body["code"]], body
    if status in (429, 503) or body["code"] in ("request-in-progress", "outcome-unknown"):
        assert re.match(r"^[1-9]\d*$", response.headers.get("retry-after", "")), "Retry-After is missing"
    if body["code"] == "request-in-progress":
        assert response.headers["retry-after"] == "1"
    if not body["retryable"]:
        assert "retry-after" not in response.headers
    assert not INTERNALS.search(json.dumps(body)), f"internals in {body}"
    assert values(response, "Idempotent-Replayed") in ([], ["true"])
    return body


def assert_invalid(response, *pointers: str) -> dict:
    """422 validation-failed, with an error at each pointer."""
    body = assert_problem(response, 422, "validation-failed")
    assert isinstance(body.get("errors"), list) and body["errors"], f"no errors in {body}"
    for error in body["errors"]:
        assert isinstance(error["pointer"], str) and error["pointer"].startswith("#")
        assert isinstance(error["detail"], str) and error["detail"]
    found = [e["pointer"] for e in body["errors"]]
    for pointer in pointers:
        assert pointer in found, f"no error at {pointer}: {found}"
    return body


def assert_json(response, status: int = 200):
    """A successful JSON answer with one request id. Returns it with exact decimals."""
    assert response is not None, "the connection was closed without an answer"
    assert response.status_code == status, f"{response.status_code} instead of {status}: {response.text[:500]}"
    assert media_type(response) == "application/json"
    ids = values(response, "X-Request-ID")
    assert len(ids) == 1 and REQUEST_ID.match(ids[0]), ids
    return exact(response)


def assert_first(response, status: int = 200):
    """Success that was executed now."""
    body = assert_json(response, status)
    assert values(response, "Idempotent-Replayed") == [], "this is a replay, not an execution"
    return body


def assert_replay(response, first) -> None:
    """The same status and bytes, marked as a replay, under a request id of its own."""
    assert response.status_code == first.status_code, response.text[:500]
    assert response.content == first.content
    assert media_type(response) == media_type(first)
    assert values(response, "Idempotent-Replayed") == ["true"]
    assert len(values(response, "X-Request-ID")) == 1
    assert values(response, "X-Request-ID") != values(first, "X-Request-ID")


def money(amount: int, currency: str = "USD") -> dict:
    return {"amount": amount, "currency": currency}


class Api:
    """Calls the system: through nginx by the prefixes of the services, or each service directly."""

    def __init__(self, order: str, stock: str, payment: str, audit: dict[str, str] | None = None, timeout: float = 40.0):
        self.urls = {"order": order, "stock": stock, "payment": payment}
        self.audits = audit or self.urls
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=100)
        self.http = httpx.Client(timeout=timeout, trust_env=False, follow_redirects=False, limits=limits)

    @classmethod
    def through_nginx(cls, stack) -> "Api":
        direct = {s: stack.direct(s) for s in ("order", "stock", "payment")}
        return cls(f"{stack.base}/order", f"{stack.base}/stock", f"{stack.base}/payment", direct)

    def close(self) -> None:
        self.http.close()

    def call(self, method: str, service: str, path: str, body=None, key: str | None = None, user: str | None = None,
             headers: dict | None = None, content: bytes | None = None) -> httpx.Response:
        send = dict(headers or {})
        if key is not None:
            send["Idempotency-Key"] = key
        if user is not None:
            send["X-User-ID"] = user
        if content is None and body is not None:
            content = json.dumps(body).encode()
        if content is not None and "Content-Type" not in send:
            send["Content-Type"] = "application/json"
        return self.http.request(method, self.urls[service] + path, headers=send, content=content)

    # Order

    def checkout(self, key: str | None, item: int = 1, quantity: int = 1, user: str | None = None, method: str | None = None,
                 body: dict | None = None, **more) -> httpx.Response:
        if body is None:
            body = {"itemId": item, "quantity": quantity}
            if method is not None:
                body["method"] = method
        return self.call("POST", "order", "/checkout", body, key, user, **more)

    def orders(self, user: str | None = None, query: str = "") -> httpx.Response:
        return self.call("GET", "order", f"/orders{query}", user=user)

    def order(self, order_id: str, user: str | None = None) -> httpx.Response:
        return self.call("GET", "order", f"/orders/{order_id}", user=user)

    def orders_of(self, user: str) -> list[dict]:
        """All of a user's orders, newest first, page by page."""
        found, cursor = [], None
        for _ in range(1000):
            response = self.orders(user, "?limit=100" + (f"&cursor={quote(cursor, safe='')}" if cursor else ""))
            page = assert_json(response)
            found += page["orders"]
            cursor = page["nextCursor"]
            if cursor is None:
                return found
        raise AssertionError("the list of orders does not end")

    def until_definite(self, key: str, within: float = 40.0, **command) -> httpx.Response:
        """Sends the checkout again until its outcome is known: not in progress, not unknown, not to be tried again."""
        def ask():
            try:
                response = self.checkout(key, **command)
            except httpx.TransportError:
                return None
            if response.status_code in (408, 429, 500, 502, 503, 504):
                return None
            if response.status_code == 409 and response.json().get("code") == "request-in-progress":
                return None
            return response
        return eventually(ask, f"the outcome of {key} is known", within, every=0.1)

    # Stock

    def put_item(self, item: int, price=money(1000), on_hand: int | None = None, name: str = "test item") -> httpx.Response:
        body = {"name": name, "price": price}
        if on_hand is not None:
            body["onHand"] = on_hand
        return self.call("PUT", "stock", f"/items/{item}", body)

    def item(self, item: int) -> dict:
        return assert_json(self.call("GET", "stock", f"/items/{item}"))

    def numbers(self, item: int) -> tuple[int, int, int]:
        """onHand, reserved, available, which always add up."""
        body = self.item(item)
        assert body["available"] == body["onHand"] - body["reserved"], body
        assert min(body["onHand"], body["reserved"], body["available"]) >= 0, body
        return body["onHand"], body["reserved"], body["available"]

    def reserve(self, key: str | None, item: int = 1, quantity: int = 1, user: str | None = None, **more) -> httpx.Response:
        return self.call("POST", "stock", "/reserve", {"itemId": item, "quantity": quantity, **more}, key, user)

    def release(self, reservation: str, user: str | None = None) -> httpx.Response:
        return self.call("POST", "stock", "/release", {"reservationId": reservation}, user=user)

    def complete(self, reservation: str, user: str | None = None) -> httpx.Response:
        return self.call("POST", "stock", "/complete", {"reservationId": reservation}, user=user)

    def reservation(self, reservation: str, user: str | None = None) -> httpx.Response:
        return self.call("GET", "stock", f"/reservations/{reservation}", user=user)

    # Payment

    def charge(self, key: str | None, amount=money(2000), user: str | None = None, **more) -> httpx.Response:
        return self.call("POST", "payment", "/charge", {"amount": amount, **more}, key, user)

    def refund(self, key: str | None, charge: str, amount=None, user: str | None = None, **more) -> httpx.Response:
        body = {"chargeId": charge, **more}
        if amount is not None:
            body["amount"] = amount
        return self.call("POST", "payment", "/refund", body, key, user)

    def charge_of(self, charge: str, user: str | None = None) -> httpx.Response:
        """A charge, asked for by the user whose it is: another's may read as not found (INV-15)."""
        return self.call("GET", "payment", f"/charges/{charge}", user=user)

    # Accounts

    def open_account(self, user: str | None = None, balance=None, key: str | None = None, **more) -> httpx.Response:
        body = {**more} if balance is None else {"initialBalance": balance, **more}
        return self.call("POST", "payment", "/accounts", body, key, user)

    def account(self, account: str, user: str | None = None, part: str = "") -> httpx.Response:
        return self.call("GET", "payment", f"/accounts/{account}{part}", user=user)

    def deposit(self, key: str | None, amount, user: str | None = None, **more) -> httpx.Response:
        return self.call("POST", "payment", "/accounts/deposit", {"amount": amount, **more}, key, user)

    def withdraw(self, key: str | None, amount, user: str | None = None, **more) -> httpx.Response:
        return self.call("POST", "payment", "/accounts/withdraw", {"amount": amount, **more}, key, user)

    def transfer(self, key: str | None, source: str, destination: str, amount, user: str | None = None, **more) -> httpx.Response:
        body = {"sourceAccountId": source, "destinationAccountId": destination, "amount": amount, **more}
        return self.call("POST", "payment", "/transfers", body, key, user)

    def balance(self, user: str, currency: str = "USD") -> int:
        """Minor units in the user's account."""
        return assert_json(self.call("GET", "payment", f"/accounts/balance?currency={currency}", user=user))["balance"]["amount"]

    def events(self, charge: str, user: str | None = None) -> list[dict]:
        return assert_json(self.call("GET", "payment", f"/charges/{charge}/events?limit=100", user=user))["events"]

    def ledger(self) -> dict:
        """The check of the ledger, not older than this call."""
        time.sleep(1.05)  # An outcome is given to others for a second.
        return assert_json(self.call("GET", "payment", "/ledger/check"))

    # The totals, of each service directly

    def audit(self, service: str) -> dict:
        return assert_json(self.http.get(f"{self.audits[service]}/audit/totals"))

    def captured(self, currency: str = "USD") -> tuple[int, int]:
        """Captured and refunded minor units."""
        for line in self.audit("payment")["currencies"]:
            if line["currency"] == currency:
                assert line["net"] == line["captured"] - line["refunded"], line
                return line["captured"], line["refunded"]
        return 0, 0

    def wait_settled(self, within: float = 30.0) -> None:
        """Until no order is pending any more."""
        eventually(lambda: self.audit("order")["orders"]["pending"] == 0, "no order is pending", within)


def at_once(count: int, job) -> list:
    """Runs `job(i)` in so many threads that all start together; their results in order."""
    barrier = threading.Barrier(count)

    def run(i: int):
        barrier.wait(20)
        return job(i)
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


class Background:
    """A call that runs while the test goes on."""

    def __init__(self, job):
        self._pool = ThreadPoolExecutor(1)
        self._future = self._pool.submit(job)
        self._pool.shutdown(wait=False)

    @property
    def done(self) -> bool:
        return self._future.done()

    def result(self, within: float = 40.0):
        return self._future.result(within)
