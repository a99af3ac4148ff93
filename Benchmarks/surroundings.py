"""What a result depends on besides the code: written beside the numbers, so that nobody compares what cannot be compared."""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from system import ROOT

SYNCS = 50

# Settings of the services that, when they are in the environment, change what is measured.
SETTINGS = re.compile(
    r"(LOG_LEVEL|IDEMPOTENCY_\w+|CHECKOUT_(?!BIN)\w+|GATEWAY_\w+|RESERVATION_\w+|PAYMENT_TEST_METHODS|STOCK_INITIAL_QUANTITY"
    r"|SHUTDOWN_TIMEOUT_SECONDS|GLIBC_TUNABLES|CLIENT_RATE|BREAKER_\w+|SAGA_\w+|WORKER_\w+|PROVIDER_\w+|TRANSACTION_FEE"
    r"|OTEL_(?!\w*HEADERS)\w+)")  # Headers hold secrets.


def output_of(*command: str) -> str | None:
    """The first line that a command says, to whichever of its outputs; None if there is no such command."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.strip().splitlines()
    return lines[0].strip() if lines else ""


def parse_cpu_model(cpuinfo: str) -> str | None:
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return model[1].strip() if model else None


def parse_filesystem(mounts: str, directory: Path) -> str | None:
    """The type of the file system that a directory lies on, from /proc/mounts. Later mounts cover earlier ones."""
    best: tuple[int, str] | None = None
    for line in mounts.splitlines():
        fields = line.split()
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1]))
        if point == directory or point in directory.parents:
            length = len(point.parts)
            if best is None or length >= best[0]:
                best = (length, fields[2])
    return best[1] if best else None


def sync_micros(directory: Path) -> float:
    """How long a small synchronised write takes on a directory's disk now; the median of some.

    The yardstick never writes, and with one connection a checkout does little else than wait for the disk.
    """
    times = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(SYNCS):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began) * 1e6)
    return statistics.median(times)


def environment(data: Path) -> dict:
    data.mkdir(parents=True, exist_ok=True)
    executable = Path(os.environ["CHECKOUT_BIN"])
    commit = output_of("git", "rev-parse", "HEAD")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": commit,
        "uncommittedChanges": bool(output_of("git", "status", "--porcelain", "--untracked-files=no")),
        "executable": {
            # One that was brought along need not be of this commit.
            "builtHere": os.environ.get("BENCH_BUILT") == "true",
            "sha256": hashlib.sha256(executable.read_bytes()).hexdigest(),
        },
        "cpu": parse_cpu_model(Path("/proc/cpuinfo").read_text()),
        "cores": len(os.sched_getaffinity(0)),
        "memoryBytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "loadAverage": [round(load, 2) for load in os.getloadavg()],
        "kernel": f"{platform.system()} {platform.release()}",
        "filesystem": parse_filesystem(Path("/proc/mounts").read_text(), data.resolve()),
        "nginx": output_of("nginx", "-v"),
        "wrk": output_of("wrk", "-v"),
        "swift": output_of("swift", "--version"),
        "python": platform.python_version(),
        "serviceSettings": {name: value for name, value in sorted(os.environ.items()) if SETTINGS.fullmatch(name)},
    }
