"""Measures the checkout. Started by scripts/bench, whose comment at the top says what it does and takes."""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import load
import processes
import report
import surroundings
from errors import BenchError
from fill import fill
from system import ROOT, SERVICES, System, stop_process
from yardstick import Yardstick

EX_USAGE = 64
VERSION = 1  # Of the form of the result. A change that --compare cannot read makes it another.
SCALE = [10_000, 1_000_000, 5_000_000]
# What is in flight when wrk leaves goes on for a moment; its processor time belongs to the run.
SETTLE_SECONDS = 0.3
WARM_UP_SECONDS = 1
WARM_UP_CONNECTIONS = 16
RECOVERY_SECONDS = 300


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


# ---------------------------------------------------------------- one run, and all runs of a scenario


def measure(
    system: System, route: str, connections: int, seconds: int, items: int, keys: str = "random"
) -> dict:
    """One run against the checkout, with what it cost each process."""
    pids = system.pids()
    for pid in (pid for group in pids.values() for pid in group):
        processes.reset_peak(pid)
    before, read_before = cpu_seconds(pids), disk_bytes(pids)
    run = load.run(system.urls[route], connections, seconds, items, keys)
    time.sleep(SETTLE_SECONDS)
    if system.pids() != pids:
        raise BenchError("a process died during the run and was started again; there is nothing to measure")
    run["cpuMicros"] = report.per_checkout(before, cpu_seconds(pids), run["checkouts"])
    run["diskBytesPerSecond"] = (disk_bytes(pids) - read_before) / seconds
    # Of nginx's workers the sum; what they share counts for each.
    run["peakBytes"] = {name: sum(map(processes.peak_bytes, group)) for name, group in pids.items()}
    return run


def cpu_seconds(pids: dict[str, list[int]]) -> dict[str, float]:
    found = {name: [processes.stat(pid) for pid in group] for name, group in pids.items()}
    for name, stats in found.items():
        if None in stats:
            raise BenchError(f"{name} died during the run")
    return {name: sum(stat.cpu_seconds for stat in stats) for name, stats in found.items()}


def disk_bytes(pids: dict[str, list[int]]) -> int:
    """What the services have read from the disk, as it was not in memory."""
    return sum(processes.read_bytes(pid) for name in SERVICES for pid in pids[name])


def measure_all(system: System, yardstick: Yardstick, options: argparse.Namespace, items: int) -> dict:
    """Every route and number of connections. The yardstick is measured before, between and after the runs it is for."""
    load.run(system.urls["nginx"], WARM_UP_CONNECTIONS, WARM_UP_SECONDS, items, options.keys)
    measurements = []
    syncs = []
    for connections in options.connections:
        runs: dict[str, list[dict]] = {"yardstick": [], "nginx": [], "direct": []}

        def measure_yardstick(connections: int = connections, to: list[dict] = runs["yardstick"]) -> None:
            to.append(load.run(yardstick.url, connections, options.seconds, items))

        for number in range(options.repeat):
            say(f"  {connections} connections, run {number + 1} of {options.repeat}")
            syncs.append(surroundings.sync_micros(system.data))
            measure_yardstick()
            for route in ("nginx", "direct"):
                runs[route].append(measure(system, route, connections, options.seconds, items, options.keys))
        measure_yardstick()
        summaries = {route: report.summarise(of_route) for route, of_route in runs.items()}
        for route in ("nginx", "direct"):
            summaries[route] |= report.against(runs[route], runs["yardstick"])
        measurements += [{"route": route, "connections": connections} | one for route, one in summaries.items()]
    return {"syncMicros": median(syncs), "measurements": measurements}


# ---------------------------------------------------------------- recovery


