"""NX-01 to NX-07: the edge. For some of it a fake stands in Order's place, and Payment is stopped."""

import json
import re
import signal
import time

import pytest

import fakes
import raw
from api import REQUEST_ID, assert_first, assert_json, assert_problem, new_key, values
from stack import ROOT, SERVICES, Stack, alive, eventually

JSON = ("Content-Type", "application/json")


class Edge:
    """nginx with a fake behind /order, the real Stock behind /stock, and nobody behind /payment."""

    def __init__(self, stack: Stack):
        self.stack = stack
        for service in ("order", "payment"):
            pid = stack.signal(service, signal.SIGTERM)  # it ends with 0, so the supervisor lets it rest
            eventually(lambda p=pid: not alive(p), f"{service} has ended", 15)
        self.order = fakes.Downstream(port=stack.order_port)

    @property
    def base(self) -> str:
        return self.stack.base


@pytest.fixture(scope="module")
def running_edge():
    with Stack() as stack:
        edge = Edge(stack)
        try:
            yield edge
        finally:
            edge.order.stop()


@pytest.fixture
def edge(running_edge):
    running_edge.order.reset()
    running_edge.order.on("", fakes.reply(200, {"ok": True}), method="*")
    return running_edge


def nginx_conf() -> str:
    text = (ROOT / "nginx.conf").read_text()
    return re.sub(r"(?m)#.*$", "", text)


# NX-01, NX-02

