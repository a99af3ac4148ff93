"""What schemathesis cannot know of the checkout by itself. Loaded by it through SCHEMATHESIS_HOOKS."""

import re
import uuid

import schemathesis

KEY = re.compile(r'^(?:[!#-&(-+\-.-\[\]-~]{1,255}|"(?:[!#-\[\]-~]|\\["\\]){1,255}")$')
REFERENCE = re.compile(r"^[A-Za-z0-9_-]{1,128}\Z")

# Reasons by which a command that the schema allows is refused all the same.
BEYOND_A_SCHEMA = (
    "is in another line already",  # two lines of one item
    "makes a total that is too large", "has items in different currencies",
    "already; add stock with",  # onHand of an item that exists
    "would make the stock larger than", "must be that of the charge", "must be that of the payment",
    "money that is only set aside is not supported",  # capture is true or left out
)
# What depends on the user of another header, on another member, or on the accounts that there are.
OF_ACCOUNTS = (
    "is required when X-User-ID names no user", "must be the user of X-User-ID, or be left out",
    "digits after the point", "is too large",  # for the currency beside the decimal
    "must be that of amount", "must be that of initialBalance",
    "must be another account than the source", "is an account in", "must be in the currency of the account", "must be in the currency of the payment",
)


@schemathesis.hook
def before_call(context, case, kwargs):
    """A good key is made one of its own: the same few short keys for many commands would only ever be refused as reused."""
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and KEY.match(key) and len(key) <= 200:
        quote = '"' if key.startswith('"') else ""
        case.headers["Idempotency-Key"] = f"{key.removesuffix(quote) if quote else key}-{uuid.uuid4()}{quote}"
        # A provider's key is the reference in the body. One that is bad by the schema stays as it is.
        reference = case.body.get("reference") if isinstance(case.body, dict) else None
        if isinstance(reference, str) and REFERENCE.match(reference):
            case.body["reference"] = case.headers["Idempotency-Key"] = f"{reference[:80]}-{uuid.uuid4()}"


@schemathesis.check
def refused_only_for_reasons_beyond_the_schema(context, response, case):
    """A 422 in answer to a command that the schema allows says one of the reasons above."""
    if response.status_code != 422 or case.meta is None or not case.meta.generation.mode.is_positive:
        return
    problem = response.json()
    # A reservationId that holds other lines; more than is left of a payment at a provider.
    if problem["code"] in ("idempotency-key-reused", "refund-exceeds-payment"):
        return
    body = response.request.body or b""
    body = body if isinstance(body, bytes) else body.encode()
    for error in problem["errors"]:
        # To a schema 2.0 is a whole number, and to us it is not: quantities are written as they are counted.
        if "must be a whole number" in error["detail"] and re.search(rb"\d\.0\b|\d[eE]", body):
            continue
        # The largest amount has more digits than the floating-point numbers that cases are made of.
        if error["detail"] == "is too large" and re.search(rb"9223372036854776\d|9\.2\d*[eE]\+16", body):
            continue
        reasons = BEYOND_A_SCHEMA + (OF_ACCOUNTS if case.path.startswith(("/accounts", "/transfers", "/payments")) else ())
        assert any(reason in error["detail"] for reason in reasons), f"the schema allows it, and yet: {error}"


@schemathesis.check
def refused_only_for_want_of_a_user(context, response, case):
    """Of the queries that a schema allows, only one that leaves open whose balance it asks for is answered 400."""
    if response.status_code != 400 or case.meta is None or not case.meta.generation.mode.is_positive:
        return
    assert case.path == "/accounts/balance", "config allows 400 there alone"
    reasons = ("Name a user, by X-User-ID or by userId.", "userId must be the user of X-User-ID, or be left out.")
    assert response.json()["detail"] in reasons, response.text
