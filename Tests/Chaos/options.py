"""What scripts/chaos can be told; its own comment is the help. Run by itself this only looks whether the arguments are good,
so that a slip is noticed before anything is built."""

from __future__ import annotations

import argparse
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

EX_USAGE = 64


@dataclass(frozen=True)
class Options:
    minutes: float
    seed: str
    rate: float
    clients: int
    recovery_limit: float | None
    json: Path | None
    keep: bool
    ports: tuple[int, int]
    settings: dict[str, str]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"chaos: {message} (--help says more)", file=sys.stderr)
        sys.exit(EX_USAGE)


def parse(arguments: list[str]) -> Options:
    """Ends the process with 64 when they cannot be used."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--minutes", type=_above_zero, default=3.0)
    parser.add_argument("--seed", default=None)
    parser.add_argument("--rate", type=_above_zero, default=80.0)
    parser.add_argument("--clients", type=_count, default=48)
    parser.add_argument("--recovery-limit", type=_above_zero, default=None)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--ports", type=_ports, default=(20000, 31999))
    parser.add_argument("--set", type=_setting, action="append", default=[], dest="settings")
    parsed = parser.parse_args(arguments)
    return Options(parsed.minutes, parsed.seed or secrets.token_hex(4), parsed.rate, parsed.clients, parsed.recovery_limit,
                   parsed.json, parsed.keep, parsed.ports, dict(parsed.settings))


def _above_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"must be a number above 0: '{text}'")
    return value


def _count(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 10_000:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0: '{text}'")
    return int(text)


def _ports(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not (first.isdigit() and last.isdigit() and 0 < int(first) <= int(last) < 65536):
        raise argparse.ArgumentTypeError(f"must be FIRST-LAST: '{text}'")
    return int(first), int(last)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE: '{text}'")
    return name, value


if __name__ == "__main__":
    parse(sys.argv[1:])
