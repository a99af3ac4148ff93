"""OP-02: the metrics, by Prometheus itself; the alert rules and the dashboard against it. Needs Debian's package `prometheus`."""

import json
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import httpx
import pytest
import yaml

import fakes
import raw
from api import Api, assert_first, assert_problem, new_key
from stack import ROOT, SERVICES, Service, Stack, clean_environment, eventually, free_ports, get

DEPLOY = ROOT / "deploy"
# OP-02, and where each must be.
EVERYWHERE = ("http_server_request_duration_seconds", "checkout_build_info", "process_cpu_seconds_total",
              "process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds",
              "store_transaction_duration_seconds", "store_size_bytes", "store_disk_available_bytes", "store_disk_size_bytes")
OF_ORDER = ("http_client_request_duration_seconds", "checkout_total", "checkout_saga_duration_seconds", "checkout_sagas",
            "checkout_limbo_minor_units", "idempotency_requests_total", "retry_attempts_total", "saga_compensations_total",
            "circuit_breaker_state")
BOUNDS = ["0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75", "1", "2.5", "5", "7.5", "10", "+Inf"]


def scrape(url: str) -> str:
    answer = get(f"{url}/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return answer.text


def samples(text: str, name: str) -> dict[tuple, float]:
    """The values of a metric by its labels, as sorted pairs."""
    found = {}
    for labels, value in re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, re.M):
        found[tuple(sorted(re.findall(r'(\w+)="([^"]*)"', labels)))] = float(value)
    return found


def total(text: str, name: str, **labels) -> float:
    return sum(v for k, v in samples(text, name).items() if set(labels.items()) <= set(k))


def promtool(*args: str, given: str | None = None, cwd=None) -> str:
    run = subprocess.run(["promtool", *args], input=given, capture_output=True, text=True, timeout=60, cwd=cwd)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


class Prometheus:
    """Prometheus on a free port, with the rules of the product, on the services of a stack."""

    def __init__(self, stack: Stack, directory):
        self.url = f"http://127.0.0.1:{free_ports(1)[0]}"
        configuration = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        exporter = f"127.0.0.1:{free_ports(1)[0]}"
        for job in configuration["scrape_configs"]:
            name = job["job_name"]
            job["static_configs"] = [{"targets": [exporter if name == "edge" else f"127.0.0.1:{stack.port(name)}"]}]
            if name == "edge":
                [asked] = job["params"]["target"]
                job["params"]["target"] = [asked.replace("http://nginx", stack.base)]
        shutil.copy(DEPLOY / "prometheus" / "alerts.yml", directory)
        (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        self.log = open(directory / "prometheus.log", "wb")
        # As it comes, with the modules of its own.
        self.exporter = subprocess.Popen(
            ["prometheus-blackbox-exporter", "--config.file=/etc/prometheus/blackbox.yml", f"--web.listen-address={exporter}"],
            env=clean_environment({}), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data",
             f"--web.listen-address={self.url.removeprefix('http://')}"],
            env=clean_environment({}), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def ask(self, expression: str) -> list[dict]:
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=10, trust_env=False)
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        return answer.json()["data"]["result"]

    def number(self, expression: str) -> float | None:
        result = self.ask(expression)
        return float(result[0]["value"][1]) if result else None

    def is_ready(self) -> bool:
        """Whether it has opened its store; until then it answers 503 to every question."""
        return httpx.get(f"{self.url}/-/ready", timeout=10, trust_env=False).status_code == 200

    def stop(self) -> None:
        for process in (self.process, self.exporter):
            process.terminate()
            process.wait(20)
        self.log.close()


