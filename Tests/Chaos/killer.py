"""Who kills and freezes: in rounds whose recovery is measured, and at random, faster than anybody can recover."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field

from ledger import Checkout, Ledger
from load import Load
from system import PROVIDER, SERVICES, System

RECOVERY_LIMIT = 30.0
"""Seconds after which a checkout counts as not recovered."""
POLL_SECONDS = 0.02
RUSH = 16
"""Checkouts begun just before a kill, so that it hits every step of some."""
RUSH_SECONDS = 0.03


@dataclass(frozen=True)
class Recovery:
    """A measured kill: how long the services took to be ready again, and how long after that every checkout that had been
    under way at the kill had its outcome. Not those whose payment takes long by itself: that is no part of a recovery."""

    victims: tuple[str, ...]
    pending: int
    restart: float
    seconds: float
    slowest: str
    """The key that took longest, and how it is paid."""
    unsettled: tuple[str, ...] = ()
    """Keys that had no outcome within RECOVERY_LIMIT."""


@dataclass
class Killer:
    system: System
    ledger: Ledger
    load: Load
    rng: random.Random
    recoveries: list[Recovery] = field(default_factory=list)

    async def measured_kills(self, until: float) -> None:
        """One kill after the other, each when all has recovered from the last."""
        while time.monotonic() < until:
            await asyncio.sleep(self.rng.uniform(0.1, 0.5))
            victims = self._victims(*SERVICES)
            await self._rush()
            pending = [c for c in self.ledger.pending() if not c.takes_long]
            killed_at = time.monotonic()
            await self.system.kill(*victims)
            await self.system.restart(*victims)
            ready_at = time.monotonic()
            ends = await asyncio.gather(*(self._end_of(checkout, killed_at) for checkout in pending))
            if pending:
                self.recoveries.append(_recovery(victims, killed_at, ready_at, pending, ends))

    async def _end_of(self, checkout: Checkout, since: float) -> float | None:
        """When its client, or we, were told how it ended."""
        deadline = time.monotonic() + RECOVERY_LIMIT
        while time.monotonic() < deadline:
            end = checkout.end
            if end is not None and end.told_at >= since:
                return end.told_at
            await self.ledger.ask(checkout)
            await asyncio.sleep(POLL_SECONDS)
        return None

    async def stops(self, until: float) -> None:
        """Somebody is frozen for a while, sometimes two at once, sometimes killed in that state."""
        while time.monotonic() < until:
            await asyncio.sleep(self.rng.uniform(0.05, 0.5))
            await self._freeze(self._victims(*SERVICES, PROVIDER), until)

    async def kills(self, until: float) -> None:
        """Kills without waiting for a recovery: the next may hit in the middle of it."""
        while time.monotonic() < until:
            await asyncio.sleep(self.rng.uniform(0.1, 1.2))
            if self.rng.random() < 0.3:
                await self._freeze(self._victims(*SERVICES, PROVIDER), until)
                continue
            victims = self._victims(*SERVICES, PROVIDER)
            await self._rush()
            await self.system.kill(*victims)
            await asyncio.sleep(self.rng.choice((0.0, 0.0, 0.1, 0.6)))
            await self.system.restart(*victims)

    async def _freeze(self, names: tuple[str, ...], until: float) -> None:
        for name in names:
            self.system.services[name].freeze()
        try:
            await asyncio.sleep(min(self.rng.choice((0.05, 0.3, 0.7, 1.5)), max(0.0, until - time.monotonic())))
            if self.rng.random() < 0.2:
                await self.system.kill(*names)
        finally:
            for name in names:
                self.system.services[name].thaw()
        await self.system.restart(*names)

    async def _rush(self) -> None:
        self.load.rush(RUSH)
        await asyncio.sleep(self.rng.uniform(0.0, RUSH_SECONDS))

    def _victims(self, *names: str) -> tuple[str, ...]:
        draw = self.rng.random()
        count = 1 if draw < 0.8 else 2 if draw < 0.95 else 3
        return tuple(self.rng.sample(names, count))


def _recovery(victims: tuple[str, ...], killed_at: float, ready_at: float, pending: list[Checkout],
              ends: list[float | None]) -> Recovery:
    known = [(end, checkout) for checkout, end in zip(pending, ends) if end is not None]
    last, slowest = max(known, key=lambda pair: pair[0]) if known else (ready_at, pending[0])
    return Recovery(victims, len(pending), ready_at - killed_at, max(0.0, last - ready_at),
                    f"{slowest.key} {slowest.method or 'card'}",
                    tuple(checkout.key for checkout, end in zip(pending, ends) if end is None))
