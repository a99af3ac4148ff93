"""The parts of the benchmark that only compute: what is read, what comes of it, what is written."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sqlite3
import tempfile
import unittest
from contextlib import closing
from pathlib import Path
from unittest import mock

import bench
import fill
import instructions
import load
import processes
import report
import surroundings
import system
import yardstick
from errors import BenchError


class ReadingTheKernel(unittest.TestCase):
    def test_a_name_with_spaces_and_parentheses_does_not_move_the_fields(self):
        after_name = "S 7 1 1 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 5 0 12345 800000 2000"
        stat = processes.parse_stat(f"42 (a) (b c) {after_name}", ticks_per_second=100)
        self.assertEqual(stat, processes.Stat(parent=7, cpu_seconds=2.0, started=123.45))

    def test_this_process_is_found(self):
        own = processes.stat(int(Path("/proc/self").resolve().name))
        self.assertGreater(processes.since_start(own.started), 0)

    def test_a_process_that_is_gone_has_no_stat(self):
        self.assertIsNone(processes.stat(2**22 + 1))

    def test_the_peak_is_in_bytes(self):
        self.assertEqual(processes.parse_peak_bytes("VmPeak:\t  9 kB\nVmHWM:\t  1024 kB\nVmRSS:\t 8 kB\n"), 1024 * 1024)
        self.assertEqual(processes.parse_peak_bytes("Name:\tkworker\n"), 0)

    def test_what_was_read_from_the_disk_is_not_what_was_asked_for(self):
        self.assertEqual(processes.parse_read_bytes("rchar: 9\nread_bytes: 4096\nwrite_bytes: 7\n"), 4096)
        self.assertEqual(processes.parse_read_bytes("rchar: 9\n"), 0)

    def test_the_nearest_mount_decides_the_file_system(self):
        mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /a\\040b xfs rw 0 0\n"
        self.assertEqual(surroundings.parse_filesystem(mounts, Path("/tmp/x/y")), "tmpfs")
        self.assertEqual(surroundings.parse_filesystem(mounts, Path("/a b/c")), "xfs")
        self.assertEqual(surroundings.parse_filesystem(mounts, Path("/tmpfile")), "ext4")

    def test_the_model_of_the_processor(self):
        self.assertEqual(surroundings.parse_cpu_model("processor\t: 0\nmodel name\t: Fast One\n"), "Fast One")
        self.assertIsNone(surroundings.parse_cpu_model("processor\t: 0\n"))

    def test_every_setting_of_the_services_is_noted_that_is_not_of_the_run_itself(self):
        documented = (system.ROOT / "docs/settings.md").read_text().split("## Every service")[1].split("## The mock provider")[0]
        rows = [line.split("|")[1] for line in documented.splitlines() if line.startswith("| `")]
        names = {name for row in rows for name in re.findall(r"`([A-Z][A-Z_]+)`", row)}
        of_the_run = re.compile(r"\w*(HOST|PORT|_BASE_URL|_SECRET)|DATA_DIR|STORE_MUST_EXIST")
        self.assertLess(20, len(names))
        self.assertEqual({name for name in names if not of_the_run.fullmatch(name) and not surroundings.SETTINGS.fullmatch(name)}, set())
        self.assertFalse(surroundings.SETTINGS.fullmatch("OTEL_EXPORTER_OTLP_HEADERS"))

    def test_a_run_reaches_no_real_provider(self):
        theirs = {"STRIPE_BASE_URL": "https://stripe", "WEBHOOK_URL": "https://payment", "LOG_LEVEL": "warning"}
        with tempfile.TemporaryDirectory() as base, mock.patch.dict(os.environ, theirs):
            environment = system.System(Path(base)).environment
        self.assertEqual(environment["LOG_LEVEL"], "warning")
        self.assertEqual({"STRIPE_BASE_URL", "WEBHOOK_URL"} & set(environment), set())


class CountingInstructions(unittest.TestCase):
    # A handler of ours calls the runtime three times and the store's module once, which calls it once.
    OUTPUT = """version: 1
events: Ir

fn=(1) $s5Order6handleyyF
5 100
cfn=(2) swift_retain
calls=3 9
5 30
cfn=(3) $s7Storage3runyyF'2
calls=1 9
6 90

fn=(2)
7 40

