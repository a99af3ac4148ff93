"""OP-04: traces, as a collector receives them that reads them with OpenTelemetry's own classes."""

import signal
import threading
import time
import uuid

import httpx
import pytest

import fakes
from api import Api, Background, assert_first, assert_json, assert_problem, money, new_key
from collector import Collector
from lab import Lab
from stack import Service, eventually, free_ports, get
from test_metrics import total

CALLER = "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def traced():
    """The laboratory with a collector."""
    with Collector() as collector:
        settings = collector.settings()
        with Lab(order={"CHECKOUT_TIMEOUT_SECONDS": "4", **settings}, stock=settings, payment=settings) as lab:
            yield lab, collector


@pytest.fixture
def tracing(traced):
    lab, _ = traced
    lab.to_stock.takes_batches = lab.to_payment.takes_batches = False
    lab.reset()
    yield traced
    lab.to_stock.takes_batches = lab.to_payment.takes_batches = False


@pytest.fixture
def trace():
    return uuid.uuid4().hex


def headers(trace: str, **more) -> dict:
    return {"traceparent": f"00-{trace}-{CALLER}-01", **more}


def only(found: list):
    assert len(found) == 1, found
    return found[0]


def whole(collector: Collector, trace: str, root: str, count: int) -> list:
    """The spans of a trace once there are so many, and all of them hang together under one root."""
    def complete():
        spans = collector.spans(trace)
        return spans if len(spans) >= count and collector.spans(trace, name=root) else None
    eventually(complete, f"the trace has {count} spans with {root}", 10)
    spans = []
    while len(spans) != len(collector.spans(trace)):  # each service sends its own, and more may come than are expected
        spans = collector.spans(trace)
        time.sleep(0.4)
    ids = {s.id for s in spans}
    assert len(ids) == len(spans), "a span came twice"
    for span in spans:
        assert span.parent in ids or span.parent == CALLER or span.name == root, f"{span!r} hangs in the air: {spans}"
    return spans


def below(spans: list, parent) -> list:
    return [s for s in spans if s.parent == parent.id]


def test_OP_04_a_checkout_with_retries_and_a_compensation_is_one_tree_across_the_services(tracing, new_item, trace):
    lab, collector = tracing
    item = new_item(lab.api)
    lab.to_stock.on("/reserve", fakes.problem(503, "overloaded", True, "1"), times=2)
    answer = lab.api.checkout(new_key(), item, 2, "tess", method="test_declined",
                              headers=headers(trace, **{"X-Request-ID": f"request-{trace}"}))
    assert_problem(answer, 402, "payment-declined")
    order = only(lab.api.orders_of("tess"))["orderId"]
    spans = whole(collector, trace, "POST /checkout", 16)

    root = only([s for s in spans if s.name == "POST /checkout"])
    assert (root.service, root.kind, root.parent, root.is_error) == ("order", "server", CALLER, False)
    assert root.attributes["http.route"] == "/checkout" and root.attributes["http.request.method"] == "POST"
    assert root.attributes["http.response.status_code"] == 402
    assert root.attributes["checkout.order_id"] == order
    assert root.attributes["checkout.request_id"] == f"request-{trace}"
    assert root.resource["service.namespace"] == "checkout" and root.resource["telemetry.sdk.language"] == "swift"

    steps = [s for s in below(spans, root) if s.name.startswith("saga ")]
    assert [s.name for s in steps] == ["saga reserve", "saga charge", "saga release"]
    assert [s.attributes["checkout.saga.event"] for s in steps] == [
        "reserve succeeded", "charge refused: card_declined", "release succeeded"]
    assert all(s.attributes["checkout.order_id"] == order for s in steps)
    # The order is begun, kept before its compensation, and ended.
    assert len([s for s in below(spans, root) if s.name == "transaction"]) == 3

    reserve, charge, release = (below(spans, s) for s in steps)
    assert [(s.kind, s.attributes["http.response.status_code"], s.is_error) for s in reserve] == [
        ("client", 503, True), ("client", 503, True), ("client", 200, False)]
    assert [s.attributes.get("http.request.resend_count") for s in reserve] == [None, 1, 2]
    assert below(spans, reserve[0]) == below(spans, reserve[1]) == []  # the fake has answered, not Stock
    for client, service, name, status in ((reserve[2], "stock", "POST /reserve", 200), (only(charge), "payment", "POST /charge", 402),
                                          (only(release), "stock", "POST /release", 200)):
        assert client.attributes["peer.service"] == service and client.is_error == (status != 200)
        server = only(below(spans, client))
        assert (server.service, server.kind, server.name) == (service, "server", name)
        assert server.attributes["http.response.status_code"] == status and not server.is_error
        inside = below(spans, server)
        assert inside and {s.name for s in inside} == {"transaction"} and inside[0].attributes["db.system.name"] == "sqlite"
        assert client.start <= server.start <= server.end <= client.end