@pytest.mark.parametrize("path", ["/order", "/stock", "/payment", "/order?x=1"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_NX_01_a_service_without_a_path_is_a_404_problem_and_not_a_redirect(stack, path, method):
    answer = raw.request(stack.base, method, path, [JSON], b"{}" if method == "POST" else b"")
    assert_problem(answer, 404, "not-found")
    assert "location" not in answer.headers


def test_NX_02_nginx_answers_404_as_a_problem(stack):
    assert_problem(raw.request(stack.base, "GET", "/nowhere/at/all"), 404, "not-found")


@pytest.mark.parametrize("way", ["/", "/order/orders"])
def test_NX_02_nginx_answers_405_as_a_problem(stack, way):
    assert_problem(raw.request(stack.base, "TRACE", way), 405, "method-not-allowed")


def test_NX_02_nginx_answers_413_as_a_problem(edge):
    answer = raw.request(edge.base, "POST", "/order/checkout", [JSON, ("Idempotency-Key", new_key())], b" " * 65537)
    assert_problem(answer, 413, "payload-too-large")
    assert edge.order.seen() == [], "refused at the edge, not behind it"


def test_NX_02_nginx_answers_414_as_a_problem(stack):
    assert_problem(raw.request(stack.base, "GET", "/order/orders?x=" + "y" * 70_000), 414, "uri-too-long")


@pytest.mark.parametrize("headers", [[("X-Large", "y" * 70_000)], [(f"X-Many-{i}", "y" * 1000) for i in range(80)]], ids=["one", "many"])
def test_NX_02_nginx_answers_431_as_a_problem(stack, headers):
    assert_problem(raw.request(stack.base, "GET", "/order/orders", headers), 431, "header-fields-too-large")


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /order/checkout HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n"],
                         ids=["no-host", "space-in-target", "bad-length"])
def test_NX_02_nginx_answers_what_it_cannot_parse_as_a_problem(stack, data):
    with raw.connect(stack.base, 10) as sock:
        raw.send(sock, data)
        assert_problem(raw.receive(sock), 400, "bad-request")


def test_NX_02_while_a_service_is_down_nginx_answers_502_as_a_problem(edge):
    for _ in range(3):
        answer = raw.request(edge.base, "POST", "/payment/charge", [JSON, ("Idempotency-Key", new_key())], b'{"amount":1}')
        assert_problem(answer, 502, "bad-gateway")
    assert_json(raw.request(edge.base, "GET", "/stock/items/1"))


@pytest.mark.parametrize("fault", [fakes.garbage(b"HTTP/1.1 200 OK\r\nno header \x00 at all\r\n\r\n"), fakes.drop()], ids=["header", "closed"])
def test_NX_02_what_a_service_breaks_off_is_a_502_or_503_problem(edge, fault):
    edge.order.on("orders", fault, method="GET")
    answer = raw.request(edge.base, "GET", "/order/orders")
    assert answer is not None and answer.status_code in (502, 503)
    assert_problem(answer, answer.status_code, ("bad-gateway", "service-unavailable"))


def test_NX_02_a_problem_of_a_service_is_passed_on_as_it_is(edge):
    edge.order.on("checkout", fakes.problem(503, "overloaded", True, "7"))
    answer = raw.request(edge.base, "POST", "/order/checkout", [JSON, ("Idempotency-Key", new_key())], b"{}")
    assert answer.status_code == 503 and answer.json()["code"] == "overloaded" and answer.headers["retry-after"] == "7"


def test_NX_02_every_status_of_the_contract_has_its_error_page():
    pages = " ".join(re.findall(r"error_page\s+([^;]*);", nginx_conf()))
    for status in (404, 405, 413, 414, 429, 431, 502, 503, 504):
        assert re.search(rf"\b{status}\b", pages) or (status == 431 and "494" in pages), f"no error_page for {status}"
    assert "proxy_intercept_errors on" not in nginx_conf(), "the services' own problems must pass"


# NX-03

@pytest.mark.parametrize("fault", [fakes.drop(), fakes.cut(), fakes.reply(503, {}), fakes.reply(500, {}), fakes.garbage()],
                         ids=["drop", "cut", "503", "500", "garbage"])
def test_NX_03_a_post_is_never_sent_twice(edge, fault):
    edge.order.on("checkout", fault)
    raw.request(edge.base, "POST", "/order/checkout", [JSON, ("Idempotency-Key", new_key())], b"{}")
    time.sleep(0.3)
    assert len(edge.order.seen("checkout")) == 1


def test_NX_03_nor_on_a_connection_that_was_used_before(edge):
    """A kept-alive connection that closes under a request is where proxies like to send again."""
    for _ in range(5):
        assert raw.request(edge.base, "GET", "/order/orders").status_code == 200
    edge.order.on("checkout", fakes.drop())
    answer = raw.request(edge.base, "POST", "/order/checkout", [JSON, ("Idempotency-Key", new_key())], b"{}")
    assert answer is not None and answer.status_code in (502, 503)
    assert len(edge.order.seen("checkout")) == 1


def test_NX_03_the_configuration_says_so():
    assert re.search(r"proxy_next_upstream\s+off\s*;", nginx_conf())


def seconds(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)?", text.strip()).groups()
    return int(number) * {"ms": 0.001, "s": 1, None: 1, "m": 60, "h": 3600}[unit]


def upstream_keepalive() -> float:
    """How long nginx keeps an idle connection to a service: 60 s unless an upstream block says otherwise."""
    blocks = re.findall(r"upstream\s+\w+\s*\{([^}]*)\}", nginx_conf())
    said = [seconds(t) for b in blocks for t in re.findall(r"keepalive_timeout\s+(\w+)\s*;", b)]
    return max(said, default=60.0)


@pytest.fixture(scope="module", autouse=True)
def idle_connections(stack):
    """Opened as the module begins, so that they are idle while the other tests run."""
    idle = {}
    for service in SERVICES:
        sock = raw.connect(stack.direct(service), 5)
        raw.send(sock, raw.message("GET", "/health/live", [], close=False))
        assert raw.receive(sock).status_code == 200
        idle[service] = sock
    yield idle, time.monotonic()
    for sock in idle.values():
        sock.close()


# NX-04

@pytest.mark.parametrize("given", ["a", "req-1.2_3", "x" * 128, "0af7651916cd43dd8448eb211c80319c"])
def test_NX_04_a_good_request_id_is_kept_once_in_the_answer(stack, edge, given):
    for path in ("/stock/items/1", "/nowhere", "/order/nope", "/order/checkout"):
        assert values(raw.request(stack.base, "GET", path, [("X-Request-ID", given)]), "X-Request-ID") == [given]
    raw.request(edge.base, "GET", "/order/orders", [("X-Request-ID", given)])
    assert edge.order.seen(method="*")[-1].all("X-Request-ID") == [given]


@pytest.mark.parametrize("given", ["", "a b", "a/b", "x" * 129, "a,b", "<script>", 'a"b', "é", "a;b"],
                         ids=["empty", "space", "slash", "129", "comma", "tag", "quote", "non-ascii", "semicolon"])
def test_NX_04_a_bad_request_id_is_replaced(stack, edge, given):
    for path in ("/stock/items/1", "/nowhere"):
        ids = values(raw.request(stack.base, "GET", path, [("X-Request-ID", given)]), "X-Request-ID")
        assert len(ids) == 1 and REQUEST_ID.match(ids[0]) and ids[0] != given
    raw.request(edge.base, "GET", "/order/orders", [("X-Request-ID", given)])
    passed = edge.order.seen(method="*")[-1].all("X-Request-ID")
    assert len(passed) == 1 and REQUEST_ID.match(passed[0]) and passed[0] != given


def test_NX_04_two_request_ids_become_one(stack):
    ids = values(raw.request(stack.base, "GET", "/stock/items/1", [("X-Request-ID", "one"), ("X-Request-ID", "two")]), "X-Request-ID")
    assert len(ids) == 1 and REQUEST_ID.match(ids[0])


def test_NX_04_without_one_each_request_gets_its_own(stack):
    ids = [values(raw.request(stack.base, "GET", "/stock/items/1"), "X-Request-ID") for _ in range(5)]
    assert all(len(i) == 1 and REQUEST_ID.match(i[0]) for i in ids) and len({i[0] for i in ids}) == 5


@pytest.mark.parametrize("service", SERVICES)
def test_NX_04_a_service_asked_directly_does_the_same(stack, service):
    assert values(raw.request(stack.direct(service), "GET", "/health/live", [("X-Request-ID", "mine-1")]), "X-Request-ID") == ["mine-1"]
    ids = values(raw.request(stack.direct(service), "GET", "/health/live", [("X-Request-ID", "not mine")]), "X-Request-ID")
    assert len(ids) == 1 and REQUEST_ID.match(ids[0])


# NX-05

def test_NX_05_the_forwarded_for_header_is_overwritten_at_the_edge(edge):
    raw.request(edge.base, "GET", "/order/orders", [("X-Forwarded-For", "6.6.6.6"), ("X-Real-IP", "6.6.6.6")])
    seen = edge.order.seen(method="*")[-1]
    assert seen.all("X-Forwarded-For") == ["127.0.0.1"]
    assert not any("6.6.6.6" in v for _, v in seen.headers)


@pytest.mark.parametrize("path", ["/stock/items/1", "/nowhere", "/order"])
def test_NX_05_nobody_tells_a_version(stack, path):
    answer = raw.request(stack.base, "GET", path)
    assert not re.search(r"\d", answer.headers.get("server", "")), answer.headers.get("server")
    assert "x-powered-by" not in answer.headers
    assert not re.search(rb"nginx/\d", answer.content)


def test_NX_05_connections_to_a_service_are_kept(edge):
    before = edge.order.connections
    with raw.connect(edge.base, 5) as sock:  # one connection stays with one worker of nginx
        for _ in range(12):
            raw.send(sock, raw.message("GET", "/order/orders", [], close=False))
            assert raw.receive(sock).status_code == 200
    assert edge.order.connections - before <= 1
    seen = edge.order.seen(method="*")[-12:]
    assert all((r.header("Connection") or "").lower() != "close" for r in seen)


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "websocket, h2c"])
def test_NX_08_nobodys_wish_for_another_protocol_reaches_a_service(edge, protocol):
    headers = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", protocol), ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")]
    raw.request(edge.base, "GET", "/order/orders", headers)
    seen = edge.order.seen(method="*")[-1]
    assert seen.all("Upgrade") == []
    assert not any("upgrade" in value.lower() for value in seen.all("Connection"))


