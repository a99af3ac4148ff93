"""Stores with many finished orders in them.

A few thousand orders are really checked out. A million would take too long, so there a few real checkouts are multiplied:

1. Twice ten checkouts are made, and all rows of the three stores are read before, between and after.
2. The services are stopped. A row that bears an id of a checkout (each id is a UUID, the client's key included, since we
   choose it) belongs to that checkout, in whatever table of whatever store. All of a checkout's rows are copied as often as
   wanted, with every one of their UUIDs replaced by a new one, in every column and inside JSON, the same in all stores.
3. In the rows that belong to no checkout, a number that each ten checkouts changed by the same amount is a running total
   (goods left, goods sold). It is moved on by the same amount for each copy, so that the books balance.

Nothing here knows a table or a column by name: a new schema is multiplied like the old one, and if that is ever not enough,
the audit that follows says so. Ids of version 7 go up and lie before those of the real checkouts, as those of a shop's past
do. All others, like clients' random keys, are spread evenly over all that are possible. Times are those of the real rows.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import load
from errors import BenchError
from system import SERVICES, System

SAMPLES = 10
REAL_LIMIT = 20_000  # Up to so many orders are really made.
REAL_CONNECTIONS = 64
CHUNK = 20_000
# What a row takes on disk is more than its bytes: keys stand in indexes too, and pages are not full.
DISK_FACTOR = 2

UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")

Value = str | bytes | int | float | None
Say = Callable[[str], None]


@dataclass
class Table:
    name: str
    columns: list[str]
    key: list[str]  # The columns of the primary key, in its order.
    numbers_itself: bool  # A single INTEGER key, which SQLite assigns.
    rows: list[tuple[Value, ...]] = field(default_factory=list)

    def key_of(self, row: tuple[Value, ...]) -> tuple[Value, ...]:
        return tuple(row[self.columns.index(column)] for column in self.key)


Database = dict[str, Table]
Stores = dict[str, Database]


# ---------------------------------------------------------------- reading


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def read_database(connection: sqlite3.Connection) -> Database:
    names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'").fetchall()
    tables = {}
    for (name,) in names:
        # Of a column: number, name, type, not null, default, place in the primary key, and above 0 if it is computed.
        columns = [c for c in connection.execute(f"PRAGMA table_xinfo({quoted(name)})") if c[6] == 0]
        keys = sorted((c for c in columns if c[5]), key=lambda c: c[5])
        table = Table(
            name, [c[1] for c in columns], [c[1] for c in keys], len(keys) == 1 and keys[0][2].upper() == "INTEGER")
        chosen = ", ".join(quoted(column) for column in table.columns)
        table.rows = connection.execute(f"SELECT {chosen} FROM {quoted(name)}").fetchall()
        tables[name] = table
    return tables


def read_stores(directory: Path) -> Stores:
    stores = {}
    for service in SERVICES:
        with closing(sqlite3.connect(f"file:{directory}/{service}.sqlite?mode=ro", uri=True, timeout=5)) as connection:
            stores[service] = read_database(connection)
    return stores


def text_of(value: Value) -> str | None:
    """The text in a column, if it is one: a blob may hold JSON or a hash."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    return value if isinstance(value, str) else None


def ids_in(row: tuple[Value, ...]) -> set[str]:
    return {found for value in row for found in UUID.findall(text_of(value) or "")}


# ---------------------------------------------------------------- what belongs to whom


def ids_of_checkouts(stores: Stores, keys: list[str]) -> list[list[str]]:
    """All ids of each checkout: those that stand in a row with its key, or in a row with one of those, and so on.

    An id that stands in rows of several keys is no checkout's own: it is that of the process which made them.
    """
    rows = [ids for database in stores.values() for table in database.values() for row in table.rows if (ids := ids_in(row))]
    common = ids_of_several(rows, set(keys))
    rows = [ids - common for ids in rows]
    found: list[set[str]] = []
    for key in keys:
        known, size = {key}, 0
        while size != len(known):
            size = len(known)
            for ids in rows:
                if ids & known:
                    known |= ids
        if any(known & other for other in found):
            raise BenchError("a row bears the ids of two checkouts, and cannot be multiplied; see Benchmarks/fill.py")
        found.append(known)
    return [sorted(ids) for ids in found]


