"""Money: exact to the last minor unit, in any currency, and refused when it cannot be."""

from decimal import Decimal

import pytest

from api import assert_first, assert_invalid, assert_json, assert_problem, exact, money, new_key


def charge(api, amount: str, key: str | None = None):
    """The amount as it is written, digit for digit."""
    return api.call("POST", "payment", "/charge", key=key or new_key(), content=b'{"amount":%s}' % amount.encode())


@pytest.fixture
def unmoved(api):
    """Fails the test when any money moved in it."""
    api.wait_settled()
    before = api.audit("payment")
    yield
    assert api.audit("payment") == before


@pytest.mark.parametrize("written,minor", [
    ("20.00", 2000), ("20", 2000), ("20.5", 2050), ("0.01", 1), ("0.1", 10), ("0.30", 30), ("1.15", 115), ("4.35", 435), ("8.2", 820),
    ("1.005e0", None), ("19.99", 1999), ("1234567.89", 123456789), ("90071992547409.93", 9007199254740993), ("90071992547409.91", 9007199254740991),
])
def test_Money_a_decimal_amount_is_read_exactly(api, written, minor):
    if minor is None:
        assert_invalid(charge(api, written), "#/amount")
        return
    before = api.captured()
    body = assert_first(charge(api, written))
    assert body["amount"] == money(minor)
    assert api.captured() == (before[0] + minor, before[1])
    assert assert_json(api.charge_of(body["chargeId"]))["amount"] == money(minor)


@pytest.mark.parametrize("written", ["20.001", "0.001", "20.0000000000000000000001", "0.005", "1e-3", "90071992547409.931"])
def test_Money_more_digits_than_the_currency_has_are_422_and_never_rounded(api, unmoved, written):
    assert_invalid(charge(api, written), "#/amount")


@pytest.mark.parametrize("written", ["1e400", "-1e400", "1e-400", "1e19", "92233720368547758.08", "99999999999999999999999999999999999999",
                                     "9" * 5000, "1e2147483648", "1e99999999999999999999", "0." + "0" * 5000 + "1"],
                         ids=["1e400", "-1e400", "1e-400", "1e19", "int64-max-plus-one", "38-digits", "5000-digits", "1e2^31", "1e(10^20)", "tiny"])
def test_Money_an_amount_beyond_64_bits_is_422_and_never_a_crash(api, unmoved, written):
    assert_invalid(charge(api, written), "#/amount")


@pytest.mark.parametrize("written", ["-1", "-0.01", '"20.00"', "true", "null", "[]", "{}"])
def test_Money_what_is_no_amount_is_422(api, unmoved, written):
    body = assert_invalid(charge(api, written))
    assert all(e["pointer"].startswith("#/amount") for e in body["errors"]), body["errors"]


@pytest.mark.parametrize("minor,currency", [(2000, "USD"), (1, "EUR"), (500, "JPY"), (1234, "KWD"), (1, "BHD"), (9007199254740993, "USD")])
def test_Money_minor_units_and_a_currency_are_taken_as_they_are(api, minor, currency):
    before = api.captured(currency)
    body = assert_first(charge(api, '{"amount":%d,"currency":"%s"}' % (minor, currency)))
    assert body["amount"] == money(minor, currency)
    assert api.captured(currency) == (before[0] + minor, before[1])


@pytest.mark.parametrize("written,pointer", [
    ('{"amount":100,"currency":"XQX"}', "#/amount/currency"), ('{"amount":100,"currency":"DOLLARS"}', "#/amount/currency"),
    ('{"amount":100,"currency":""}', "#/amount/currency"), ('{"amount":100,"currency":840}', "#/amount/currency"),
    ('{"amount":100}', "#/amount/currency"), ('{"currency":"USD"}', "#/amount/amount"),
    ('{"amount":100.5,"currency":"USD"}', "#/amount/amount"), ('{"amount":"100","currency":"USD"}', "#/amount/amount"),
    ('{"amount":-100,"currency":"USD"}', "#/amount/amount"), ('{"amount":9223372036854775808,"currency":"USD"}', "#/amount/amount"),
    ('{"amount":1e400,"currency":"JPY"}', "#/amount/amount"), ('{"amount":1,"currency":"USD","x":1}', "#/amount/x"),
    ('{"amount":1,"amount":2,"currency":"USD"}', "#/amount/amount"),
])
def test_Money_a_bad_amount_or_an_unknown_currency_is_422_with_its_pointer(api, unmoved, written, pointer):
    assert_invalid(charge(api, written), pointer)