def test_NX_08_a_wish_for_another_protocol_costs_the_next_client_nothing(stack):
    for _ in range(4):
        raw.request(stack.base, "GET", "/stock/items/1", [("Connection", "Upgrade"), ("Upgrade", "websocket")])
        began = time.monotonic()
        for _ in range(8):
            assert raw.request(stack.base, "GET", "/stock/items/1", timeout=8).status_code == 200
        assert time.monotonic() - began < 8


def test_hazard_38_nginx_waits_longer_than_order_and_order_longer_than_one_attempt():
    waits = float(re.search(r"proxy_read_timeout (\d+)s;", nginx_conf())[1])
    settings = (ROOT / "docs" / "settings.md").read_text()

    def default(name: str) -> float:
        return float(re.search(rf"`{name}`[^|]*\| *(\d+)", settings)[1])
    assert waits > default("CHECKOUT_TIMEOUT_SECONDS") > default("GATEWAY_TIMEOUT_SECONDS")


def test_HT_12_a_client_that_asks_too_often_is_told_to_wait_and_uses_up_no_key():
    with Stack({"CLIENT_RATE": "1"}) as stack:
        key = new_key()
        body = json.dumps({"amount": 1}).encode()
        eventually(lambda: raw.request(stack.base, "GET", "/stock/items/1").status_code == 200, "there is room", 10)
        answers = [raw.request(stack.base, "POST", "/payment/charge", [JSON, ("Idempotency-Key", key)], body) for _ in range(8)]
        refused = [answer for answer in answers if answer.status_code != 200]
        assert refused
        for answer in refused:
            assert_problem(answer, 429, "too-many-requests")
            assert answer.headers["retry-after"] == "1"
        eventually(lambda: raw.request(stack.base, "GET", "/stock/items/1").status_code == 200, "there is room again", 10)
        eventually(lambda: raw.request(
            stack.base, "POST", "/payment/charge", [JSON, ("Idempotency-Key", key)], body).status_code == 200, "the key is free", 10)


