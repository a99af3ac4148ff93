"""What code and documents say of each other: cited numbers, named tests, links, settings, metrics, problem types. Needs no service."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from stack import ROOT

DOCS = ROOT / "docs"
KINDS = ("IK", "HT", "NX", "OP", "INV")
LIST = r"\d+(?:(?:,| and| to)\s+\d+)*"
# A number that goes on in another one, or in a decimal, is none of ours.
CITATION = re.compile(rf"(?<![A-Za-z0-9])({'|'.join(KINDS)})[-_](\d{{1,2}})(?!\d)")
FURTHER = re.compile(r"(?:,| and)\s+(\d{1,2})(?![\d.:])")
HAZARDS = re.compile(rf"\bhazards?\s+({LIST})", re.I)
HAZARDS_IN_NAMES = re.compile(r"HAZARD((?:_(?:and_)?\d+)+)")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
TEST_OF = re.compile(r'^- (\w+): (?:"(.*?)"|`(test_\w+)`)$', re.M | re.S)
FENCE = re.compile(r"^```.*?^```", re.M | re.S)


def files(*patterns: str) -> list[Path]:
    return [f for pattern in patterns for f in sorted(ROOT.glob(pattern)) if f.is_file() and f.name != Path(__file__).name]


def documents() -> list[Path]:
    return files("README.md", "CONTRIBUTING.md", "docs/*.md", "docs/decisions/*.md")


def citing() -> list[Path]:
    return documents() + files("Sources/**/*.swift", "Tests/**/*.swift", "Tests/**/*.py", "nginx.conf", "deploy/**/*.conf", "scripts/*")


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


@cache
def read(file: Path) -> str:
    return file.read_text()


def flat(file: Path) -> str:
    """A file's text with a sentence of a comment, or of a paragraph, on one line."""
    return re.sub(r"\n[ \t]*(?:///?|#|\*)?[ \t]*", " ", read(file))


def numbers(text: str) -> Iterator[int]:
    """Of "13 to 17 and 20" all six."""
    last, goes_on = 0, False
    for word in re.findall(r"\d+|to", text):
        if word == "to":
            goes_on = True
            continue
        yield from range(last + 1, int(word)) if goes_on else ()
        yield (last := int(word))
        goes_on = False


def citations(file: Path) -> Iterator[tuple[str, int]]:
    text = flat(file)
    for found in CITATION.finditer(text):
        yield found[1], int(found[2])
        # "INV-4, 8 and 10"
        place = found.end()
        while found[0][-len(found[2]) - 1] == "-" and (more := FURTHER.match(text, place)):
            yield found[1], int(more[1])
            place = more.end()
    for found in HAZARDS.finditer(text):
        yield from (("hazard", number) for number in numbers(found[1]))
    for found in HAZARDS_IN_NAMES.finditer(text):
        yield from (("hazard", int(number)) for number in re.findall(r"\d+", found[1]))


def defined() -> set[tuple[str, int]]:
    contract = re.findall(r"^- \*\*(IK|HT|NX|OP)-(\d+)\*\* ", read(DOCS / "contract.md"), re.M)
    hazards = re.findall(r"^\*\*(\d+)\. ", read(DOCS / "hazards.md"), re.M)
    invariants = re.findall(r"^\*\*INV-(\d+)\. ", read(DOCS / "hazards.md"), re.M)
    found = [(kind, int(number)) for kind, number in contract]
    found += [("hazard", int(number)) for number in hazards] + [("INV", int(number)) for number in invariants]
    assert len(found) == len(set(found)), "a number is given twice"
    return set(found)


def test_every_number_that_is_cited_is_in_the_contract_or_among_the_hazards():
    known = defined()
    assert {n for kind, n in known if kind == "hazard"} == set(range(1, 70))
    assert {n for kind, n in known if kind == "INV"} == set(range(1, 19))
    cited = {(name(file), *citation) for file in citing() for citation in citations(file)}
    assert {kind for _, kind, _ in cited} == {*KINDS, "hazard"}, "the search finds nothing any more"
    assert sorted(c for c in cited if c[1:] not in known) == []


def test_no_comment_cites_a_bare_number():
    """`(29)` says nothing to a reader. A value behind a name in code, like `NAME` (1), is no citation."""
    bare = re.compile(rf"//.*(?<!`)\s\({LIST}\)")
    found = [f"{name(file)}:{number}: {line.strip()}" for file in files("Sources/**/*.swift")
             for number, line in enumerate(read(file).splitlines(), 1) if bare.search(line)]
    assert found == []


def test_documents_and_decisions_that_the_code_cites_are_there():
    decisions = {int(f.name[:4]) for f in files("docs/decisions/*.md")}
    wrong = []
    for file in documents() + files("Sources/**/*.swift"):
        text = flat(file)
        # `docs/decisions/0005` is as good as the whole name.
        wrong += [f"{name(file)}: {path}" for path in re.findall(r"(?<![/\w])(docs/[\w./-]*\w)", text) if not [*ROOT.glob(f"{path}*")]]
        wrong += [f"{name(file)}: decision {n}" for found in re.findall(rf"\bdecisions? ({LIST})", text)
                  for n in numbers(found) if n not in decisions]
        wrong += [f"{name(file)}: {word}" for word in re.findall(r"\b(?:DESIGN|CONTRACT|HAZARDS)\.md|\bADR \d+", text)]
        wrong += [f'{name(file)}: {document}, "{title}"' for document, title in re.findall(r'(docs/\w+\.md), "([^"]+)"', text)
                  if f"## {title}\n" not in read(ROOT / document)]
    assert wrong == []


