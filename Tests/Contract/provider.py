"""A payment provider that a test holds in its hands: its books, and what goes wrong with each call."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def signed(body: bytes, message: str, timestamp: int | None = None, secret: str = SECRET) -> dict[str, str]:
    """The headers of a message, by Standard Webhooks 1.0; written apart from the code under test."""
    stamp = str(int(time.time()) if timestamp is None else timestamp)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    code = hmac.new(key, f"{message}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {"webhook-id": message, "webhook-timestamp": stamp, "Content-Type": "application/json",
            "webhook-signature": "v1," + base64.b64encode(code).decode()}


def event(reference: str, kind: str = "payment.succeeded", status: str = "succeeded") -> bytes:
    return json.dumps({"type": kind, "timestamp": "2026-01-01T00:00:00Z",
                       "data": {"reference": reference, "status": status}}).encode()


class Provider:
    """Both providers on one port. `faults` are taken one for each POST of a payment or refund, in order:

    None: as it should be. "decline", "throttle" (429), "error" (500, nothing taken), "lose" (taken, no answer in time),
    "drop" (not taken, no answer in time), "pending" (taken up; `settle` ends it), "refuse" (422), "forbid" (403 without a
    document), "other amount" (a hundredth is taken, and every answer says so).
    """

    def __init__(self):
        self.payments: dict[str, dict] = {}
        self.refunds: dict[str, dict] = {}
        self.canceled: set[str] = set()
        self.faults: list[str | None] = []
        self.calls: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                self.answer(*provider.get(self.path))

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = provider.post(self.path, body, self.headers)
                if answer is None:
                    time.sleep(1.5)  # longer than the caller waits
                    self.close_connection = True
                else:
                    self.answer(*answer)

            def answer(self, status, body, headers=()):
                data = json.dumps(body).encode()
                kind = "application/json" if status == 200 else "application/problem+json"
                self.send_response(status)
                for name, value in (("Content-Type", kind), ("Content-Length", str(len(data))), *headers):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # the caller has gone

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def environment(self) -> dict[str, str]:
        """For Payment, with times that a test can wait for."""
        return {"STRIPE_BASE_URL": f"{self.url}/stripe", "PAYPAL_BASE_URL": f"{self.url}/paypal", "STRIPE_WEBHOOK_SECRET": SECRET,
                "PROVIDER_TIMEOUT_SECONDS": "0.3", "GATEWAY_MAX_ATTEMPTS": "3", "GATEWAY_BACKOFF_BASE_SECONDS": "0.1",
                "GATEWAY_BACKOFF_JITTER_SECONDS": "0.01", "GATEWAY_BACKOFF_MAX_SECONDS": "0.5",
                "WORKER_POLL_INTERVAL_SECONDS": "0.05", "BREAKER_MIN_CALLS": "1000", "BREAKER_CONSECUTIVE_FAILURES": "1000"}

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def count(self, part: str) -> int:
        return sum(part in path for _, path in self.calls)

    # The books

    @staticmethod
    def problem(status: int, code: str, **more):
        return status, {"type": f"/problems/{code}", "title": code, "status": status, "detail": "no", "code": code, **more}

    def shown(self, payment: dict):
        if payment["status"] == "declined":
            return self.problem(402, "payment-declined", declineCode="card_declined")
        return 200, payment

    def get(self, path: str):
        with self.lock:
            self.calls.append(("GET", path))
            reference = path.rsplit("/", 1)[1]
            if "/refunds/" in path:
                refund = self.refunds.get(reference)
                return (200, refund) if refund else self.problem(404, "not-found")
            payment = self.payments.get(reference)
            return (200, payment) if payment else self.problem(404, "not-found")

    def post(self, path: str, body: bytes, headers):
        with self.lock:
            self.calls.append(("POST", path))
            if path.endswith("/cancel"):
                reference = path.split("/")[-2]
                if reference in self.payments:
                    return 200, self.payments[reference]
                self.canceled.add(reference)
                return 200, {"reference": reference, "status": "canceled"}
            command = json.loads(body)
            assert headers["Idempotency-Key"] == command["reference"]
            fault = self.faults.pop(0) if self.faults else None
            if fault == "throttle":
                return (*self.problem(429, "too-many-requests"), (("Retry-After", "1"),))
            if fault == "error":
                return self.problem(500, "internal-error")
            if fault == "refuse":
                return self.problem(422, "validation-failed")
            if fault == "forbid":
                return 403, {}
            if fault == "drop":
                return None
            answer = self.refund(command) if path.endswith("/refunds") else self.pay(command, fault)
            return None if fault == "lose" else answer

    def pay(self, command: dict, fault):
        reference = command["reference"]
        if reference in self.canceled:
            return self.problem(409, "payment-canceled")
        if reference not in self.payments:
            if fault == "other amount":
                command = {**command, "amount": {**command["amount"], "amount": command["amount"]["amount"] // 100}}
            status = {"decline": "declined", "pending": "pending"}.get(fault, "succeeded")
            self.payments[reference] = {
                "id": f"pp_{uuid.uuid4().hex}", "reference": reference, "kind": command["kind"], "status": status,
                "amount": command["amount"], "refunded": {"amount": 0, "currency": command["amount"]["currency"]},
                **({"declineCode": "card_declined"} if status == "declined" else {})}
        return self.shown(self.payments[reference])

    def refund(self, command: dict):
        reference = command["reference"]
        if reference not in self.refunds:
            payment = self.payments.get(command["paymentReference"])
            if payment is None:
                return self.problem(404, "not-found")
            payment["refunded"]["amount"] += command["amount"]["amount"]
            if payment["refunded"]["amount"] > payment["amount"]["amount"]:
                payment["refunded"]["amount"] -= command["amount"]["amount"]
                return self.problem(422, "refund-exceeds-payment")
            self.refunds[reference] = {"id": f"re_{uuid.uuid4().hex}", "status": "succeeded", **command}
        return 200, self.refunds[reference]

    def settle(self, reference: str) -> None:
        with self.lock:
            self.payments[reference]["status"] = "succeeded"

    def taken(self) -> int:
        """What was collected less what was paid out, in minor units."""
        with self.lock:
            total = 0
            for payment in self.payments.values():
                if payment["status"] == "succeeded":
                    sign = 1 if payment["kind"] == "charge" else -1
                    total += sign * (payment["amount"]["amount"] - payment["refunded"]["amount"])
            return total
