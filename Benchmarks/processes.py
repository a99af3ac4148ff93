"""What the kernel knows of a process: processor time, memory, and when it began."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Stat:
    """The part of /proc/PID/stat that is used here."""

    parent: int
    cpu_seconds: float
    started: float  # Seconds since the machine was started, as CLOCK_BOOTTIME counts them.


def parse_stat(text: str, ticks_per_second: int = TICKS_PER_SECOND) -> Stat:
    # The second field is the program's name in parentheses, and a name may have spaces and parentheses of its own.
    fields = text[text.rindex(")") + 2 :].split()
    return Stat(
        parent=int(fields[1]),
        cpu_seconds=(int(fields[11]) + int(fields[12])) / ticks_per_second,
        started=int(fields[19]) / ticks_per_second,
    )


def parse_peak_bytes(status: str) -> int:
    """VmHWM of /proc/PID/status: the most memory the process had resident."""
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def parse_read_bytes(io: str) -> int:
    """read_bytes of /proc/PID/io: what the process had to wait for the disk to read, and did not find in memory."""
    for line in io.splitlines():
        if line.startswith("read_bytes:"):
            return int(line.split()[1])
    return 0


def stat(pid: int) -> Stat | None:
    """None if there is no such process."""
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None


def peak_bytes(pid: int) -> int:
    return parse_peak_bytes(Path(f"/proc/{pid}/status").read_text())


def read_bytes(pid: int) -> int:
    try:
        return parse_read_bytes(Path(f"/proc/{pid}/io").read_text())
    except OSError:  # Some kernels do not count it.
        return 0


def reset_peak(pid: int) -> None:
    """Makes the peak begin again from what is resident now, so that each run has a peak of its own."""
    with contextlib.suppress(OSError):  # Some kernels are built without it; the peak then is that since the start.
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def children(pid: int) -> list[int]:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    found = {child: stat(child) for child in pids}
    return sorted(child for child, known in found.items() if known and known.parent == pid)


def since_start(started: float) -> float:
    """Seconds since a process began. The kernel keeps that moment in ticks, so this is good to about 10 ms."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started
