"""What a run comes to: a table for people and a document for machines."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from checks import Violation
from killer import Recovery
from ledger import Checkout, Kind

SHOWN = 5
"""Violations of one invariant that the table shows; the document has all."""


def percentile(values: list[float], share: float) -> float:
    """The smallest value that this share of them does not exceed; 0 when there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)] if ordered else 0.0


@dataclass
class Report:
    seed: str
    minutes: float
    kills: dict[str, int] = field(default_factory=dict)
    stops: dict[str, int] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    asked: int = 0
    completed: int = 0
    refused: int = 0
    failed: int = 0
    payments: Counter[str] = field(default_factory=Counter)
    """Through the providers, by how they ended."""
    settled_later: int = 0
    """Checkouts whose outcome only became known when all was quiet."""
    recoveries: list[Recovery] = field(default_factory=list)
    seconds_to_quiet: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def count(self, checkouts: list[Checkout]) -> None:
        for checkout in checkouts:
            if not checkout.told:
                continue
            self.asked += 1
            end = checkout.success or checkout.end
            self.completed += end is not None and end.kind is Kind.SUCCESS
            self.refused += end is not None and end.kind is Kind.REFUSED
            self.failed += end is not None and end.kind is Kind.FAILED

    def as_json(self) -> dict[str, Any]:
        return {
            "seed": self.seed, "minutes": self.minutes, "kills": self.kills, "stops": self.stops, "faults": dict(self.faults),
            "requests": self.requests,
            "checkouts": {"asked": self.asked, "completed": self.completed, "refused": self.refused, "failed": self.failed,
                          "settledLater": self.settled_later},
            "payments": dict(self.payments),
            "recoveries": {"count": len(self.recoveries), "checkouts": sum(r.pending for r in self.recoveries),
                           "seconds": _summary([r.seconds for r in self.recoveries]),
                           "restartSeconds": _summary([r.restart for r in self.recoveries]),
                           "each": [asdict(recovery) for recovery in self.recoveries]},
            "secondsToQuiet": round(self.seconds_to_quiet, 3),
            "violations": [violation.as_json() for violation in self.violations],
        }

    def text(self) -> str:
        recovery, restart = [r.seconds for r in self.recoveries], [r.restart for r in self.recoveries]
        rows = [
            ("seed", self.seed),
            ("minutes", f"{self.minutes:g}"),
            ("kills", f"{sum(self.kills.values())}   {_parts(self.kills)}"),
            ("stops", f"{sum(self.stops.values())}   {_parts(self.stops)}"),
            ("faults", f"{sum(self.faults.values())}   {_parts(self.faults)}"),
            ("checkouts", (f"{self.asked} in {self.requests} requests   {self.completed} completed, {self.refused} refused,"
                           f" {self.failed} undone, {self.settled_later} unknown and settled later")),
            ("payments", f"{sum(self.payments.values())}   {_parts(self.payments)}"),
            ("recoveries", f"{len(recovery)} of {sum(r.pending for r in self.recoveries)} checkouts   {_times(recovery)}"),
            ("restarts", _times(restart)),
            ("quiet after", f"{self.seconds_to_quiet:.2f} s"),
            ("violations", str(len(self.violations))),
        ]
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:<{width}}  {value}" for name, value in rows]
        return "\n".join(lines + self._violation_lines())

    def _violation_lines(self) -> list[str]:
        lines = []
        for invariant, count in sorted(Counter(v.invariant for v in self.violations).items()):
            shown = [v for v in self.violations if v.invariant == invariant][:SHOWN]
            lines += [f"  {v.invariant}: {', '.join(v.ids)}{': ' if v.ids else ''}{v.sentence}" for v in shown]
            if count > len(shown):
                lines.append(f"  {invariant}: and {count - len(shown)} more")
        return lines


def _parts(counts: dict[str, int] | Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if count)


def _summary(values: list[float]) -> dict[str, float]:
    return {"p50": round(percentile(values, 0.5), 3), "p99": round(percentile(values, 0.99), 3),
            "max": round(max(values, default=0.0), 3)}


def _times(values: list[float]) -> str:
    return "  ".join(f"{name} {value:.3f} s" for name, value in _summary(values).items())
