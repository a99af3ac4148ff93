"""IK-01 to IK-08: what a key may look like. Nothing that is refused here may have been executed."""

import pytest

import raw
from api import assert_first, assert_json, assert_problem, assert_replay, new_key

KEYED = ["checkout", "reserve", "charge", "refund"]


def command(operation: str, item: int) -> tuple[str, str, bytes]:
    """Service, path and a valid body for each operation that requires a key."""
    return {
        "checkout": ("order", "/checkout", b'{"itemId":%d,"quantity":1}' % item),
        "reserve": ("stock", "/reserve", b'{"itemId":%d,"quantity":1}' % item),
        "charge": ("payment", "/charge", b'{"amount":20.00}'),
        "refund": ("payment", "/refund", b'{"chargeId":"00000000-0000-4000-8000-000000000000"}'),
    }[operation]


def post(base: str, operation: str, item: int, keys: list[bytes], prefix: bool = True, user: str | None = None):
    """The request with these key lines, byte for byte."""
    service, path, body = command(operation, item)
    headers = [("Content-Type", "application/json")] + [("Idempotency-Key", k) for k in keys]
    if user:
        headers.append(("X-User-ID", user))
    return raw.request(base, "POST", f"/{service}{path}" if prefix else path, headers, body)


@pytest.fixture
def untouched(api, item):
    """Fails the test when anything was reserved, sold or charged in it."""
    api.wait_settled()
    stock, money = api.numbers(item), api.captured()
    yield
    assert api.numbers(item) == stock == (100, 0, 100)
    assert api.captured() == money


@pytest.mark.parametrize("operation", KEYED)
def test_IK_01_a_missing_key_is_refused(stack, item, untouched, operation):
    assert_problem(post(stack.base, operation, item, []), 400, "idempotency-key-missing")


@pytest.mark.parametrize("operation", KEYED)
@pytest.mark.parametrize("value", [b"", b"   ", b'""'], ids=["nothing", "blanks", "empty-string"])
def test_IK_02_an_empty_key_is_invalid(stack, item, untouched, operation, value):
    assert_problem(post(stack.base, operation, item, [value]), 400, "idempotency-key-invalid")


@pytest.mark.parametrize("form", ["bare", "quoted", "escaped"])
def test_IK_03_a_key_of_255_characters_is_good(stack, api, item, form):
    text = new_key().ljust(255, "x")
    value = {"bare": text, "quoted": f'"{text}"', "escaped": '"' + text[:254] + '\\""'}[form]
    assert_first(post(stack.base, "checkout", item, [value.encode()]))
    assert api.numbers(item) == (99, 0, 99)


@pytest.mark.parametrize("form", ["bare", "quoted", "escaped"])
def test_IK_03_a_key_of_256_characters_is_invalid(stack, item, untouched, form):
    text = new_key().ljust(256, "x")
    value = {"bare": text, "quoted": f'"{text}"', "escaped": '"' + text[:255] + '\\""'}[form]
    assert_problem(post(stack.base, "checkout", item, [value.encode()]), 400, "idempotency-key-invalid")


def test_IK_03_a_key_far_too_long_is_invalid(stack, item, untouched):
    assert_problem(post(stack.base, "checkout", item, [b"k" * 4000]), 400, "idempotency-key-invalid")


@pytest.mark.parametrize("value", [b"a", b"abc-123", b"~!#$%&()*+-./:;<=>?@[]^_{|}"], ids=["one", "abc-123", "signs"])
def test_IK_03_there_is_no_minimum_and_visible_ascii_is_good(stack, api, item, user, value):
    assert_first(post(stack.base, "checkout", item, [value], user=user))
    assert api.numbers(item) == (99, 0, 99)


@pytest.mark.parametrize("value", [b"a b", b"a,b", "ключ".encode(), "caf\u00e9".encode("latin-1"), '"é"'.encode()],
                         ids=["space", "comma", "utf-8", "latin-1", "quoted-utf-8"])
def test_IK_04_space_comma_and_non_ascii_are_invalid(stack, item, untouched, value):
    assert_problem(post(stack.base, "checkout", item, [value]), 400, "idempotency-key-invalid")


@pytest.mark.parametrize("value", [b"a\x01b", b"a\x7fb", b"a\tb", b'"a\x01b"', b'"a\x7fb"', b"a\x00b"],
                         ids=["soh", "del", "tab", "quoted-soh", "quoted-del", "nul"])
@pytest.mark.parametrize("way", ["nginx", "service"])
def test_IK_04_a_control_character_is_refused(stack, item, untouched, value, way):
    base = stack.base if way == "nginx" else stack.direct("order")
    answer = post(base, "checkout", item, [value], prefix=way == "nginx")
    assert_problem(answer, 400, ("idempotency-key-invalid", "bad-request"))


def test_IK_05_the_bare_and_the_quoted_form_are_one_key(stack, api, item):
    key = new_key().encode()
    first = post(stack.base, "checkout", item, [key])
    assert_first(first)
    second = post(stack.base, "checkout", item, [b'"' + key + b'"'])
    assert_replay(second, first)
    third = post(stack.base, "checkout", item, [b"  " + key + b"\t "])
    assert_replay(third, first)
    assert api.numbers(item) == (99, 0, 99)


def test_IK_05_a_quoted_key_may_hold_a_comma(stack, api, item):
    key = b'"' + new_key().encode() + b',x"'
    first = post(stack.base, "checkout", item, [key])
    assert_first(first)
    assert_replay(post(stack.base, "checkout", item, [key]), first)
    assert api.numbers(item) == (99, 0, 99)


@pytest.mark.parametrize("value", [b'"a', b'"', b"'a'", b'"a\\x"', b'"a\\"', b'"a"b', b'"a""b"'],
                         ids=["open", "one-quote", "single", "unknown-escape", "escaped-end", "tail", "two-strings"])
def test_IK_06_bad_quoting_is_invalid(stack, item, untouched, value):
    assert_problem(post(stack.base, "checkout", item, [value]), 400, "idempotency-key-invalid")


@pytest.mark.parametrize("way", ["nginx", "service"])
@pytest.mark.parametrize("values", [[b"one", b"two"], [b"same", b"same"], [b'"a"', b'"b"'], [b"a, b"], [b'"a", "b"'], [b"", b"a"]],
                         ids=["two-lines", "twice-the-same", "two-strings", "list", "list-of-strings", "empty-and-one"])
def test_IK_07_two_lines_or_a_list_are_invalid(stack, item, untouched, values, way):
    base = stack.base if way == "nginx" else stack.direct("order")
    answer = post(base, "checkout", item, values, prefix=way == "nginx")
    assert_problem(answer, 400, "idempotency-key-invalid")


@pytest.mark.parametrize("keys", [[b'"bad'], [b"a", b"b"], [b""], [b"k" * 300]], ids=["quoting", "two", "empty", "long"])
@pytest.mark.parametrize("path", ["/order/orders", "/stock/items", "/stock/items/1"])
def test_IK_08_on_a_get_the_key_is_ignored(stack, keys, path):
    answer = raw.request(stack.base, "GET", path, [("Idempotency-Key", k) for k in keys])
    assert_json(answer)
    assert "idempotent-replayed" not in answer.headers
