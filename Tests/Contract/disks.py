"""Disks that fail, and what is left on them when the power does.

`Disk` puts faults/disk.c between a service and its files: its faults are switched on and off while the service runs, and
its journal holds every write and synchronisation. `image` makes of a journal the files as they may be after a loss of
power at any moment: what was synchronised is there; of what was not, anything may be.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

# What SQLite calls: both names of each, as it depends on how the library was built.
WRITES = "pwrite64,pwrite,write"
SYNCS = "fdatasync,fsync"

SOURCE = Path(__file__).parent / "faults" / "disk.c"


def build(directory: Path) -> Path:
    """Compiles the failing disk. Without it these tests would prove nothing, so nothing of this is skipped."""
    if not sys.platform.startswith("linux"):
        pytest.fail("the tests of a failing disk need Linux: they use LD_PRELOAD and /proc", pytrace=False)
    compiler = shutil.which("clang") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.fail("the tests of a failing disk need a C compiler: clang, which comes with Swift, or cc", pytrace=False)
    library = directory / "disk.so"
    done = subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread",
                           "-o", str(library), str(SOURCE)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.fail(f"{compiler} does not compile {SOURCE.name}:\n{done.stderr}", pytrace=False)
    return library


class Disk:
    """The failing disk of one service, or of one small program."""

    def __init__(self, library: Path, directory: Path, journal: Path | None = None):
        self.control = directory / f"control-{next(_numbers)}"
        self.since = 0
        self.journal = Journal(journal or self.control.with_suffix(".journal"))
        self.env = {"LD_PRELOAD": str(library), "FAULTS_CONTROL": str(self.control), "FAULTS_JOURNAL": str(self.journal.path)}

    def fail(self, calls: str, error: str, at: int = 1, suffix: str = "") -> None:
        """From the `at`-th of these calls on, each fails; see disk.c."""
        self.since = self.journal.position()
        new = self.control.with_suffix(".new")
        new.write_text(f"{calls} {error} {at} {suffix}\n")
        os.replace(new, self.control)

    def fill(self) -> None:
        """Not a byte fits any more."""
        self.fail(WRITES, "ENOSPC")

    def heal(self) -> None:
        self.control.unlink(missing_ok=True)

    def struck(self) -> list[str]:
        """How the last fault has struck until now, each time as "<file> <call> <errno>"."""
        return [f"{e.name} {e.what}" for e in self.journal.entries(self.since) if e.kind == "F"]


_numbers = itertools.count()


@dataclass(frozen=True)
class Entry:
    kind: str           # written, truncated, synchronised, unlinked, failed: W, T, S, U, F
    name: str
    end: int            # where the entry ends in the journal
    offset: int = 0     # of a write; the size of a truncation
    data: bytes = b""
    what: str = ""      # of a fault


class Journal:
    """What was written, synchronised and removed, in the order in which it was done. A journal that several services share
    has one order for all of them."""

    def __init__(self, path: Path):
        self.path = path

    def begin(self, files: dict[str, bytes]) -> None:
        """Begins anew with files that are there already, before the service is started on them."""
        with open(self.path, "wb") as out:
            for name, content in files.items():
                out.write(f"W {name} 0 {len(content)}\n".encode() + content + f"S {name}\n".encode())

    def position(self) -> int:
        """How much is written down now: whoever has an answer in his hand has it from before this moment."""
        return self.path.stat().st_size if self.path.exists() else 0

    def entries(self, since: int = 0) -> list[Entry]:
        """All, or those that were written down after the journal was so long."""
        content, at, found = self.path.read_bytes() if self.path.exists() else b"", since, []
        while at < len(content):
            line = content.find(b"\n", at)
            if line < 0:
                break  # it is just being written
            kind, name, *rest = content[at:line].decode().split(" ")
            at = line + 1
            if kind == "W":
                offset, length = map(int, rest)
                found.append(Entry(kind, name, at + length, offset, content[at:at + length]))
                at += length
            elif kind == "T":
                found.append(Entry(kind, name, at, int(rest[0])))
            else:
                found.append(Entry(kind, name, at, what=" ".join(rest)))
        return found


KINDS_OF_LOSS = ("all", "none", "torn", "some")


def image(entries: list[Entry], unsynchronised: str, chance: random.Random) -> dict[str, bytearray]:
    """The files as a loss of power after the last of `entries` may leave them.

    Of the writes that nobody has synchronised there are left: "all" of them, "none", the first few and a part of the next
    one ("torn"), or any of them and of some only a part ("some").
    """
    settled: dict[str, int] = {}
    for index, entry in enumerate(entries):
        if entry.kind in "SU":
            settled[entry.name] = index
    files: dict[str, bytearray] = {}
    loose: dict[str, list[Entry]] = {}
    for index, entry in enumerate(entries):
        if entry.kind == "U":
            files.pop(entry.name, None)
        elif entry.kind in "WT":
            # A file that was made is there, if empty: SQLite synchronises the directory.
            files.setdefault(entry.name, bytearray())
            if index < settled.get(entry.name, -1):
                apply(files, entry)
            else:
                loose.setdefault(entry.name, []).append(entry)
    for waiting in loose.values():
        last = chance.randrange(len(waiting) + 1)
        for number, entry in enumerate(waiting):
            if unsynchronised == "none" or unsynchronised == "torn" and number > last:
                continue
            whole = {"all": True, "torn": number < last, "some": chance.random() < 0.5}[unsynchronised]
            if unsynchronised == "some" and not whole and chance.random() < 0.5:
                continue
            apply(files, entry, None if whole else chance.randrange(len(entry.data) + 1))
    return files


def apply(files: dict[str, bytearray], entry: Entry, length: int | None = None) -> None:
    file = files.setdefault(entry.name, bytearray())
    if entry.kind == "T":
        size = entry.offset
        file[:] = file[:size] + bytes(max(0, size - len(file)))
        return
    data = entry.data if length is None else entry.data[:length]
    if not data:
        return
    if len(file) < entry.offset:
        file.extend(bytes(entry.offset - len(file)))
    file[entry.offset:entry.offset + len(data)] = data


def read_files(directory: Path) -> dict[str, bytes]:
    """The files of the stores. Not the -shm ones, which SQLite makes anew when nobody has them open."""
    return {f.name: f.read_bytes() for f in directory.iterdir() if f.name.endswith((".sqlite", "-wal"))}


def write_files(files: dict[str, bytearray], directory: Path) -> None:
    """Puts an image where a service will look for its files, instead of what is there. A power loss makes no new files: those that
    are there stay the same ones."""
    directory.mkdir(parents=True, exist_ok=True)
    for old in [f for f in directory.iterdir() if f.name.endswith((".sqlite", "-wal", "-shm")) and f.name not in files]:
        old.unlink()
    for name, content in files.items():
        (directory / name).write_bytes(content)