@pytest.mark.parametrize("currency,price,quantity,fee", [
    ("USD", 10, 3, "0.30"), ("USD", 7, 3, "0.21"), ("USD", 110, 3, "3.30"), ("USD", 1, 1_000_000, "10000.00"), ("USD", 9007199254740993, 1, "90071992547409.93"),
    ("JPY", 500, 2, "1000"), ("KWD", 1234, 2, "2.468"), ("BHD", 1, 1, "0.001"), ("EUR", 1999, 3, "59.97"),
], ids=lambda v: str(v))
def test_Money_the_total_is_exact_in_every_exponent(api, new_item, key, user, currency, price, quantity, fee):
    item = new_item(api, 1_000_000, money(price, currency))
    before = api.captured(currency)
    body = assert_first(api.checkout(key, item, quantity, user))
    assert body["total"] == money(price * quantity, currency)
    assert Decimal(str(body["totalFee"])) == Decimal(fee)
    assert body["lines"][0]["unitPrice"] == money(price, currency)
    assert api.captured(currency) == (before[0] + price * quantity, before[1])
    reserved = assert_first(api.reserve(key, item, 0 + 1)) if quantity < 1_000_000 else None
    if reserved:
        assert reserved["total"] == money(price, currency)
        assert_json(api.release(reserved["reservationId"]))


@pytest.mark.parametrize("written,minor", [("10.01", 1001), ("0.07", 7), ("3", 300), ("90071992547409.93", 9007199254740993)])
def test_Money_a_price_written_as_a_decimal_is_exact(api, new_item, written, minor):
    item = new_item(api)
    answer = api.call("PUT", "stock", f"/items/{item}", content=b'{"name":"exact","price":%s}' % written.encode())
    assert assert_json(answer)["price"] == money(minor)


@pytest.mark.parametrize("price,pointer", [("10.001", "#/price"), ("1e400", "#/price"), ('"10"', "#/price"), ("-1", "#/price"),
                                           ('{"amount":1,"currency":"XQX"}', "#/price/currency"), ('{"amount":1.5,"currency":"JPY"}', "#/price/amount")])
def test_Money_a_bad_price_is_422_and_changes_nothing(api, item, price, pointer):
    before = api.item(item)
    assert_invalid(api.call("PUT", "stock", f"/items/{item}", content=b'{"name":"bad","price":%s}' % price.encode()), pointer)
    assert api.item(item) == before


def test_Money_a_sum_of_lines_that_overflows_is_422(api, new_item, user):
    items = [new_item(api, 5, money(2**62)) for _ in range(2)]
    totals = api.captured()
    body = {"lines": [{"itemId": i, "quantity": 1} for i in items]}
    assert_problem(api.checkout(new_key(), body=body, user=user), 422, "validation-failed")
    assert all(api.numbers(i) == (5, 0, 5) for i in items)
    assert api.captured() == totals


def test_Money_a_cart_of_two_currencies_is_refused_and_changes_nothing(api, new_item, user):
    items = [new_item(api, 5, money(100)), new_item(api, 5, money(100, "JPY"))]
    totals = api.captured(), api.captured("JPY")
    response = api.checkout(new_key(), body={"lines": [{"itemId": i, "quantity": 1} for i in items]}, user=user)
    assert_problem(response, 422, "validation-failed")
    assert all(api.numbers(i) == (5, 0, 5) for i in items)
    assert (api.captured(), api.captured("JPY")) == totals


def test_Money_the_reservation_holds_the_price_of_its_time(api, new_item, key):
    """Hazard 44."""
    item = new_item(api, 10, money(100))
    reservation = assert_first(api.reserve(key, item, 2))["reservationId"]
    assert_json(api.put_item(item, money(999)))
    assert assert_json(api.reservation(reservation))["total"] == money(200)
    assert assert_json(api.complete(reservation))["total"] == money(200)
    assert exact(api.checkout(new_key(), item, 1))["total"] == money(999)
