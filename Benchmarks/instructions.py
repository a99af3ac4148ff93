"""Counts the instructions that a checkout takes in each service, under valgrind's callgrind. Started by scripts/bench --instructions.

On a machine that drifts, a change of 2 % shows here and nowhere else. Neither the system's calls nor waiting for memory are counted.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import load
from bench import Parser, interrupt, positive
from errors import BenchError
from system import ROOT, SERVICES, System

CONNECTIONS = 64
# What is under way when wrk leaves is finished at a hundredth of the usual speed; its instructions belong to the run.
SETTLE_SECONDS = 3
# Costs go from callee to caller until nearly nothing is left to go; recursion would let them go round for ever.
MAXIMUM_ROUNDS = 60


@dataclass
class Profile:
    """What callgrind has counted: instructions of each function itself, and how often one called another."""

    own: Counter[str] = field(default_factory=Counter)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)

    def without(self, other: Profile) -> Profile:
        """What this one has more. Counters may become negative where two starts differ; sums stay right."""
        left = Profile(Counter(self.own), Counter(self.calls))
        left.own.subtract(other.own)
        left.calls.subtract(other.calls)
        return left


def parse(lines) -> Profile:
    """Reads callgrind's output (its format version 1). Depths of recursion, as in `f'2`, are one function."""
    profile = Profile()
    names: dict[str, str] = {}
    function = callee = ""
    calls = None

    def name(text: str) -> str:
        number, _, said = text.strip().partition(" ")
        if said:
            names[number] = said.split("'")[0]
        return names[number]

    for line in lines:
        if line.startswith("fn="):
            function = name(line[3:])
        elif line.startswith("cfn="):
            callee = name(line[4:])
        elif line.startswith("calls="):
            calls = int(line[6:].split()[0])
        elif line[:1] in "+-*0123456789" and len(cost := line.split()) > 1:
            # The line after `calls=` has what the callee took; that is counted where the callee stands.
            if calls is None:
                profile.own[function] += int(cost[1])
            else:
                profile.calls[function, callee] += calls
                calls = None
    return profile


# ---------------------------------------------------------------- by module

SWIFT_MODULE = re.compile(r"\$s(\d+)")
# Whoever calls these does not cause what they run.
SCHEDULERS = re.compile(r"swift_job_run|runJobInEst|start_thread|clone|swift_task_switch|dispatch")


def module(function: str) -> str | None:
    """Whose code a function is; None for the runtimes of Swift and C, which work for whoever calls them."""
    if named := SWIFT_MODULE.match(function):
        length, start = int(named[1]), named.end()
        return function[start : start + length]
    if function.startswith("$s"):
        return None
    if "sqlite3" in function or function.startswith("0x"):
        return "SQLite, libcurl and other C without symbols"
    if function.startswith("c_nio"):
        return "NIO's HTTP parser"
    return None


def by_module(profile: Profile) -> Counter[str]:
    """Instructions by module, those of the runtimes given to whoever called them, by how often each did."""
    callers: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for (caller, callee), count in profile.calls.items():
        if count > 0 and caller != callee:
            callers[callee].append((caller, count))
    found: Counter[str] = Counter()
    pending = Counter(profile.own)
    for round_left in reversed(range(MAXIMUM_ROUNDS)):
        later: Counter[str] = Counter()
        for function, cost in pending.items():
            owner = module(function)
            if owner is not None:
                found[owner] += cost
            elif not callers[function] or SCHEDULERS.search(function) or round_left == 0:
                found["tasks, threads and runtime"] += cost
            else:
                total = sum(count for _, count in callers[function])
                for caller, count in callers[function]:
                    later[caller] += cost * count / total
        pending = later
    return found


# ---------------------------------------------------------------- counting


class Counting:
    """The services under callgrind, in a directory of their own."""

    def __init__(self, directory: Path, executable: Path):
        self.directory = directory
        # valgrind cannot read the debugging information that Swift writes; names of functions are enough.
        subprocess.run(["strip", "--strip-debug", "-o", directory / "checkout", executable], check=True)
        library = directory / "keep_main_thread.so"
        subprocess.run(
            ["clang", "-shared", "-fPIC", "-o", library, Path(__file__).with_name("keep_main_thread.c")], check=True)
        self.wrapper = directory / "counted"
        checkout, out = shlex.quote(str(directory / "checkout")), shlex.quote(str(directory))
        self.wrapper.write_text(
            "#!/bin/sh\n"
            f"case $1 in {' | '.join(SERVICES)}) ;; *) exec {checkout} \"$@\" ;; esac\n"
            f"exec env LD_PRELOAD={shlex.quote(str(library))} valgrind --quiet --tool=callgrind --fair-sched=yes"
            f" --callgrind-out-file={out}/$1.callgrind {checkout} \"$@\"\n")
        self.wrapper.chmod(0o755)

    def run(self, seconds: int) -> tuple[int, dict[str, Profile]]:
        """The checkouts of a run, and what each service took from its start to its end."""
        os.environ["CHECKOUT_BIN"] = str(self.wrapper)
        checkouts = 0
        with System(self.directory) as system:
            system.start()
            if seconds:
                run = load.run(system.urls["nginx"], CONNECTIONS, seconds, 1)
                if run["errors"] or not run["checkouts"]:
                    raise BenchError(f"{run['checkouts']} checkouts, errors: {run['errors']}")
                checkouts = run["checkouts"]
            time.sleep(SETTLE_SECONDS)
        profiles = {}
        for name in SERVICES:
            path = self.directory / f"{name}.callgrind"
            if not path.exists():
                raise BenchError(f"valgrind has counted nothing of {name}")
            with path.open(errors="replace") as lines:
                profiles[name] = parse(lines)
            path.unlink()
        return checkouts, profiles


def table(checkouts: int, profiles: dict[str, Profile]) -> str:
    """Instructions for a checkout: a column for each service, a line for each module."""
    services = {name: by_module(profile) for name, profile in profiles.items()}
    sums: Counter[str] = Counter()
    for modules in services.values():
        sums.update(modules)
    rows = [("all", [sum(modules.values()) for modules in services.values()])]
    rows += [(name, [modules[name] for modules in services.values()]) for name, _ in sums.most_common()]
    lines = [f"{'instructions for a checkout':44}" + "".join(f"{name:>10}" for name in (*services, "sum"))]
    for name, costs in rows:
        costs = [round(cost / checkouts) for cost in (*costs, sum(costs))]
        if costs[-1] >= 100:
            lines.append(f"{name:44}" + "".join(f"{cost:>10,}" for cost in costs))
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    parser = Parser(prog="bench --instructions", add_help=False, allow_abbrev=False)
    parser.add_argument("--seconds", type=positive, default=40)
    parser.add_argument("--check", action="store_true")
    options: argparse.Namespace = parser.parse_args(arguments)
    if options.check:
        return 0
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, interrupt)
    base = Path(os.environ.get("DATA_DIR") or ROOT / "var/bench").absolute()
    base.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="instructions.", dir=base) as directory:
            counting = Counting(Path(directory), Path(os.environ["CHECKOUT_BIN"]))
            print("A start and a stop without a checkout", file=sys.stderr, flush=True)
            _, nothing = counting.run(0)
            print(f"{options.seconds} s of checkouts", file=sys.stderr, flush=True)
            checkouts, profiles = counting.run(options.seconds)
        print(f"{checkouts:,} checkouts, {CONNECTIONS} connections\n")
        print(table(checkouts, {name: profile.without(nothing[name]) for name, profile in profiles.items()}))
    except (BenchError, subprocess.CalledProcessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