def measure_recovery(system: System, unfinished: int) -> dict:
    """Kills Order under load and times how its next process finishes what was left.

    Returns: how many orders were left (about `unfinished`), and the seconds from the start of the new process until it was
    ready, and until none was left. scripts/up starts it half a second after the death of the old one, and that pause is not
    counted.
    """
    old = system.pid("order")
    with tempfile.TemporaryDirectory(prefix="checkout-bench.") as directory:
        wrk = subprocess.Popen(
            # More connections than orders wanted, as not every request has got as far as being an order.
            load.command(system.urls["direct"], 2 * unfinished, 60), env=load.environment(1, Path(directory) / "result.json"),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 10
            while system.pending() < unfinished and time.monotonic() < deadline:
                time.sleep(0.01)
            if old is None or system.pid("order") != old:
                raise BenchError("order did not survive the load that it was to be killed under")
            os.kill(old, signal.SIGKILL)
        finally:
            wrk.kill()  # Before Order is back: what it recovers is to be what it left, and nothing new.
            wrk.wait(10)
    left = system.pending()
    deadline = time.monotonic() + RECOVERY_SECONDS
    ready = None
    while ready is None:
        if time.monotonic() > deadline:
            raise BenchError(f"order was not ready within {RECOVERY_SECONDS} s after kill -9")
        time.sleep(0.005)
        ready = system.seconds_to_ready("order", not_pid=old)
    while system.pending():
        if time.monotonic() > deadline:
            raise BenchError(f"{system.pending()} orders had not ended {RECOVERY_SECONDS} s after kill -9 of order")
        time.sleep(0.02)
    pid = system.pid("order")
    known = processes.stat(pid) if pid is not None else None
    if known is None:
        raise BenchError("order died again while it recovered")
    recovered = processes.since_start(known.started)
    system.check_books()
    return {"unfinished": left, "readySeconds": ready, "recoveredSeconds": recovered}


# ---------------------------------------------------------------- scenarios


class Benchmark:
    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.base = Path(os.environ.get("DATA_DIR") or ROOT / "var/bench").absolute()
        self.result = {
            "version": VERSION,
            "complete": False,
            "environment": surroundings.environment(self.base),
            "settings": {
                "seconds": options.seconds, "repeat": options.repeat, "connections": options.connections,
                "scale": options.scale, "items": options.items, "unfinished": options.unfinished, "keys": options.keys,
            },
            "scenarios": [],
        }

    def run(self) -> None:
        with Yardstick() as yardstick:
            self.fresh(yardstick)
            for orders in self.options.scale:
                self.with_orders(yardstick, orders)
            if self.options.scale:
                self.with_items(yardstick)
        self.result["complete"] = True
        self.write()
        print(f"\nWritten to {self.options.output}")

    def fresh(self, yardstick: Yardstick) -> None:
        with System(self.base) as system:
            ready = system.start()
            self.measure("fresh stores", system, yardstick, 1, startUpSeconds=ready)

    def with_orders(self, yardstick: Yardstick, orders: int) -> None:
        name = f"{orders:,} finished orders"
        with System(self.base) as system:
            say(f"{name}: filling the stores")
            began = time.monotonic()
            ready = fill(system, orders, say)
            filled = system.check_books()
            say(f"  {filled:,} orders after {time.monotonic() - began:.0f} s; the books balance")
            if filled < orders:
                raise BenchError(f"only {filled:,} of {orders:,} orders came to be")
            scenario = self.measure(name, system, yardstick, 1, ordersAtStart=filled, startUpSeconds=ready)
            say(f"{name}: kill -9 of Order under load")
            scenario["recovery"] = measure_recovery(system, self.options.unfinished)
            print(report.recovery_in_words(scenario["recovery"]), flush=True)
            self.write()

    def with_items(self, yardstick: Yardstick) -> None:
        items = self.options.items
        with System(self.base) as system:
            say(f"making {items:,} items")
            system.start()
            system.put_items(items)
            self.measure(f"{items:,} items, sold evenly", system, yardstick, items)
            self.measure(f"{items:,} items, all buy one", system, yardstick, 1)

    def measure(self, name: str, system: System, yardstick: Yardstick, items: int, **facts: object) -> dict:
        say(name)
        scenario = {"name": name, **facts, **measure_all(system, yardstick, self.options, items)}
        scenario["ordersAtEnd"] = system.check_books()
        self.result["scenarios"].append(scenario)
        print("\n" + report.scenario_report(scenario), flush=True)
        self.write()
        return scenario

    def write(self) -> None:
        """Writes what there is so far: a long run that is stopped has not been for nothing."""
        output = Path(self.options.output)
        partial = output.with_name(output.name + ".partial")
        partial.write_text(json.dumps(self.result, indent=1) + "\n")
        partial.replace(output)


# ---------------------------------------------------------------- the command line


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        print(f"bench: {message} (--help says more)", file=sys.stderr)
        raise SystemExit(EX_USAGE)


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def numbers(text: str) -> list[int]:
    return [positive(part) for part in text.split(",")]


def scale(text: str) -> list[int]:
    return SCALE if text == "default" else numbers(text)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(prog="bench", add_help=False, allow_abbrev=False)
    parser.add_argument("--seconds", type=positive)
    parser.add_argument("--repeat", type=positive)
    parser.add_argument("--connections", type=numbers)
    parser.add_argument("--scale", type=scale, default=[])
    parser.add_argument("--items", type=positive, default=10_000)
    parser.add_argument("--unfinished", type=positive, default=1000)
    parser.add_argument("--keys", choices=["random", "ordered"], default="random")
    parser.add_argument("--output", default="bench.json")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"))
    parser.add_argument("--check", action="store_true")  # Of scripts/bench: are these arguments good?
    options = parser.parse_args(arguments)
    options.seconds = options.seconds or (1 if options.quick else 5)
    options.repeat = options.repeat or (1 if options.quick else 3)
    options.connections = options.connections or ([1, 64] if options.quick else [1, 16, 64, 128])
    return options


def read_result(path: str) -> dict:
    try:
        result = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} cannot be read: {error}") from error
    if not isinstance(result, dict) or result.get("version") != VERSION:
        raise BenchError(f"{path} is no result of scripts/bench, or one of another version")
    return result


def interrupt(number: int, _: object) -> None:
    # Once: the cleaning up that follows is bounded in time, and a second Ctrl-C would leave something behind.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    if options.check:
        return 0
    try:
        if options.compare:
            print(report.compare(*map(read_result, options.compare)))
            return 0
        if "CHECKOUT_BIN" not in os.environ:
            raise BenchError("CHECKOUT_BIN is not set; scripts/bench sets it and starts this")
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, interrupt)
        # Every connection is a file, of wrk and of a service, and a shell's usual limit is 1024.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        Benchmark(options).run()
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