def test_NX_06_with_the_lines_of_the_manual_what_is_for_the_staff_is_not_there_for_the_public():
    table, rule = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs" / "operations.md").read_text(), re.DOTALL)
    with Stack() as stack:
        file = stack.data_dir / "nginx" / "nginx.conf"
        text = file.read_text().replace("    server {\n", f"{table}    server {{\n").replace("location / {", f"{rule}location / {{")
        assert table in text and rule in text
        file.write_text(text)
        stack.signal("nginx", signal.SIGHUP)
        eventually(lambda: raw.request(stack.base, "PUT", "/stock/items/1", [JSON], b"{}").status_code == 404, "the lines count", 10)
        for path in ("/stock/reserve", "/stock/release", "/stock/complete", "/stock/items/1/restock", "/stock//reserve", "/stock/%72eserve",
                     "/payment/charge", "/payment/refund", "/payment/accounts", "/payment/accounts/deposit", "/payment/transfers"):
            answer = raw.request(stack.base, "POST", path, [JSON, ("Idempotency-Key", new_key())], b"{}")
            assert_problem(answer, 404, "not-found")
        assert raw.request(stack.direct("payment"), "GET", "/ledger/check").status_code == 200
        assert_problem(raw.request(stack.base, "GET", "/payment/ledger/check"), 404, "not-found")
        assert raw.request(stack.base, "GET", "/stock/items/1").status_code == 200
        assert raw.request(stack.base, "GET", "/payment/accounts/balance", [("X-User-ID", "nobody")]).status_code == 404
        body = json.dumps({"itemId": 1, "quantity": 1}).encode()
        bought = raw.request(stack.base, "POST", "/order/checkout", [JSON, ("Idempotency-Key", new_key())], body)
        assert bought.status_code == 200


def test_NX_05_when_the_client_leaves_the_service_is_left_to_finish(edge):
    finished = []

    def act(exchange):
        exchange.sock.settimeout(1.5)
        try:
            finished.append(exchange.sock.recv(1))  # b"" when nginx has hung up
        except TimeoutError:
            finished.append("still there")
        exchange.reply(200, b"{}")
    edge.order.on("checkout", act)
    with raw.connect(edge.base, 5) as sock:
        raw.send(sock, raw.message("POST", "/order/checkout", [JSON, ("Idempotency-Key", new_key())], b"{}"))
        eventually(lambda: edge.order.seen("checkout"), "the request has arrived", 5)
    eventually(lambda: finished, "the fake has seen what becomes of the connection", 5)
    assert finished == ["still there"]


def test_NX_05_the_prefix_is_stripped_and_the_query_kept(edge):
    for control in ("%01", "%1E", "%7F"):  # In a path, encoded, it is a character like any other.
        raw.request(edge.base, "GET", f"/order/orders/a{control}b")
        assert edge.order.seen(method="*")[-1].path == f"/orders/a{control}b"
    raw.request(edge.base, "GET", "/order/orders/abc%20d?limit=5&cursor=a%2Fb")
    assert edge.order.seen(method="*")[-1].path == "/orders/abc%20d?limit=5&cursor=a%2Fb"


