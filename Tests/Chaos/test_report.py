"""How a run is counted, what its table says, and which arguments start it."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path

import chaos
import options
from checks import Violation
from killer import Recovery
from ledger import Checkout, Kind, Told
from report import SHOWN, Report, percentile


def checkout(*kinds: Kind) -> Checkout:
    return Checkout(1, "key", "", ((1, 1),), told=[Told(n, n, kind) for n, kind in enumerate(kinds)])


class ReportTest(unittest.TestCase):
    def setUp(self) -> None:
        self.report = Report("seed", 1.0, kills={"order": 2, "stock": 1}, recoveries=[
            Recovery(("order",), 3, 0.1, seconds, "key card") for seconds in (0.1, 0.2, 1.5)])

    def test_percentiles(self) -> None:
        values = [float(n) for n in range(100, 0, -1)]
        self.assertEqual([percentile(values, share) for share in (0.5, 0.99, 1.0)], [50.0, 99.0, 100.0])
        self.assertEqual((percentile([3.0], 0.99), percentile([], 0.99)), (3.0, 0.0))

    def test_every_checkout_is_counted_by_its_end(self) -> None:
        self.report.count([
            checkout(Kind.UNKNOWN, Kind.SUCCESS), checkout(Kind.FAILED, Kind.SUCCESS, Kind.UNKNOWN), checkout(Kind.REFUSED),
            checkout(Kind.FAILED), checkout(Kind.UNKNOWN), checkout()])
        self.assertEqual((self.report.asked, self.report.completed, self.report.refused, self.report.failed), (5, 2, 1, 1))

    def test_the_table_says_what_was_done_and_found(self) -> None:
        self.report.violations = [Violation("INV-3", f"sentence {n}", (f"id-{n}",)) for n in range(SHOWN + 2)]
        text = self.report.text()
        for words in ("seed", "3   order 2, stock 1", "p50 0.200 s  p99 1.500 s  max 1.500 s", "INV-3: id-0: sentence 0",
                      "INV-3: and 2 more"):
            self.assertIn(words, text)

    def test_the_document_has_everything(self) -> None:
        self.report.violations = [Violation("INV-3", "sentence", ("id",))] * (SHOWN + 2)
        document = json.loads(json.dumps(self.report.as_json()))
        self.assertEqual(len(document["violations"]), SHOWN + 2)
        self.assertEqual(document["recoveries"]["seconds"], {"p50": 0.2, "p99": 1.5, "max": 1.5})
        self.assertEqual(len(document["recoveries"]["each"]), 3)


class OptionsTest(unittest.TestCase):
    def test_arguments(self) -> None:
        parsed = options.parse(["--minutes", "0.5", "--seed", "s", "--ports", "5-7", "--json", "a/b", "--set", "A=1",
                                "--set", "B=2=3"])
        self.assertEqual((parsed.minutes, parsed.seed, parsed.ports, parsed.json, parsed.settings),
                         (0.5, "s", (5, 7), Path("a/b"), {"A": "1", "B": "2=3"}))

    def test_a_seed_is_made_up(self) -> None:
        self.assertNotEqual(options.parse([]).seed, options.parse([]).seed)

    def test_what_cannot_be_used_ends_with_64(self) -> None:
        for arguments in ("--minutes 0", "--minutes x", "--rate -1", "--clients 1.5", "--ports 7-5", "--set A", "--min 1", "x"):
            with self.subTest(arguments), self.assertRaises(SystemExit) as end, contextlib.redirect_stderr(io.StringIO()):
                options.parse(arguments.split())
            self.assertEqual(end.exception.code, options.EX_USAGE)


class DirectoryTest(unittest.TestCase):
    def test_a_run_has_a_new_directory_within_the_one_that_was_chosen(self) -> None:
        with tempfile.TemporaryDirectory() as chosen:
            first, second = chaos.directory_of_its_own(chosen + "/there"), chaos.directory_of_its_own(chosen + "/there")
            self.assertEqual([path.parent for path in (first, second)], [Path(chosen + "/there")] * 2)
            self.assertNotEqual(first, second)
            self.assertEqual(list(first.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