@pytest.fixture(scope="module")
def watched():
    """A system of its own with Prometheus on it, and some traffic on it for as long as a rate needs."""
    with Stack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="contract-prometheus-"))
        prometheus = Prometheus(stack, directory)
        api = Api.through_nginx(stack)
        try:
            eventually(prometheus.is_ready, "Prometheus is ready", 30)
            eventually(lambda: prometheus.number('sum(up{job=~"order|stock|payment"})') == 3, "Prometheus scrapes all three", 30)
            for _ in range(8):
                assert_first(api.checkout(key := new_key()))
                api.checkout(key)
                api.checkout(new_key(), method="test_declined")
                time.sleep(0.5)  # Over several scrapes, which is what a rate is made of.
            yield stack, prometheus
        finally:
            api.close()
            prometheus.stop()
            shutil.rmtree(directory, ignore_errors=True)


# The text

@pytest.mark.parametrize("service", SERVICES)
def test_OP_02_promtool_finds_nothing_to_complain_of(watched, service):
    text = scrape(watched[0].direct(service))
    assert promtool("check", "metrics", given=text) == ""
    for name in EVERYWHERE + (OF_ORDER if service == "order" else ()):
        assert re.search(rf"^# TYPE {name} \w+$", text, re.M), f"{service} lacks {name}"


def test_OP_02_a_histogram_has_the_buckets_of_opentelemetry(watched):
    text = scrape(watched[0].direct("order"))
    found = re.findall(r'^http_server_request_duration_seconds_bucket\{.*http_response_status_code="200".*http_route="/checkout",le="(\S+)"\}', text, re.M)
    assert found == BOUNDS


def test_OP_02_labels_name_routes_and_never_a_key_a_user_or_an_order(stack, api, new_item):
    item, key, user = new_item(api), new_key("secret-key"), "user-in-a-label"
    body = assert_first(api.checkout(key, item, user=user))
    for path in ("/orders/" + body["orderId"], "/nowhere/at/all", "/checkout/x"):
        api.call("GET", "order", path, user=user)
    raw.request(stack.direct("order"), "PROPFIND", "/orders")  # one that the parser knows; it refuses others itself
    for service in SERVICES:
        text = scrape(stack.direct(service))
        for secret in (key, user, body["orderId"], body["chargeId"], body["reservationId"], "nowhere", "PROPFIND", str(item)):
            assert secret not in text, f"{service} tells {secret}"
    labels = [dict(k) for k in samples(scrape(stack.direct("order")), "http_server_request_duration_seconds_count")]
    assert {"/orders/{id}", "/checkout", "none"} <= {re.sub(r":(\w+)", r"{\1}", line["http_route"]) for line in labels}
    assert "_OTHER" in {line["http_request_method"] for line in labels}


def test_OP_02_a_checkout_is_counted_once_however_often_it_is_asked_for(stack, api, new_item):
    item, key = new_item(api), new_key()
    before = scrape(stack.direct("order"))
    assert_first(api.checkout(key, item))
    for _ in range(3):
        api.checkout(key, item)
    assert_problem(api.checkout(key, item, 2), 422, "idempotency-key-reused")
    assert_problem(api.checkout(new_key(), item, method="test_declined"), 402, "payment-declined")
    after = scrape(stack.direct("order"))

    def more(name: str, **labels) -> float:
        return total(after, name, **labels) - total(before, name, **labels)
    assert more("checkout_total", outcome="completed") == 1
    assert more("checkout_total", outcome="payment_declined") == 1
    assert more("checkout_saga_duration_seconds_count", outcome="completed") == 1
    assert more("idempotency_requests_total", operation="checkout", result="first") == 2
    assert more("idempotency_requests_total", operation="checkout", result="replayed") == 3
    assert more("idempotency_requests_total", operation="checkout", result="mismatch") == 1
    assert more("saga_compensations_total", step="release", outcome="succeeded") == 1
    assert more("http_server_request_duration_seconds_count", http_route="/checkout", http_response_status_code="200") == 4
    for service, route, status in (("stock", "/reserve", "200"), ("stock", "/release", "200"), ("payment", "/charge", "402")):
        found = total(scrape(stack.direct(service)), "batched_command_duration_seconds_count", http_route=route,
                      http_response_status_code=status)
        assert found >= 1, f"{service} {route}"
    assert total(after, "checkout_sagas") == 0 and total(after, "checkout_limbo_minor_units") == 0