def test_OP_06_the_time_out_header_of_a_client_is_stripped_at_the_edge(edge):
    raw.request(edge.base, "POST", "/order/checkout", [JSON, ("Idempotency-Key", new_key()), ("X-Request-Timeout-Ms", "1")], b"{}")
    assert "1" not in edge.order.seen("checkout")[-1].all("X-Request-Timeout-Ms")


# NX-06

# Every way to write the path of the route where the services take commands from each other.
BATCH_SPELLINGS = ["internal/batch", "internal/batch/", "internal/batch?x=1", "%69nternal/batch", "internal/b%61tch", "internal%2fbatch",
                   "internal%2Fbatch", "%69%6e%74%65%72%6e%61%6c%2f%62%61%74%63%68", "/internal/batch", "internal//batch", "//internal///batch",
                   "./internal/batch", "internal/./batch", "x/../internal/batch", "internal/x/../batch", "%2e/internal/batch",
                   "x/%2e%2e/internal/batch", "x%2f..%2finternal%2fbatch", "..;/internal/batch", "internal;x/batch", "INTERNAL/BATCH",
                   "Internal/Batch", "internal/BATCH", "%49NTERNAL/batch", "internal%00/batch", "internal/batch%00", "internal/batch%20"]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("path", ["metrics", "health", "audit/totals", "audit", "%6detrics", "m%65trics", "/metrics", "//metrics",
                                  "x/../metrics", "./metrics", "%2e/metrics", "x%2f..%2fmetrics", "audit%2ftotals", "audit//totals",
                                  "items/../audit/totals", "%61udit/totals", "orders/%2e%2e/audit/totals", "audit/./totals",
                                  "..;/metrics", "metrics?x", "metrics/", "metrics%00", "admin", "operator", "sagas", "batch", "internal",
                                  *BATCH_SPELLINGS])
def test_NX_06_nothing_internal_is_reachable(stack, service, path):
    answer = raw.request(stack.base, "GET", f"/{service}/{path}")
    assert answer.status_code in (400, 404), f"{answer.status_code}: {answer.content[:200]!r}"
    assert_problem(answer, answer.status_code, "not-found" if answer.status_code == 404 else "bad-request")


@pytest.mark.parametrize("path", ["/metrics", "/audit/totals", "/stub_status", "/nginx_status", "/order/../metrics", "/order/../../etc/passwd", "/.git/config"])
def test_NX_06_nor_at_the_root(stack, path):
    answer = raw.request(stack.base, "GET", path)
    assert answer.status_code in (400, 404), answer


@pytest.mark.parametrize("path", ["/order//checkout", "//order/checkout", "/order/./checkout", "/order/x/../checkout", "/stock/../order/checkout"])
def test_NX_06_a_crooked_path_to_checkout_never_reaches_another_route(stack, api, item, path):
    """It may be put straight or refused; either way it is a checkout or nothing."""
    answer = raw.request(stack.base, "POST", path, [JSON, ("Idempotency-Key", new_key())], b'{"itemId":%d,"quantity":1}' % item)
    if answer.status_code == 200:
        assert api.numbers(item) == (99, 0, 99)
    else:
        assert_problem(answer, 404, "not-found")
        assert api.numbers(item) == (100, 0, 100)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("path", BATCH_SPELLINGS)
def test_NX_06_no_batch_of_commands_comes_from_outside(stack, api, item, service, path):
    command = {"path": "/reserve", "key": new_key(), "body": {"itemId": item, "quantity": 1}}
    answer = raw.request(stack.base, "POST", f"/{service}/{path}", [JSON], json.dumps({"commands": [command]}).encode())
    assert answer.status_code in (400, 404), f"{answer.status_code}: {answer.content[:200]!r}"
    assert_problem(answer, answer.status_code, "not-found" if answer.status_code == 404 else "bad-request")
    assert api.numbers(item) == (100, 0, 100)


