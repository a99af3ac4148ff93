"""Load from wrk: one run, and what came of it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import tempfile
from pathlib import Path

from errors import BenchError

SCRIPT = Path(__file__).with_name("checkout.lua")
# An answer later than this is an error. Above wrk's default of 2 s: a checkout may take 30.
TIMEOUT_SECONDS = 10
# What wrk may take on top of the time it was asked to run for.
GRACE_SECONDS = 30


def threads_for(connections: int, cores: int) -> int:
    """How many threads wrk gets: never more than two, so that it leaves the machine to what is measured, and a number that
    divides the connections, since wrk silently drops the remainder."""
    return 2 if connections % 2 == 0 and cores > 1 else 1


def command(url: str, connections: int, seconds: int) -> list[str]:
    return [
        "wrk", "--threads", str(threads_for(connections, os.cpu_count() or 1)), "--connections", str(connections),
        "--duration", f"{seconds}s", "--timeout", f"{TIMEOUT_SECONDS}s", "--script", str(SCRIPT), url,
    ]


def environment(items: int, result: Path, keys: str = "random") -> dict[str, str]:
    return {
        **os.environ, "BENCH_RUN": secrets.token_hex(5), "BENCH_ITEMS": str(items), "BENCH_KEYS": keys,
        "BENCH_RESULT": str(result),
    }


def run(url: str, connections: int, seconds: int, items: int, keys: str = "random") -> dict:
    """Sends checkouts for some seconds. Returns what `outcome` makes of it.

    keys: how the clients' keys begin, "random" or "ordered" (with the time).
    """
    with tempfile.TemporaryDirectory(prefix="checkout-bench.") as directory:
        result = Path(directory) / "result.json"
        try:
            done = subprocess.run(
                command(url, connections, seconds), env=environment(items, result, keys), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds + GRACE_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise BenchError(f"wrk did not end within {seconds + GRACE_SECONDS} s") from None
        if done.returncode != 0 or not result.exists():
            raise BenchError(f"wrk ended with status {done.returncode}:\n{done.stdout}")
        return outcome(json.loads(result.read_text()), connections)


def outcome(result: dict, connections: int) -> dict:
    """What one run of wrk came to. Only an answer of 200 is a checkout.

    wrk does not count a connection that is closed instead of answered, and opens another. So requests that were neither
    answered nor, one for each connection, still under way at the end are counted here as `unanswered`.
    """
    statuses = {int(status): count for status, count in result["statuses"].items()}
    good = statuses.pop(200, 0)
    errors = {str(status): count for status, count in sorted(statuses.items())}
    errors |= {name: result[name] for name in ("connect", "read", "write", "late")}
    # One more, as wrk asks for a first request before it starts, to look at it.
    accounted = good + sum(statuses.values()) + result["read"] + result["write"] + connections + 1
    errors["unanswered"] = max(0, result["sent"] - accounted)
    return {
        "checkouts": good,
        "checkoutsPerSecond": good / result["durationSeconds"],
        "latencyMs": {name: result[f"{name}Micros"] / 1000 for name in ("p50", "p99", "p999", "max")},
        "errors": {name: count for name, count in errors.items() if count},
    }