def test_OP_02_keys_of_accounts_and_transfers_are_counted_like_those_of_charges(stack, api, user):
    """What they have moved is remembered for ever in a table of its own, and their keys are counted all the same."""
    def counted(operation: str) -> dict:
        text = scrape(stack.direct("payment"))
        return {r: total(text, "idempotency_requests_total", operation=operation, result=r) for r in ("first", "replayed", "mismatch")}
    source = assert_first(api.open_account(user, 10), 201)["accountId"]
    other = assert_first(api.open_account(f"{user}-2"), 201)["accountId"]
    for operation, send in (("deposit", lambda key, amount: api.deposit(key, amount, user)),
                            ("withdrawal", lambda key, amount: api.withdraw(key, amount, user)),
                            ("transfer", lambda key, amount: api.transfer(key, source, other, amount, user))):
        key, before = new_key(), counted(operation)
        assert_first(send(key, 1), 201 if operation == "transfer" else 200)
        send(key, 1), send(key, 1)
        assert_problem(send(key, 2), 422, "idempotency-key-reused")
        after = counted(operation)
        assert {r: after[r] - before[r] for r in after} == {"first": 1, "replayed": 2, "mismatch": 1}, operation


def test_OP_02_money_whose_fate_is_unknown_is_in_limbo_until_it_is_known(lab, lab_item, user):
    """A charge is made and its answer lost: first in flight, then waiting in the store, and settled at last."""
    lab.to_payment.on("charge", fakes.run_then_drop())
    assert_problem(lab.api.checkout(new_key(), lab_item, 2, user), 504, "outcome-unknown")

    def limbo(**labels):
        return total(scrape(lab.order.url), "checkout_limbo_minor_units", currency="USD", **labels)
    eventually(lambda: limbo() == 2000, "20.00 USD are in limbo", 10)
    eventually(lambda: limbo(state="waiting") == 2000 and total(scrape(lab.order.url), "checkout_sagas", state="waiting") == 1,
               "the saga waits in the store", 10)
    assert total(scrape(lab.order.url), "retry_attempts_total", target="payment", operation="charge") >= 1
    lab.to_payment.reset()
    eventually(lambda: limbo() == 0, "nothing is in limbo", 30)
    eventually(lambda: total(scrape(lab.order.url), "checkout_sagas") == 0, "no saga is unfinished", 10)


def test_OP_02_an_open_breaker_shows(lab, lab_item, user):
    lab.to_stock.on("reserve", fakes.drop())
    states = set()

    def opened():
        lab.api.checkout(new_key(), lab_item, 1, user)
        states.add(total(scrape(lab.order.url), "circuit_breaker_state", target="stock"))
        return 2 in states
    eventually(opened, "the breaker of Stock is open", 30)
    lab.reset()
    eventually(lambda: total(scrape(lab.order.url), "circuit_breaker_state", target="stock") == 0, "it is closed", 20)


def test_OP_02_every_failure_of_the_store_has_its_series_from_the_start(watched):
    """A rate does not see the first failure of a series that begins with it."""
    for service in SERVICES:
        found = samples(scrape(watched[0].direct(service)), "store_transaction_failures_total")
        assert {dict(k)["error_type"] for k in found} == {"closed", "overloaded", "full", "uncertain", "constraint", "failed", "fatal"}


def test_OP_02_the_ledger_is_checked_without_being_asked(watched):
    assert samples(scrape(watched[0].direct("payment")), "ledger_balanced") == {(): 1}


# Prometheus