fn=(3)
+2 50
cfn=(2)
calls=1 9
* 10
"""

    def profile(self) -> instructions.Profile:
        return instructions.parse(io.StringIO(self.OUTPUT))

    def test_what_a_function_takes_itself_is_told_from_what_it_calls(self):
        profile = self.profile()
        self.assertEqual(
            profile.own, {"$s5Order6handleyyF": 100, "swift_retain": 40, "$s7Storage3runyyF": 50})
        self.assertEqual(profile.calls["$s5Order6handleyyF", "swift_retain"], 3)
        self.assertEqual(profile.calls["$s7Storage3runyyF", "swift_retain"], 1)

    def test_what_the_runtime_takes_is_given_to_its_callers_by_their_calls(self):
        self.assertEqual(instructions.by_module(self.profile()), {"Order": 130, "Storage": 60})

    def test_what_nobody_of_ours_calls_stays_with_the_runtime(self):
        profile = self.profile()
        profile.calls.clear()
        self.assertEqual(
            instructions.by_module(profile), {"Order": 100, "Storage": 50, "tasks, threads and runtime": 40})
        round_about = instructions.Profile(own=profile.own, calls=profile.calls)
        round_about.calls.update({("swift_retain", "malloc"): 1, ("malloc", "swift_retain"): 1})
        self.assertEqual(sum(instructions.by_module(round_about).values()), 190)

    def test_functions_have_the_modules_that_their_names_say(self):
        modules = {
            "$s10StrictJSON10JSONWriterV4nameyyF": "StrictJSON", "$ss6HasherV9_finalize": None, "$sSS6appendyySSF": None,
            "malloc": None, "sqlite3_step": "SQLite, libcurl and other C without symbols",
            "c_nio_llhttp__internal__run": "NIO's HTTP parser",
        }
        self.assertEqual({name: instructions.module(name) for name in modules}, modules)

    def test_the_table_is_of_one_checkout_and_leaves_out_the_start(self):
        counted, start = self.profile(), instructions.Profile(own=instructions.Counter({"$s5Order6handleyyF": 100}))
        lines = instructions.table(1, {"order": counted.without(start), "stock": counted}).splitlines()
        self.assertEqual(lines[1].split(), ["all", "90", "190", "280"])
        self.assertEqual(lines[2].split(), ["Order", "30", "130", "160"])
        self.assertEqual(lines[3].split(), ["Storage", "60", "60", "120"])


class Arguments(unittest.TestCase):
    def test_defaults(self):
        options = bench.parse([])
        self.assertEqual((options.seconds, options.repeat, options.connections), (5, 3, [1, 16, 64, 128]))
        self.assertEqual((options.scale, options.output, options.compare), ([], "bench.json", None))
        self.assertEqual(options.keys, "random")

    def test_quick_changes_only_what_is_not_said(self):
        options = bench.parse(["--quick", "--connections", "2,4"])
        self.assertEqual((options.seconds, options.repeat, options.connections), (1, 1, [2, 4]))

    def test_scale(self):
        self.assertEqual(bench.parse(["--scale", "default"]).scale, [10_000, 1_000_000, 5_000_000])
        self.assertEqual(bench.parse(["--scale", "100"]).scale, [100])

    def test_bad_arguments_are_wrong_usage(self):
        for bad in (["--seconds", "0"], ["--connections", "1,x"], ["--scale", ""], ["--what"], ["--compare", "a"], ["--keys", "x"]):
            with self.subTest(bad), contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit) as ended:
                bench.parse(bad)
            self.assertEqual(ended.exception.code, 64)


class Load(unittest.TestCase):
    RESULT = {
        "durationSeconds": 2.0, "sent": 111, "statuses": {"200": 90, "503": 4}, "connect": 1, "read": 2, "write": 0, "late": 0,
        "p50Micros": 1500, "p99Micros": 9000, "p999Micros": 20000, "maxMicros": 30000,
    }

    def test_only_200_is_a_checkout(self):
        outcome = load.outcome(self.RESULT, connections=10)
        self.assertEqual((outcome["checkouts"], outcome["checkoutsPerSecond"]), (90, 45.0))
        self.assertEqual(outcome["latencyMs"], {"p50": 1.5, "p99": 9.0, "p999": 20.0, "max": 30.0})

    def test_requests_that_were_never_answered_are_errors(self):
        # 111 were made: 94 answered, 2 broken off, 10 under way at the end, 1 only looked at.
        self.assertEqual(load.outcome(self.RESULT, 10)["errors"], {"503": 4, "connect": 1, "read": 2, "unanswered": 4})

    def test_the_script_is_told_how_keys_begin(self):
        self.assertEqual(load.environment(1, Path("result"))["BENCH_KEYS"], "random")
        self.assertEqual(load.environment(1, Path("result"), "ordered")["BENCH_KEYS"], "ordered")

    def test_threads_divide_the_connections(self):
        self.assertEqual([load.threads_for(count, cores=4) for count in (1, 2, 3, 64)], [1, 2, 1, 2])
        self.assertEqual(load.threads_for(64, cores=1), 1)


class Books(unittest.TestCase):
    def totals(self):
        return (
            {"orders": {"pending": 0, "completed": 3, "failed": 1}, "completedTotals": [{"currency": "USD", "amount": 3000}]},
            {
                "items": [{"itemId": 1, "received": 10, "available": 7, "reserved": 0, "completed": 3}],
                "reservations": {"reserved": 0, "completed": 3, "canceled": 1},
            },
            {"currencies": [{"currency": "USD", "captured": 4000, "refunded": 1000, "net": 3000}]},
        )

    def test_books_that_balance(self):
        self.assertIsNone(system.disagreement(*self.totals()))

    def test_each_way_in_which_they_may_not(self):
        def order(totals): totals[0]["orders"]["pending"] = 1
        def reservation(totals): totals[1]["reservations"]["reserved"] = 1
        def goods(totals): totals[1]["items"][0]["available"] = 8
        def money(totals): totals[2]["currencies"][0]["net"] = 2000
        def completed(totals): totals[1]["reservations"]["completed"] = 2
        def sold(totals): totals[1]["items"][0].update(available=8, completed=2)
        for break_it in (order, reservation, goods, money, completed, sold):
            with self.subTest(break_it.__name__):
                totals = self.totals()
                break_it(totals)
                self.assertIsNotNone(system.disagreement(*totals))


class TheYardstick(unittest.TestCase):
    def test_it_takes_the_settings_of_what_it_measures(self):
        product = (system.ROOT / "nginx.conf").read_text()
        template = Path(yardstick.__file__).with_name("yardstick.conf").read_text()
        text = yardstick.configuration(template, product, {"EMPTY_PORT": 1111, "PROXY_PORT": 2222}, "")
        self.assertIn("worker_processes auto;", text)
        self.assertIn("server 127.0.0.1:1111;", text)
        self.assertNotRegex(text, "@[A-Z_]+@")

    def test_a_setting_that_is_gone_is_named(self):
        with self.assertRaisesRegex(BenchError, "worker_processes"):
            yardstick.directives("# worker_processes 2;\n", ["worker_processes"])


class Multiplying(unittest.TestCase):
    """On a schema that is nobody's, since fill.py is to know none."""

    SCHEMA = """
        CREATE TABLE things (id TEXT PRIMARY KEY, client TEXT, body BLOB, hash BLOB, at INTEGER) STRICT, WITHOUT ROWID;
        CREATE TABLE journal (number INTEGER PRIMARY KEY, thing TEXT, note TEXT) STRICT;
        CREATE TABLE totals (name TEXT PRIMARY KEY, sold INTEGER, seen_at INTEGER) STRICT;
        INSERT INTO totals VALUES ('all', 0, 1000);
    """
    PER_ROUND = fill.SAMPLES

    def sell(self, connection, number):
        thing, client = f"01a1fcd4-5713-794e-8e36-{number:012x}", f"9d5f7a10-0000-4000-8000-{number:012x}"
        body = json.dumps({"thing": thing, "note": "100 %"}).encode()
        connection.execute("INSERT INTO things VALUES (?, ?, ?, ?, ?)", (thing, client, body, b"\xff\xfe", 1000 + number))
        connection.execute("INSERT INTO journal (thing, note) VALUES (?, 'sold')", (thing,))
        connection.execute("UPDATE totals SET sold = sold + 2, seen_at = seen_at + ?", (number,))
        return client

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "shop.sqlite"
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.executescript("PRAGMA synchronous = OFF;" + self.SCHEMA)
            self.states = [fill.read_database(connection)]
            for start in (0, self.PER_ROUND):
                self.keys = [self.sell(connection, start + number) for number in range(self.PER_ROUND)]
                self.states.append(fill.read_database(connection))

    def test_rows_are_copied_with_new_ids_and_totals_move_on(self):
        samples = fill.ids_of_checkouts({"shop": self.states[2]}, self.keys)
        fill.write(self.path, *self.states, samples, 1000)
        with closing(sqlite3.connect(self.path)) as connection:
            def one(sql):
                return connection.execute(sql).fetchone()
            sold = 1000 + 2 * self.PER_ROUND
            self.assertEqual(one("SELECT count(*), count(DISTINCT client) FROM things"), (sold, sold))
            self.assertEqual(one("SELECT count(*) FROM things JOIN journal ON thing = id"), (sold,))
            same = one("SELECT count(*) FROM things WHERE body ->> 'thing' = id AND body ->> 'note' = '100 %'")
            self.assertEqual(same, (sold,))
            self.assertEqual(one("SELECT count(*) FROM things WHERE hash = x'fffe' AND typeof(body) = 'blob'"), (sold,))
            self.assertEqual(one("SELECT sold FROM totals"), (2 * sold,))
            self.assertEqual(one("SELECT seen_at FROM totals"), (1000 + sum(range(2 * self.PER_ROUND)),))

    def test_an_id_that_rows_of_several_checkouts_share_is_nobodys(self):
        process = "0c1e6f0a-7d3b-4c51-9a43-5c0a2f6b9d11"
        samples = fill.ids_of_checkouts({"shop": self.states[2]}, self.keys)
        owners = [(100 + number, process, key) for number, key in enumerate(self.keys)]
        self.states[2]["journal"].rows.extend(owners)
        self.assertEqual(fill.ids_of_checkouts({"shop": self.states[2]}, self.keys), samples)
        slots = {known: slot for slot, known in enumerate(samples[0])}
        self.assertEqual(fill.template(f"{samples[0][1]} by {process}", slots), f"%(1)s by {process}")
        self.assertIsNone(fill.template(process, slots))

    def test_a_row_of_two_checkouts_is_refused(self):
        ids = [fill.ids_in(row) for row in self.states[2]["things"].rows]
        shared = tuple(sorted(ids[-1] | ids[-2]))
        self.states[2]["journal"].rows.append((99, shared[0], " ".join(shared)))
        with self.assertRaises(BenchError):
            fill.ids_of_checkouts({"shop": self.states[2]}, self.keys)

    def test_ids_of_version_7_go_up_and_stay_in_the_past(self):
        sample, newest = "01a1fcd4-5713-794e-8e36-3003ff1c7ad4", 0x01A1FCD45713
        made = [fill.new_id(sample, 3, number, 1000, newest) for number in range(1000)]
        self.assertEqual(made, sorted(set(made)))
        self.assertLess(made[-1], sample)
        self.assertTrue(all(fill.UUID.fullmatch(one) and one[14] == "7" and one[19] in "89ab" for one in made))

    def test_other_ids_are_spread_evenly(self):
        made = [fill.new_id("9d5f7a10-0000-4000-8000-000000000000", 0, number, 4, 0) for number in range(4)]
        self.assertEqual([one[:2] for one in made], ["20", "60", "a0", "e0"])