def test_OP_04_the_log_has_the_ids_of_the_spans(tracing, new_item, trace):
    lab, collector = tracing
    assert_first(lab.api.checkout(new_key(), new_item(lab.api), 1, headers=headers(trace)))
    spans = whole(collector, trace, "POST /checkout", 14)
    known = {(s.service, s.id) for s in spans}
    for service in ("order", "stock", "payment"):
        lines = [e for e in getattr(lab, service).logs() if e.get("trace_id") == trace]
        assert lines, service
        for line in lines:
            assert (service, line["span_id"]) in known, line


def test_OP_04_a_command_in_a_batch_is_in_its_own_trace_and_links_to_the_batch(tracing, new_item, trace):
    lab, collector = tracing
    lab.to_stock.takes_batches = lab.to_payment.takes_batches = True
    assert_first(lab.api.checkout(new_key(), new_item(lab.api), 1, headers=headers(trace)))
    spans = whole(collector, trace, "POST /checkout", 14)
    for name, service in (("POST /reserve", "stock"), ("POST /charge", "payment"), ("POST /complete", "stock")):
        client = only([s for s in spans if s.name == name and s.kind == "client"])
        server = only([s for s in spans if s.name == name and s.kind == "server"])
        assert server.service == service and server.parent == client.id
        received = only(server.links)
        carrier = only(collector.spans(received[0], name="POST /internal/batch", kind="server"))
        assert (carrier.trace, carrier.id) == received and carrier.service == service and carrier.trace != trace
        sent = only(collector.spans(received[0], name="POST /internal/batch", kind="client"))
        assert carrier.parent == sent.id and sent.service == "order" and sent.parent == ""
        assert (client.trace, client.id) in sent.links


def test_OP_04_a_saga_that_is_taken_up_after_a_crash_links_to_the_trace_it_began_in(tracing, new_item, trace, user):
    lab, collector = tracing
    item, killed = new_item(lab.api), threading.Event()
    request_id = f"request-{trace}"

    def act(exchange):
        exchange.forward()
        lab.order.kill()
        killed.set()
        exchange.close()
    lab.to_payment.on("/charge", act, times=1)

    def ask():
        try:
            return lab.api.checkout(new_key(), item, 2, user, headers=headers(trace, **{"X-Request-ID": request_id}))
        except httpx.TransportError:
            return None
    first = Background(ask)
    assert killed.wait(15)
    assert first.result() is None
    lab.order.spawn().wait_ready()
    order = eventually(lambda: next((o for o in lab.api.orders_of(user) if o["status"] == "completed"), None), "the order is completed", 30)

    resumed = eventually(lambda: [s for s in collector.spans(name="resume checkout")
                                  if s.attributes["checkout.order_id"] == order["orderId"]], "the resumption has come", 10)
    root = resumed[-1]
    assert root.trace != trace and root.parent == "" and root.service == "order"
    assert root.attributes["checkout.request_id"] == request_id
    began = only(root.links)
    assert began[0] == trace
    # Order died before it could send its own spans; those of Stock are under it, and tell the same parent.
    assert collector.spans(trace, service="stock", name="POST /reserve")
    spans = whole(collector, root.trace, "resume checkout", 10)
    steps = [s for s in below(spans, root) if s.name.startswith("saga ")]
    assert [s.name for s in steps][-1] == "saga complete"
    for step in steps:
        for client in below(spans, step):
            assert only(below(spans, client)).attributes["checkout.request_id"] == request_id
    # One request id finds both halves of the story in every service.
    for service in ("order", "stock", "payment"):
        lines = [e for e in getattr(lab, service).logs() if e.get("request_id") == request_id]
        assert {e["trace_id"] for e in lines} >= {root.trace}, service
        if service != "order":
            assert trace in {e["trace_id"] for e in lines}, service