def test_OP_02_prometheus_answers_for_rate_p99_and_limbo(watched):
    stack, prometheus = watched
    api = Api.through_nginx(stack)

    def rate_under_traffic():
        """With traffic of its own: what the system was started with may be older than the rate looks back."""
        assert_first(api.checkout(new_key()))
        return prometheus.number('sum(rate(checkout_total{outcome="completed"}[10s]))')
    try:
        rate = eventually(rate_under_traffic, "a rate", 30, every=0.5)
    finally:
        api.close()
    assert 0.1 < rate < 20
    p99 = prometheus.number(
        'histogram_quantile(0.99, sum by (le) (rate(http_server_request_duration_seconds_bucket{job="order",http_route="/checkout"}[30s])))')
    assert 0 < p99 < 10
    assert prometheus.number('sum(checkout_limbo_minor_units{state=~"waiting|parked"})') == 0
    assert prometheus.number('sum(checkout_sagas{state="parked"})') == 0


def test_OP_02_the_alert_rules_are_loaded_and_quiet(watched):
    _, prometheus = watched
    answer = httpx.get(f"{prometheus.url}/api/v1/rules", timeout=10, trust_env=False).json()
    rules = [r for g in answer["data"]["groups"] for r in g["rules"]]
    assert len(rules) >= 8
    assert prometheus.number('probe_success{job="edge"}') == 1
    for rule in rules:
        assert rule["health"] == "ok" and rule["state"] == "inactive", rule


def test_OP_02_the_alert_rules_fire_when_they_must_and_only_then():
    promtool("check", "rules", "alerts.yml", cwd=DEPLOY / "prometheus")
    promtool("check", "config", "prometheus.yml", cwd=DEPLOY / "prometheus")
    promtool("test", "rules", "alerts_test.yml", cwd=DEPLOY / "prometheus")


def test_OP_02_every_alert_is_tested_and_explained():
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    tests = yaml.safe_load((DEPLOY / "prometheus" / "alerts_test.yml").read_text())["tests"]
    guide = (ROOT / "docs" / "operations.md").read_text()
    for alert in (r for g in rules["groups"] for r in g["rules"]):
        name = alert["alert"]
        tried = [bool(t["exp_alerts"]) for test in tests for t in test["alert_rule_test"] if t["alertname"] == name]
        assert True in tried and False in tried, f"{name} is not tested both ways"
        assert re.search(rf"^### {name}$", guide, re.M), f"docs/operations.md does not explain {name}"
        assert alert["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"


def panels() -> list[tuple[str, str]]:
    dashboard = json.loads((DEPLOY / "grafana" / "checkout.json").read_text())
    return [(p["title"], t["expr"]) for p in dashboard["panels"] for t in p.get("targets", [])]


# Panels of what must not happen are empty as long as it does not.
MAY_BE_EMPTY = ("Calls made again", "Transactions not taken", "Share of 5xx")


@pytest.mark.parametrize("title,expression", panels(), ids=[f"{i}-{t}" for i, (t, _) in enumerate(panels())])
def test_OP_02_every_query_of_the_dashboard_finds_something(watched, title, expression):
    _, prometheus = watched
    result = prometheus.ask(expression.replace("$__rate_interval", "30s"))
    assert result or title in MAY_BE_EMPTY, f"{title}: {expression}"


# At the end, since the traffic that the others look at would be long past

def test_OP_02_the_breaker_of_a_service_that_is_well_again_closes_without_any_checkout(user):
    """Nobody is there at first, so that nothing is owed either, by which it would close."""
    stock = Service("stock")
    with Service("payment") as payment, Service("order", {"STOCK_BASE_URL": stock.url, "PAYMENT_BASE_URL": payment.url,
                                                          "GATEWAY_MAX_ATTEMPTS": "1"}) as order:
        api = Api(order.url, stock.url, payment.url)
        state = lambda: total(scrape(order.url), "circuit_breaker_state", target="stock")
        try:
            eventually(lambda: api.checkout(new_key(), user=user).status_code == 503 and state() > 0, "the breaker is open", 30)
            time.sleep(7)
            assert state() > 0, "it does not close as long as nobody is there"
            stock.start()
            eventually(lambda: state() == 0, "it is closed", 20)
            assert api.checkout(new_key(), user=user).status_code == 200
        finally:
            api.close()
            stock.stop()