# The hazards' tests

def hazard_entries() -> dict[str, str]:
    parts = re.split(r"^\*\*((?:INV-)?\d+)\. ", read(DOCS / "hazards.md"), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def test_every_test_that_a_hazard_names_exists():
    tests = {file.stem: file for file in files("Tests/**/*.swift", "Tests/**/*.py")}
    named = TEST_OF.findall(read(DOCS / "hazards.md"))
    assert len(named) > 100, "the search finds nothing any more"
    assert len(named) == len(re.findall(r"^- ", read(DOCS / "hazards.md"), re.M)), "a line names no test"
    wrong = []
    for file, sentence, function in named:
        text = read(tests[file]) if file in tests else ""
        sentence = " ".join(sentence.split())
        exists = f"def {function}(" in text if function else re.search(rf'@Test\(\s*"{re.escape(sentence)}"', text)
        if not exists:
            wrong.append(f"{file}: {sentence or function}")
    functions = {f for file in tests.values() if file.suffix == ".py" for f in re.findall(r"def (test_\w+)\(", read(file))}
    # The simulated card's methods look like tests.
    functions |= set(re.findall(r'= "(test_\w+)"', read(ROOT / "Sources/PaymentService/Charges/SimulatedCard.swift")))
    wrong += [f"{name(file)}: {f}" for file in documents() for f in re.findall(r"`(test_\w+)`", read(file)) if f not in functions]
    assert wrong == []


def test_a_hazard_names_its_tests_or_says_that_there_is_none():
    for number, text in hazard_entries().items():
        says_none = "Not shown by a test" in text or "Not built" in text
        assert bool(TEST_OF.search(text)) != says_none, number


# Links

def anchors(file: Path) -> set[str]:
    """Those that GitHub makes of the headings."""
    found: dict[str, int] = {}
    for title in re.findall(r"^#+ +(.+?) *$", FENCE.sub("", read(file)), re.M):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
        if found[slug]:
            found[f"{slug}-{found[slug]}"] = 0
    return set(found)


@pytest.mark.parametrize("file", documents(), ids=name)
def test_every_relative_link_leads_somewhere(file):
    wrong = []
    for target in LINK.findall(FENCE.sub("", read(file))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (file.parent / path).resolve() if path else file
        if not there.exists() or ROOT not in (there, *there.parents):
            wrong.append(target)
        elif anchor and (there.suffix != ".md" or anchor not in anchors(there)):
            wrong.append(target)
    assert wrong == []


# What must be listed

def test_every_problem_type_is_among_the_errors():
    kinds = set(re.findall(r'^    case \w+ = "([a-z-]+)"', read(ROOT / "Sources/ServiceKit/HTTP/Problem.swift"), re.M))
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", read(DOCS / "errors.md"), re.M)
    listed = [kind for _, kinds in rows for kind in re.findall(r"`([a-z-]+)`", kinds)]
    assert sorted(listed) == sorted(kinds)
    assert [status for status, _ in rows] == sorted(status for status, _ in rows)


def test_every_setting_is_listed():
    asked = re.compile(r'\bsettings\s*\.\s*\w+\(\s*"([A-Z][A-Z0-9_]+)"')
    # Those of OpenTelemetry are asked for by parts of their names.
    names = {n for file in files("Sources/**/*.swift") if "OTLP" not in file.name for n in asked.findall(read(file))}
    assert len(names) > 40, "the search finds nothing any more"
    listed = set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", read(DOCS / "settings.md") + read(DOCS / "operations.md")))
    assert names - listed == set()


def test_every_metric_is_listed():
    names = {n for file in files("Sources/**/*.swift") for n in re.findall(r'MetricFamily\(\s*"(\w+)"', read(file))}
    assert len(names) > 25, "the search finds nothing any more"
    listed = set(re.findall(r"`([a-z_]+)`", read(DOCS / "operations.md").partition("\n## Metrics\n")[2].partition("\n## ")[0]))
    assert names - listed == set()


def test_every_limit_is_where_the_list_says():
    sources = {file: read(file) for file in files("Sources/**/*.swift")}
    nginx, settings = read(ROOT / "nginx.conf"), read(DOCS / "settings.md") + read(DOCS / "operations.md")
    wrong = []
    for row in re.findall(r"^\|.*\| ([^|]*) \|$", read(DOCS / "limits.md"), re.M):
        for place in re.findall(r"`([\w.]+)`", row):
            kind, dot, member = place.partition(".")
            if dot:
                declared = re.compile(rf"\b(?:let|var|func|case) {member}\b" if member != "init" else r"\binit\(")
                of = re.compile(rf"\b(?:class|struct|enum|extension|actor|protocol) {kind}\b")
                exists = any(of.search(text) and declared.search(text) for text in sources.values())
            elif place.isupper():
                exists = f"`{place}`" in settings or f"\n{place}=" in read(ROOT / "scripts/up")
            else:
                exists = re.search(rf"^\s*{place}\s", nginx, re.M)
            if not exists:
                wrong.append(place)
    assert wrong == []