def test_OP_04_what_the_caller_does_not_record_is_not_recorded_here(tracing, new_item, trace):
    lab, collector = tracing
    assert_first(lab.api.checkout(new_key(), new_item(lab.api), 1, headers={"traceparent": f"00-{trace}-{CALLER}-00"}))
    assert {c.header("traceparent")[-2:] for c in lab.calls() if c.header("traceparent")[3:35] == trace} == {"00"}
    other = uuid.uuid4().hex
    assert_first(lab.api.checkout(new_key(), new_item(lab.api), 1, headers=headers(other)))
    whole(collector, other, "POST /checkout", 14)
    assert collector.spans(trace) == []


# One service and its collector


def stock(collector: Collector | None = None, **settings) -> Service:
    return Service("stock", {**(collector.settings() if collector else {}), **settings}).start()


def exported(service: Service, result: str) -> float:
    return total(get(f"{service.url}/metrics").text, "otlp_spans_total", result=result)


def test_OP_04_an_export_says_who_sends_it(trace):
    with Collector() as collector, stock(collector, OTEL_EXPORTER_OTLP_HEADERS="api-key=a%20secret", OTEL_SERVICE_NAME="shelf",
                                         OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test") as service:
        get(f"{service.url}/items")
        get(f"{service.url}/health")
        span = only(eventually(lambda: collector.spans(kind="server"), "a span has come", 10))
        assert span.name == "GET /items" and span.service == "shelf"
        assert span.resource["deployment.environment.name"] == "test" and span.resource["service.instance.id"]
        path, sent = collector.requests[0]
        assert path == "/v1/traces" and sent["Content-Type"] == "application/x-protobuf" and sent["api-key"] == "a secret"
        assert "a secret" not in service.text()
        eventually(lambda: exported(service, "exported") >= 2, "they are counted", 5)


def test_OP_04_what_is_left_is_sent_at_a_stop():
    with Collector() as collector, stock(collector, OTEL_BSP_SCHEDULE_DELAY="60000") as service:
        for _ in range(20):
            get(f"{service.url}/items")
        assert collector.spans() == []
        assert service.terminate() == 0
        assert len(collector.spans(kind="server")) == 20


def test_OP_04_a_collector_that_fails_is_tried_again():
    with Collector() as collector, stock(collector) as service:
        collector.statuses = [503]
        get(f"{service.url}/items")
        eventually(lambda: collector.spans(kind="server"), "the span has come", 10)
        assert len(collector.requests) >= 2


def test_OP_04_a_collector_that_hangs_holds_nobody_up_and_what_is_dropped_is_counted():
    with Collector() as collector:
        collector.gate.clear()
        with stock(collector, OTEL_BSP_MAX_QUEUE_SIZE="8", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="4") as service:
            times = []
            for _ in range(40):
                start = time.monotonic()
                assert get(f"{service.url}/items").status_code == 200
                times.append(time.monotonic() - start)
            assert max(times) < 1
            # Two spans a request: one to four of them are under way, eight wait.
            assert 80 - 12 <= exported(service, "queue_full") <= 80 - 9
            start = time.monotonic()
            assert service.terminate() == 0
            assert time.monotonic() - start < 5
            collector.gate.set()


def test_OP_04_a_collector_that_is_gone_does_not_hold_a_stop_up():
    with stock(None, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_ports(1)[0]}", OTEL_BSP_SCHEDULE_DELAY="60000") as service:
        get(f"{service.url}/items")
        start = time.monotonic()
        assert service.terminate() == 0
        assert time.monotonic() - start < 3
        assert [e for e in service.logs() if e["message"] == "spans cannot be exported and are dropped"]


@pytest.mark.parametrize("settings", [{"OTEL_TRACES_SAMPLER": "always_off"}, {"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}],
                         ids=lambda s: next(iter(s)))
def test_OP_04_traces_can_be_switched_off(settings):
    with Collector() as collector, stock(collector, **settings) as service:
        for _ in range(5):
            assert get(f"{service.url}/items").status_code == 200
        assert service.terminate() == 0
        assert collector.requests == []


def test_OP_04_a_share_of_the_traces_is_recorded():
    with Collector() as collector, stock(collector, OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0.5") as service:
        with httpx.Client(trust_env=False) as client:
            for _ in range(200):
                client.get(f"{service.url}/items")
        assert service.terminate() == 0
        assert 60 < len(collector.spans(kind="server")) < 140