def run(rate, p99=10.0, errors=None, cpu=100.0, disk=0.0):
    return {
        "checkouts": int(rate), "checkoutsPerSecond": rate, "latencyMs": {"p50": 1.0, "p99": p99, "p999": 20.0, "max": 30.0},
        "errors": errors or {}, "cpuMicros": dict.fromkeys(report.PROCESSES, cpu),
        "peakBytes": dict.fromkeys(report.PROCESSES, int(rate) * 2**20), "diskBytesPerSecond": disk,
    }


def result(rates, yardsticks, **environment):
    runs = [run(rate) for rate in rates]
    compared = report.against(runs, [run(rate) for rate in yardsticks])
    one = {"route": "nginx", "connections": 64} | report.summarise(runs) | compared
    return {
        "environment": {"date": "2026-01-01", "commit": "abc"} | environment, "settings": {"seconds": 5},
        "scenarios": [{"name": "fresh stores", "syncMicros": 150.0, "measurements": [one]}],
    }


class Reporting(unittest.TestCase):
    def test_medians_of_rates_but_all_errors_and_the_highest_peak(self):
        summary = report.summarise([run(100, 9), run(300, 8, {"503": 1}), run(110, 50, {"503": 2, "read": 1})])
        self.assertEqual((summary["checkoutsPerSecond"], summary["latencyMs"]["p99"]), (110, 9))
        self.assertEqual(summary["errors"], {"503": 3, "read": 1})
        self.assertEqual(summary["peakBytes"]["order"], 300 * 2**20)
        self.assertAlmostEqual(summary["spread"], 200 / 110)

    def test_the_spread_of_one_run_is_not_known(self):
        self.assertIsNone(report.summarise([run(100)])["spread"])

    def test_the_ratio_is_of_medians_and_its_spread_of_neighbours(self):
        # The machine slows down by half: the rates differ, and the ratios do not.
        found = report.against([run(100), run(50)], [run(1000), run(1000), run(0)])
        self.assertEqual((found["ratio"], found["yardstickPerSecond"]), (0.075, 1000))
        self.assertEqual(found["ratioSpread"], 0.0)

    def test_processor_time_for_one_checkout(self):
        self.assertEqual(report.per_checkout({"order": 1.0}, {"order": 3.0}, 1000), {"order": 2000.0})
        self.assertEqual(report.per_checkout({"order": 1.0}, {"order": 3.0}, 0), {"order": 0.0})

    def test_a_table_is_aligned(self):
        self.assertEqual(report.table(["a", "b"], [["long", "1"], ["x", "222"]]), "a       b\nlong    1\nx     222")

    def test_a_scenario_in_words(self):
        scenario = result([1234.0, 1234.0], [10_000, 10_000, 10_000])["scenarios"][0] | {"startUpSeconds": {"order": 0.25}}
        text = report.scenario_report(scenario)
        self.assertIn("1,234", text)
        self.assertIn("0.1234", text)
        self.assertIn("100/100/100/100", text)
        self.assertIn("order 0.25 s", text)
        self.assertIn("150 µs", text)

    def test_what_had_to_be_read_from_the_disk_is_told_where_it_was_more_than_a_page_now_and_then(self):
        scenario = result([100.0], [1000, 1000])["scenarios"][0]
        self.assertNotIn("disk", report.scenario_report(scenario))
        cold = report.summarise([run(100, disk=2.0**20), run(100, disk=3.0 * 2**20), run(100, disk=0.0)])
        scenario["measurements"][0] |= cold
        self.assertIn("from the disk, as it was not in memory: nginx with 64 connections 1.0 MiB/s",
                      report.scenario_report(scenario))


