"""Runs the checkout under load while its services are killed and frozen and the network between them misbehaves, lets it come
to rest, and checks the invariants from outside. scripts/chaos starts this and says how it is used.

The seed fixes what is bought and the plan of kills and faults. It does not fix how three processes and a network interleave:
a run with the same seed meets the same dangers, not the same moments.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import checks
import payments
from evidence import CannotTell, at_most, collect, is_settled
from killer import RECOVERY_LIMIT, Killer
from ledger import ENDS, Checkout, Ledger
from load import Load
from options import Options, parse
from report import Report, percentile
from system import PROVIDER, CannotRun, System, free_ports

CYCLE_SECONDS = 30.0
# What happens in a cycle, and which part of it. Recovery is measured where the network is good: what a held request takes is
# the fault's time and not the recovery's.
PHASES = (("kills", 0.4), ("faults", 0.2), ("stops", 0.12), ("everything", 0.28))
FAULT_RATE = {"kills": 0.0, "faults": 0.15, "stops": 0.0, "everything": 0.06}
CALM_SECONDS = 5.0
"""For what one phase has begun to end before the next, where that matters."""
QUIET_SECONDS = 60.0
"""For everything to settle when all is quiet; what has not by then is a violation."""
CHECK_SECONDS = 900.0
AUDIT_SECONDS = 300.0


class Run:
    """One run, from the first start to the last check."""

    def __init__(self, options: Options, binary: Path, data_dir: Path):
        self.options, self.binary = options, binary
        self.report = Report(options.seed, options.minutes)
        self.system = System(binary, data_dir, free_ports(7, *options.ports), options.seed, options.settings)
        self.ledger = Ledger(self.system.edge, options.seed)
        self.load = Load(self.ledger, self.system.edge, random.Random(f"{options.seed}/load"), options.rate, options.clients,
                         options.seed)
        self.payments = payments.PaymentLoad(self.system.edge, random.Random(f"{options.seed}/payments"), options.seed)
        self.killer = Killer(self.system, self.ledger, self.load, random.Random(f"{options.seed}/killer"))
        self._plan = random.Random(f"{options.seed}/plan")
        self._begun = time.monotonic()
        self._doing = "starting"

    async def run(self) -> None:
        await self.system.start()
        await self.load.open_shop()
        await self.payments.open_accounts()
        self._begun = time.monotonic()
        await self._while_watched(self._chaos())
        quiet_since = await self._settle()
        await self._check(quiet_since)
        await self.system.stop()
        self._check_what_is_left()

    async def _while_watched(self, work: Coroutine[Any, Any, None]) -> None:
        """Until the work is done; sooner if what it needs breaks down."""
        tasks = [asyncio.create_task(work), asyncio.create_task(self.system.watch()), asyncio.create_task(self._progress())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks[1:] if tasks[0].done() else tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result

    # ---------------------------------------------------------------- chaos

    async def _chaos(self) -> None:
        buying = asyncio.create_task(self.load.run_clients())
        paying = asyncio.create_task(self.payments.run_customers())
        total = self.options.minutes * 60
        try:
            while (left := self._begun + total - time.monotonic()) > 0:
                await self._cycle(min(CYCLE_SECONDS, left))
                if buying.done():
                    break
            self._doing = "finishing"
            await self.system.quiet(CALM_SECONDS)
            self.load.stop()
            self.payments.stop()
            await asyncio.gather(buying, paying)
        finally:
            buying.cancel()
            paying.cancel()

    async def _cycle(self, seconds: float) -> None:
        phases = list(PHASES)
        self._plan.shuffle(phases)
        for name, share in phases:
            self._doing = name
            self.load.allows_slow = name != "kills"
            if name == "kills":
                await self.system.quiet(CALM_SECONDS)
            for proxy in self.system.proxies.values():
                proxy.rate = FAULT_RATE[name]
            await self._phase(name, time.monotonic() + seconds * share)
            for proxy in self.system.proxies.values():
                proxy.rate = 0.0

    async def _phase(self, name: str, until: float) -> None:
        match name:
            case "kills":
                await self.killer.measured_kills(until)
            case "stops":
                await self.killer.stops(until)
            case "everything":
                await self.killer.kills(until)
            case _:
                await asyncio.sleep(max(0.0, until - time.monotonic()))

    async def _progress(self) -> None:
        """One line, rewritten once a second, for a person who watches."""
        while True:
            await asyncio.sleep(1.0)
            if sys.stderr.isatty():
                spent = int(time.monotonic() - self._begun)
                kills = sum(service.kills for service in self.system.services.values())
                sys.stderr.write(f"\r\033[K{spent // 60}:{spent % 60:02}  {self._doing:<10}  {len(self.ledger.checkouts)} checkouts"
                                 f"  {kills} kills  {sum(self.system.faults.values())} faults")
                sys.stderr.flush()

    # ---------------------------------------------------------------- quiet

    async def _settle(self) -> float:
        """Until every client knows and nothing is half done. Returns since when all was quiet."""
        self.say("waiting for quiet")
        await self.system.quiet(CALM_SECONDS)
        quiet_since = time.monotonic()
        deadline = quiet_since + QUIET_SECONDS
        uncertain = [c for c in self.ledger.checkouts if c.told and not c.is_certain()]
        self.report.settled_later = len(uncertain)

        async def settle(checkout: Checkout) -> None:
            while time.monotonic() < deadline and (await self.ledger.ask(checkout)).kind not in ENDS:
                await asyncio.sleep(0.1)
        await at_most(16, uncertain, settle)
        for restock in self.load.restocks:
            await self.load.deliver(restock, within=max(0.0, deadline - time.monotonic()))
        try:
            while not await is_settled(self.system) and time.monotonic() < deadline:
                await asyncio.sleep(0.1)
        except CannotTell:
            pass  # The checks ask again, and say so.
        self.report.seconds_to_quiet = time.monotonic() - quiet_since
        return quiet_since

    async def _check(self, quiet_since: float) -> None:
        self.say(f"checking {len(self.ledger.checkouts)} checkouts")
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                books = await payments.collect(self.system, self.payments, quiet_since + QUIET_SECONDS)
                evidence = await collect(self.system, self.ledger, self.load.received, quiet_since)
            self.report.violations += checks.check(evidence)
            self.report.violations += payments.check(books)
            self.report.payments.update(payment["status"] for payment in books.payments.values())
        except (CannotTell, TimeoutError) as error:
            self.report.violations.append(checks.Violation("INV-6", f"the system does not answer when all is quiet: {error}"))
        self.report.violations += await self._audit()
        for recovery in self.killer.recoveries:
            if recovery.unsettled:
                self.report.violations.append(checks.Violation(
                    "RECOVERY", f"had no outcome within {RECOVERY_LIMIT:g} s of a kill of {' and '.join(recovery.victims)}",
                    recovery.unsettled))

    async def _audit(self) -> list[checks.Violation]:
        """What the project's own auditor says."""
        binary = str(self.binary)
        flags = {PROVIDER: "--provider-url"}
        urls = [part for name, service in self.system.services.items()
                for part in (flags.get(name, f"--{name}"), f"http://127.0.0.1:{service.port}")]
        status, text = await _output_of(binary, "audit", *urls, "--json")
        return [] if status == 0 else [checks.Violation("AUDIT", f"checkout audit ended with {status}: {text[:2000]}")]

    def _check_what_is_left(self) -> None:
        self.report.violations += checks.stores(self.system.data_dir)
        self.report.violations += checks.logs(self.system.log_dir)
        self.report.violations += checks.deaths(self.system.deaths)

    def finish(self) -> Report:
        services = self.system.services.values()
        self.report.kills = {service.name: service.kills for service in services}
        self.report.stops = {service.name: service.stops for service in services}
        self.report.faults, self.report.recoveries = self.system.faults, self.killer.recoveries
        self.report.requests = self.ledger.asked
        self.report.count(self.ledger.checkouts)
        self._check_recovery_time()
        return self.report

    def _check_recovery_time(self) -> None:
        limit, p99 = self.options.recovery_limit, percentile([r.seconds for r in self.report.recoveries], 0.99)
        if limit is not None and p99 > limit:
            self.report.violations.append(checks.Violation("RECOVERY", f"p99 is {p99:.3f} s, and {limit:g} s are allowed"))

    def say(self, words: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K{words}")
            sys.stderr.flush()


async def _output_of(*command: str) -> tuple[int, str]:
    """The exit status of a command, and what it wrote; -1 when it took too long."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        async with asyncio.timeout(AUDIT_SECONDS):
            output, _ = await process.communicate()
            return process.returncode or 0, output.decode(errors="replace")
    except TimeoutError:
        return -1, "it took too long"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


# ---------------------------------------------------------------- the command

async def run_all(options: Options, binary: Path, data_dir: Path) -> Report:
    run = Run(options, binary, data_dir)
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    try:
        await run.run()
        return run.finish()
    finally:
        await run.system.end()
        run.say("")


def directory_of_its_own(chosen: str | None) -> Path:
    """For the stores and logs of one run, which removes it. In the directory that was chosen there may be anything, a system's stores even."""
    if not chosen:
        return Path(tempfile.mkdtemp(prefix="checkout-chaos."))
    Path(chosen).mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="chaos.", dir=Path(chosen).absolute()))


def main() -> int:
    options = parse(sys.argv[1:])
    binary = Path(os.environ["CHECKOUT_BIN"]).absolute()
    data_dir = directory_of_its_own(os.environ.get("DATA_DIR"))
    keep = True
    try:
        report = asyncio.run(run_all(options, binary, data_dir))
        keep = options.keep or bool(report.violations)
    except asyncio.CancelledError:
        keep = options.keep
        return 130
    except CannotRun as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 2
    finally:
        if keep:
            print(f"chaos: stores and logs are in {data_dir}", file=sys.stderr)
        else:
            shutil.rmtree(data_dir, ignore_errors=True)
    print(report.text())
    if options.json is not None:
        options.json.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