def ids_of_several(rows: list[set[str]], keys: set[str]) -> set[str]:
    """The ids that stand beside one key in one row and beside another in another."""
    beside: dict[str, set[str]] = {}
    for ids in rows:
        if len(ids & keys) == 1:
            for other in ids - keys:
                beside.setdefault(other, set()).update(ids & keys)
    return {other for other, found in beside.items() if len(found) > 1}


def running_totals(before: Table, between: Table, after: Table, copies_of: int) -> dict[tuple[Value, ...], dict[str, int]]:
    """By key of a row without an id: the columns that each checkout moves on, and how far."""
    states = [{table.key_of(row): row for row in table.rows} for table in (before, between, after)]
    totals: dict[tuple[Value, ...], dict[str, int]] = {}
    for key, last in states[2].items():
        if not after.key or ids_in(last) or key not in states[0] or key not in states[1]:
            continue
        for column, values in zip(after.columns, zip(*(state[key] for state in states), strict=True), strict=True):
            if not all(isinstance(value, int) for value in values):
                continue
            moved = values[2] - values[1]
            # Times move too, but never twice by the same.
            if moved and moved == values[1] - values[0]:
                if moved % copies_of:
                    raise BenchError(f"{after.name}.{column} did not change evenly over {copies_of} checkouts")
                totals.setdefault(key, {})[column] = moved // copies_of
    return totals


# ---------------------------------------------------------------- multiplying


def new_id(sample: str, slot: int, number: int, count: int, newest: int) -> str:
    """The id that stands for a sample's id in copy `number` of `count`.

    - slot: which of the checkout's ids it is; makes ids of one copy differ.
    - newest: the time in an id of version 7, in milliseconds, that no copy reaches.
    """
    if sample[14] == "7":
        time = newest - (count - number)
        return f"{time >> 16:08x}-{time & 0xFFFF:04x}-7{slot:03x}-{0x8000 | slot:04x}-{number:012x}"
    return f"{((2 * number + 1) << 31) // count:08x}-{slot:04x}-4{slot:03x}-{0x8000 | slot:04x}-{number:012x}"


def template(value: Value, slots: dict[str, int]) -> str | None:
    """A value with places for the checkout's ids, for `%`; None if none of them stands in it."""
    text = text_of(value)
    if text is None or slots.keys().isdisjoint(UUID.findall(text)):
        return None
    return UUID.sub(lambda found: f"%({slots[found[0]]})s" if found[0] in slots else found[0], text.replace("%", "%%"))


class RowMaker:
    """Makes copies of one row of a sample."""

    def __init__(self, table: Table, row: tuple[Value, ...], slots: dict[str, int]):
        self.row = list(row)
        self.places = [
            (index, text, isinstance(value, bytes))
            for index, value in enumerate(row)
            if (text := template(value, slots)) is not None
        ]
        if table.numbers_itself:
            self.row[table.columns.index(table.key[0])] = None

    def copy(self, ids: dict[str, str]) -> list[Value]:
        row = self.row.copy()
        for index, text, is_blob in self.places:
            made = text % ids
            row[index] = made.encode() if is_blob else made
        return row


def copies(tables: Database, samples: list[list[str]], count: int) -> Iterator[tuple[str, list[list[Value]]]]:
    """Yields (table, rows) for all rows of all copies, in chunks."""
    slots = [{known: slot for slot, known in enumerate(ids)} for ids in samples]
    makers: dict[str, list[list[RowMaker]]] = {}
    for table in tables.values():
        by_sample = [
            [RowMaker(table, row, known) for row in table.rows if ids_in(row) & known.keys()] for known in slots
        ]
        if any(by_sample):
            makers[table.name] = by_sample
    times = [int(known.replace("-", "")[:12], 16) for ids in samples for known in ids if known[14] == "7"]
    newest = min(times, default=0)
    for start in range(0, count, CHUNK):
        numbers = range(start, min(start + CHUNK, count))
        all_ids = [
            {str(slot): new_id(known, slot, number, count, newest) for slot, known in enumerate(samples[number % len(samples)])}
            for number in numbers
        ]
        for name, by_sample in makers.items():
            pairs = zip(numbers, all_ids, strict=True)
            yield name, [maker.copy(ids) for number, ids in pairs for maker in by_sample[number % len(samples)]]