class Comparing(unittest.TestCase):
    def compare(self, before, after):
        return report.compare(before, after).splitlines()

    def test_a_change_beyond_the_spread_is_plain_and_one_within_it_is_marked(self):
        before = result([100, 102, 104], [1000] * 4)
        self.assertIn(" +50.0 %", self.compare(before, result([152, 153, 154], [1000] * 4))[3])
        self.assertIn(" ~+1.0 %", self.compare(before, result([102, 103, 104], [1000] * 4))[3])

    def test_single_runs_prove_nothing(self):
        self.assertIn(" ~+100.0 %", self.compare(result([100], [1000] * 2), result([200], [1000] * 2))[3])

    def test_the_ratio_takes_out_the_drift_of_the_machine(self):
        row = self.compare(result([100, 100], [1000] * 3), result([50, 50], [500] * 3))[3]
        self.assertIn(" -50.0 %", row)
        self.assertIn(" ~+0.0 %", row)

    def test_other_machines_and_settings_are_named(self):
        lines = self.compare(result([100], [1000] * 2, cpu="one"), result([100], [1000] * 2, cpu="another"))
        self.assertIn("not the same: cpu: one > another", lines)

    def test_what_only_one_has_is_named(self):
        before, after = result([100], [1000] * 2), result([100], [1000] * 2)
        after["scenarios"][0]["name"] = "many orders"
        lines = self.compare(before, after)
        self.assertIn("only in A: fresh stores, nginx, 64", lines)
        self.assertIn("only in B: many orders, nginx, 64", lines)

    def test_a_file_that_is_no_result_is_named(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write('{"version": 0}')
            file.flush()
            with self.assertRaisesRegex(BenchError, "no result"):
                bench.read_result(file.name)


if __name__ == "__main__":
    unittest.main()
