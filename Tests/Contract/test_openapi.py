"""The OpenAPI documents: valid, complete on every side, true under property-based testing; the docs page; the problem types."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

import raw
from api import assert_json, assert_problem, money, new_key, values
from documents import check as check_described, closed
from stack import ROOT, SERVICES

FUZZ = Path(__file__).parent / "fuzz"
# schemathesis goes on finding cases for so long, for each service.
SECONDS = 35
METHODS = ("get", "put", "post", "delete", "patch")
PAGE_FILES = ("index.html", "docs.css", "docs.js")


@pytest.fixture(scope="module")
def documents(stack):
    """Each service's document, as a client of nginx gets it."""
    return {s: assert_json(raw.request(stack.base, "GET", f"/{s}/openapi.json")) for s in SERVICES}


@pytest.fixture(scope="module")
def for_operators(stack):
    return {s: assert_json(raw.request(stack.direct(s), "GET", "/internal/openapi.json")) for s in SERVICES}


def concrete(path: str) -> str:
    """A path without parameters; 1 is an id like any other."""
    return re.sub(r"\{\w+\}", "1", path)


def operations(document: dict):
    return [(path, method, item[method]) for path, item in document["paths"].items() for method in METHODS if method in item]


@pytest.mark.parametrize("service", SERVICES)
def test_openapi_both_documents_of_a_service_are_valid_openapi_3_1(documents, for_operators, service):
    for document in (documents[service], for_operators[service]):
        assert document["openapi"].startswith("3.1.")
        assert [e.message for e in OpenAPIV31SpecValidator(json.loads(json.dumps(document, default=float))).iter_errors()] == []


@pytest.mark.parametrize("service", SERVICES)
def test_openapi_binary_document_and_nginx_have_the_same_routes(stack, documents, for_operators, service):
    """The binary says by `Allow` which methods a path has: from the catalogue that it routes by. In a unit test of each service
    that catalogue is compared with the documents; here both are compared with what goes through nginx."""
    seen = {}
    for path, method, _ in operations(documents[service]):
        seen.setdefault(path, set()).update({"GET", "HEAD"} if method == "get" else {method.upper()})
    for path, methods in seen.items():
        for address in (f"{stack.direct(service)}", f"{stack.base}/{service}"):
            answer = raw.request(address, "DELETE", re.sub(r"^https?://[^/]*", "", address) + concrete(path))
            assert_problem(answer, 405, "method-not-allowed")
            assert set(answer.headers["allow"].split(", ")) == methods, f"{path} at {address}"


@pytest.mark.parametrize("service", SERVICES)
def test_openapi_what_is_for_operators_does_not_pass_nginx(stack, for_operators, service):
    """NX-06, for every such route that there is."""
    assert operations(for_operators[service])
    for path, method, _ in operations(for_operators[service]):
        answer = raw.request(stack.base, method.upper(), f"/{service}{concrete(path)}", [("Content-Type", "application/json")], b"{}")
        assert assert_problem(answer, 404, "not-found")["instance"] == f"/{service}{concrete(path)}", "nginx's own answer"
        assert raw.request(stack.direct(service), "DELETE", concrete(path)).status_code == 405, f"{path} is there inside"


def test_openapi_nginx_passes_the_three_prefixes_the_page_and_the_problems_and_nothing_else():
    conf = re.sub(r"(?m)#.*$", "", (ROOT / "nginx.conf").read_text())
    passed = re.findall(r"location\s+(\S+)\s*\{\s*proxy_pass", conf)
    assert sorted(passed) == sorted([f"/{s}/" for s in SERVICES] + ["/problems/"])


@pytest.mark.parametrize("service", SERVICES)
def test_openapi_an_operation_names_every_header_that_it_takes_and_gives(documents, service):
    components = documents[service]["components"]
    for path, method, operation in operations(documents[service]):
        parameters = [components["parameters"][p["$ref"].split("/")[-1]] if "$ref" in p else p for p in operation["parameters"]]
        names = {p["name"] for p in parameters if p["in"] == "header"}
        assert {"X-User-ID", "X-Request-ID", "traceparent"} <= names, path
        for status, answer in operation["responses"].items():
            assert "X-Request-ID" in answer["headers"], f"{method} {path} {status}"
            if status == "405":
                assert "Allow" in answer["headers"]
            if status in ("429", "503") and "application/json" not in answer["content"]:
                assert "Retry-After" in answer["headers"]
        if "Idempotency-Key" in names:
            good = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
            assert good and all("Idempotent-Replayed" in answer["headers"] for answer in good), path


# ---------------------------------------------------------------- property-based testing

def fuzz(name: str, document: dict, url: str, tmp_path: Path, seconds: int = SECONDS) -> None:
    """All checks on: no 5xx, no status, header, media type or member that is not in the document, nothing bad taken and nothing
    good refused. FUZZ_SEED runs other cases than those of every day."""
    file = tmp_path / f"{name}.json"
    file.write_text(json.dumps(closed(document), default=float))
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(FUZZ), "NO_COLOR": "1"}
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(FUZZ / "schemathesis.toml"), "run", str(file),
        "--url", url, "--checks", "all", "--max-time", str(seconds), "--warnings", "off",
        "--seed", os.environ.get("FUZZ_SEED", "1"),
    ]
    run = subprocess.run(command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180)
    assert run.returncode == 0, f"{run.stdout[-12000:]}\n{run.stderr[-2000:]}"
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert re.search(rf"✅ {phase}|⏭.*{phase}", run.stdout), f"{phase} did not run:\n{run.stdout[-3000:]}"
    cases = int(re.search(r"(\d+) generated", run.stdout).group(1))
    assert cases > 200, f"only {cases} cases"