def write(path: Path, before: Database, between: Database, after: Database, samples: list[list[str]], count: int) -> None:
    """Puts `count` copies of the samples into a store that no service has open."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        # Were this to fail, the file would be thrown away anyway: nothing needs to be safe before the end.
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = OFF", "synchronous = OFF", "cache_size = -262144"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        for name, rows in copies(after, samples, count):
            columns = after[name].columns
            connection.executemany(
                f"INSERT INTO {quoted(name)} ({', '.join(map(quoted, columns))}) VALUES ({', '.join('?' * len(columns))})", rows)
        for name in after:
            totals = running_totals(before[name], between[name], after[name], SAMPLES)
            for key, moves in totals.items():
                changes = ", ".join(f"{quoted(column)} = {quoted(column)} + ?" for column in moves)
                where = " AND ".join(f"{quoted(column)} IS ?" for column in after[name].key)
                connection.execute(
                    f"UPDATE {quoted(name)} SET {changes} WHERE {where}", [by * count for by in moves.values()] + list(key))
        connection.execute("COMMIT")
    with path.open("rb+") as file:
        os.fsync(file)  # Or the kernel would write it out in the middle of what is measured.


def bytes_needed(stores: Stores, samples: list[list[str]], count: int) -> int:
    known = {one for ids in samples for one in ids}
    rows = [row for database in stores.values() for table in database.values() for row in table.rows if ids_in(row) & known]
    size = sum(len(value) if isinstance(value, str | bytes) else 8 for row in rows for value in row)
    return DISK_FACTOR * size * count // len(samples)


# ---------------------------------------------------------------- with a system


def fill(system: System, orders: int, say: Say) -> dict[str, float]:
    """Starts a fresh system and puts that many finished orders into its stores.

    Returns: the start-up time of each service, with the orders there.
    """
    system.start()
    if orders <= REAL_LIMIT:
        check_out(system, orders)
        system.stop()
        return system.start()
    stores = [read_stores(system.data)]
    for _ in range(2):
        keys = []
        for _ in range(SAMPLES):
            keys.append(str(uuid.uuid4()))
            status, body = system.send("order", "POST", "/checkout", {"itemId": 1, "quantity": 1}, keys[-1])
            if status != 200:
                raise BenchError(f"a checkout to be multiplied was answered with {status}: {body[:500]!r}")
        system.check_books()
        stores.append(read_stores(system.data))
    system.stop()
    samples = ids_of_checkouts(stores[-1], keys)
    needed, free = bytes_needed(stores[-1], samples, orders), shutil.disk_usage(system.data).free
    if needed > free:
        raise BenchError(f"{orders} orders take about {needed >> 20} MiB, and {free >> 20} MiB are free under DATA_DIR")
    for service in SERVICES:
        say(f"  filling the store of {service}")
        path = system.data / f"{service}.sqlite"
        before, between, after = (each[service] for each in stores)
        try:
            write(path, before, between, after, samples, orders - 2 * SAMPLES)
        except sqlite3.Error as error:
            raise BenchError(f"the rows of {service} could not be multiplied: {error}") from error
    return system.start()


def check_out(system: System, orders: int) -> None:
    """Really makes that many orders, or somewhat more."""
    done, rate = 0, 1000.0
    while done < orders:
        seconds = max(1, min(10, round((orders - done) / rate)))
        outcome = load.run(system.urls["direct"], REAL_CONNECTIONS, seconds, 1)
        if not outcome["checkouts"]:
            raise BenchError(f"no checkout succeeded while the stores were filled: {outcome['errors']}")
        done, rate = done + outcome["checkouts"], outcome["checkoutsPerSecond"]

