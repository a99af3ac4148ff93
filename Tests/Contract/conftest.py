"""What the tests share: one stack for all, one laboratory, and an item, a user and a key of its own for each test."""

from __future__ import annotations

import itertools
import os
import random
import uuid

import pytest

from api import Api, assert_json, money, new_key
from lab import Lab
from stack import ROOT, Stack, binary

_items = itertools.count(random.randrange(1_000_000, 1_000_000_000))


def pytest_configure(config):
    if not os.access(binary(), os.X_OK):
        raise pytest.UsageError(f"no executable at {binary()}: build it (scripts/test does), or set CHECKOUT_BIN")


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def stack():
    with Stack() as running:
        yield running


@pytest.fixture(scope="session")
def api(stack):
    """Through nginx."""
    api = Api.through_nginx(stack)
    yield api
    api.close()


@pytest.fixture(scope="session")
def direct(stack):
    """The same system, past nginx."""
    api = Api(*(stack.direct(s) for s in ("order", "stock", "payment")))
    yield api
    api.close()


# Short enough that a checkout whose outcome stays unknown is answered soon.
LAB_CHECKOUT_TIMEOUT = 3


@pytest.fixture(scope="session")
def running_lab():
    with Lab(order={"CHECKOUT_TIMEOUT_SECONDS": str(LAB_CHECKOUT_TIMEOUT)}) as running:
        yield running


@pytest.fixture
def lab(running_lab):
    running_lab.reset()
    yield running_lab
    running_lab.to_stock.reset()
    running_lab.to_payment.reset()


@pytest.fixture
def key():
    return new_key()


@pytest.fixture
def user():
    return f"user-{uuid.uuid4()}"


@pytest.fixture
def new_item():
    """Makes an item of the test's own in the system of `api`, with a known price and a known stock; gives its id."""
    def make(api: Api, on_hand: int = 100, price=None) -> int:
        item = next(_items)
        assert_json(api.put_item(item, price or money(1000), on_hand), 201)
        return item
    return make


@pytest.fixture
def item(api, new_item):
    """An item of 10.00 USD, 100 of them, behind nginx."""
    return new_item(api)


@pytest.fixture
def lab_item(lab, new_item):
    """The same in the laboratory."""
    return new_item(lab.api)