@pytest.mark.parametrize("service", SERVICES)
def test_openapi_schemathesis_finds_no_answer_that_the_document_does_not_have(stack, documents, service, tmp_path):
    fuzz(service, documents[service], f"{stack.base}/{service}", tmp_path)


def test_openapi_answers_that_need_two_accounts_are_those_of_the_document(api, user, documents):
    """Two accounts of two users in one currency, with money in them, are more than schemathesis comes by."""
    document = closed(documents["payment"])

    def check(answer, path: str, method: str, status: int) -> dict:
        assert answer.status_code == status, answer.text
        check_described(document, answer.json(), path, method, status)
        return answer.json()
    source = check(api.open_account(user, 10), "/accounts", "post", 201)["accountId"]
    other = check(api.open_account(f"{user}-2"), "/accounts", "post", 201)["accountId"]
    check(api.deposit(new_key(), 5, user), "/accounts/deposit", "post", 200)
    check(api.withdraw(new_key(), 5, user), "/accounts/withdraw", "post", 200)
    check(api.transfer(new_key(), source, other, 4, user), "/transfers", "post", 201)
    charge = check(api.charge(new_key(), money(100), user), "/charge", "post", 200)["chargeId"]
    check(api.refund(new_key(), charge, user=user), "/refund", "post", 200)
    events = check(api.call("GET", "payment", f"/charges/{charge}/events?limit=1", user=user), "/charges/{id}/events", "get", 200)
    assert events["nextCursor"]
    page = check(api.account(source, user, "/transactions"), "/accounts/{id}/transactions", "get", 200)
    assert [t["type"] for t in page["transactions"]] == ["refund", "charge", "transfer", "withdrawal", "deposit", "opening"]
    check(api.call("GET", "payment", "/ledger/check"), "/ledger/check", "get", 200)


# ---------------------------------------------------------------- the page and the problem types

@pytest.mark.parametrize("path,kind", [("/docs", "text/html"), ("/docs/docs.css", "text/css"), ("/docs/docs.js", "text/javascript")])
def test_openapi_the_docs_page_is_served_by_nginx(stack, path, kind):
    answer = raw.request(stack.base, "GET", path)
    assert answer.status_code == 200 and answer.headers["content-type"] == f"{kind}; charset=utf-8"
    assert len(values(answer, "X-Request-ID")) == 1
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")
    assert_problem(raw.request(stack.base, "POST", path, [("Content-Type", "application/json")], b"{}"), 405, "method-not-allowed")
    part = raw.request(stack.base, "GET", path, [("Range", "bytes=999999-")])
    assert part.status_code == 200 and part.content == answer.content
    assert_problem(raw.request(stack.base, "GET", path, [("If-Match", '"x"')]), 400, "bad-request")


@pytest.mark.parametrize("path", ["/docs/", "/docs/index.html", "/docs/nginx.conf", "/docs/../nginx.conf", "/docs/docs.js/x", "/docs.js", "/problems", "/problems/"])
def test_openapi_nothing_else_lies_beside_the_page(stack, path):
    assert_problem(raw.request(stack.base, "GET", path), 404, "not-found")


def test_openapi_the_page_needs_nothing_from_outside():
    for name in PAGE_FILES:
        text = (ROOT / "deploy" / "docs" / name).read_text()
        assert not re.search(r"https?://|//[a-z0-9.-]+\.[a-z]{2,}", text), name
        assert "eval(" not in text and "innerHTML" not in text, f"{name} makes markup of text"
        assert not re.search(r"\son\w+=|style=", text), f"{name} has what the page's own policy forbids"


def test_openapi_every_problem_type_has_its_page_and_the_same_words_everywhere(stack, documents):
    kinds = documents["order"]["x-problems"]
    assert all(documents[s]["x-problems"] == kinds for s in SERVICES)
    for kind in kinds:
        page = raw.request(stack.base, "GET", kind["type"])
        assert page.status_code == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
        assert kind["title"] in page.content.decode() and str(kind["status"]) in page.content.decode()


def test_openapi_nginx_answers_with_types_that_the_document_has(documents):
    kinds = {k["code"]: k for k in documents["order"]["x-problems"]}
    conf = (ROOT / "nginx.conf").read_text()

    def table(name: str) -> dict:
        block = re.search(rf"map \$status \${name} \{{[^\n]*\n(.*?)\n    \}}", conf, re.S).group(1)
        return dict(re.findall(r'^\s+(\d+|default)\s+"?(.*?)"?;', block, re.M))
    codes, titles, retryable = table("problem_code"), table("problem_title"), table("problem_retryable")
    assert codes.keys() == titles.keys()
    for status, code in codes.items():
        kind = kinds[code]
        assert kind["status"] == (400 if status == "default" else int(status))
        assert kind["title"] == titles[status], code
        assert kind["retryable"] == (retryable.get(status, retryable["default"]) == "true"), code