def test_NX_06_a_batch_sent_to_the_service_itself_is_carried_out(stack, api, item):
    reserve = {"path": "/reserve", "key": new_key(), "requestId": "batch-1", "body": {"itemId": item, "quantity": 2}}
    too_much = {"path": "/reserve", "key": new_key(), "requestId": "batch-2", "body": {"itemId": item, "quantity": 101}}
    charge = {"path": "/charge", "key": new_key(), "user": "ada", "requestId": "batch-3", "body": {"amount": 20}}
    alone = {"path": "/charge", "key": new_key(), "requestId": "batch-4", "body": {"amount": 20, "method": "test_error"}}

    def send(service, *commands):
        answer = raw.request(stack.direct(service), "POST", "/internal/batch", [JSON], json.dumps({"commands": commands}).encode())
        assert answer.status_code == 200, answer.content
        return answer.json()["answers"]

    first, second = send("stock", reserve, too_much)
    assert first["status"] == 200 and first["body"]["status"] == "reserved"
    assert second["status"] == 409 and second["body"]["code"] == "insufficient-stock" and second["body"]["requestId"] == "batch-2"
    assert api.numbers(item) == (100, 2, 98)
    assert send("stock", reserve)[0]["body"] == first["body"]
    assert api.numbers(item) == (100, 2, 98)

    first, second = send("payment", charge, alone)
    assert first["status"] == 200 and first["body"]["status"] == "succeeded"
    assert second == {"alone": True}
    for service, ids in (("stock", ("batch-1", "batch-2")), ("payment", ("batch-3",))):
        for request_id in ids:
            eventually(lambda s=service, i=request_id: [e for e in stack.logs(s) if e.get("request_id") == i and e["message"] == "request"],
                       f"{service} has a line for {request_id}", 5)
    assert not [e for s in ("stock", "payment") for e in stack.logs(s) if e.get("route") == "/internal/batch"]


def test_NX_06_internal_routes_are_there_for_those_inside(stack):
    for service in SERVICES:
        assert raw.request(stack.direct(service), "GET", "/health").status_code == 200
        assert raw.request(stack.direct(service), "GET", "/audit/totals").status_code == 200


# NX-07

def test_NX_07_one_nginx_conf_serves_both_worlds(stack):
    found = [p for p in ROOT.rglob("nginx*.conf") if not {".build", ".build-release", ".build-cov", "var", ".venv"} & set(p.parts)]
    assert [p.relative_to(ROOT).as_posix() for p in found if p.name == "nginx.conf"] == ["nginx.conf"]
    assert "nginx.conf" in (ROOT / "docker-compose.yml").read_text()
    used = stack.data_dir / "nginx" / "nginx.conf"
    assert used.read_bytes() == (ROOT / "nginx.conf").read_bytes(), "what runs here is the file of the repository"


def test_NX_07_routing_is_written_once(stack):
    for service in SERVICES:
        assert len(re.findall(rf"location\s+[=~^*\s]*/{service}/\s*\{{", nginx_conf())) <= 1
        assert re.search(rf"/{service}\b|\b{service}\b", nginx_conf())
    for generated in (stack.data_dir / "nginx").glob("*.conf"):
        if generated.name != "nginx.conf":
            assert "location" not in generated.read_text(), f"{generated.name} routes"


def test_NX_07_all_three_services_answer_behind_their_prefix(api, item, key):
    body = assert_first(api.checkout(key, item, 1))
    assert assert_json(api.order(body["orderId"]))["orderId"] == body["orderId"]
    assert assert_json(api.reservation(body["reservationId"]))["reservationId"] == body["reservationId"]
    assert assert_json(api.charge_of(body["chargeId"]))["chargeId"] == body["chargeId"]


# NX-03 once more: last in the file, because the connections have to be idle for a while

def test_NX_03_services_keep_an_idle_connection_longer_than_nginx_does(idle_connections):
    """Tested for as long as nginx keeps one, though no longer than 15 s (beyond the time-out of a slow header)."""
    idle, since = idle_connections
    time.sleep(max(0.0, min(upstream_keepalive(), 14.0) + 1.0 - (time.monotonic() - since)))
    for service, sock in idle.items():
        raw.send(sock, raw.message("GET", "/health/live", []))
        answer = raw.receive(sock)
        assert answer is not None and answer.status_code == 200, f"{service} closed a connection that nginx would still use"
