"""Each fault does what it says, shown against a small service that counts what it did."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import unittest

from fault_proxy import Fault, FaultProxy, Times
from http11 import MAX_HEAD, Client, Message, NoAnswer, read_request

TIMES = Times(late=(0.15, 0.15), again_after=(0.15, 0.15), shut=(0.15, 0.15))
PATIENT, IMPATIENT = 2.0, 0.05


class CountingService:
    """Answers every request with how many it has had, and remembers them."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.open: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.delay = 0.0

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=MAX_HEAD)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        self._server.close()
        for writer in tuple(self.open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while (request := await read_request(reader)) is not None:
                self.requests.append(request.content)
                await asyncio.sleep(self.delay)
                body = json.dumps({"count": len(self.requests), "got": request.content.decode()}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                             b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.open.discard(writer)
        writer.close()


class FaultProxyTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.service = CountingService()
        await self.service.start()
        self.proxy = FaultProxy("test", await self._free_port(), self.service.port, random.Random(7), TIMES)
        await self.proxy.open()
        self.client = Client(self.proxy.port)

    async def asyncTearDown(self) -> None:
        self.client.close()
        await self.proxy.close()
        self.service.stop()

    async def _free_port(self) -> int:
        server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        server.close()
        return port

    async def ask(self, text: str = "one", timeout: float = PATIENT) -> Message:
        return await self.client.request("POST", "/do", text.encode(), timeout=timeout)

    async def count(self, answer: Message) -> int:
        return int(json.loads(answer.content)["count"])

    async def eventually(self, executions: int) -> None:
        async with asyncio.timeout(PATIENT):
            while len(self.service.requests) < executions:
                await asyncio.sleep(0.01)

    # ---------------------------------------------------------------- without a fault

    async def test_without_a_fault_requests_pass_over_one_kept_connection(self) -> None:
        for number in range(1, 4):
            self.assertEqual(await self.count(await self.ask(f"request {number}")), number)
        self.assertEqual(self.service.requests, [b"request 1", b"request 2", b"request 3"])
        self.assertEqual(self.service.connections, 1)
        self.assertEqual((self.proxy.passed, sum(self.proxy.counts.values())), (3, 0))

    async def test_a_caller_that_leaves_takes_its_connection_to_the_service_with_it(self) -> None:
        self.service.delay = 0.3
        with self.assertRaises(NoAnswer):
            await self.ask(timeout=IMPATIENT)
        await asyncio.sleep(0.4)
        self.assertEqual(len(self.service.open), 0)

    async def test_a_service_that_breaks_off_breaks_the_callers_connection(self) -> None:
        self.service.delay = 0.2
        asking = asyncio.create_task(self.ask())
        await self.eventually(1)
        self.service.stop()
        with self.assertRaises(NoAnswer):
            await asking

    async def test_a_service_that_is_back_is_reached_again(self) -> None:
        await self.ask()
        self.service.stop()
        with self.assertRaises(NoAnswer):
            await self.ask()
        await self.service.start(self.service.port)
        self.assertEqual(await self.count(await self.ask()), 2)

    async def test_shut_refuses_connections_until_it_is_open_again(self) -> None:
        await self.ask()
        self.proxy.shut()
        await asyncio.sleep(0.02)  # for the end of the idle connection to arrive
        with self.assertRaisesRegex(NoAnswer, "ConnectionRefusedError"):
            await self.ask()
        await self.proxy.open()
        self.assertEqual(await self.count(await self.ask()), 2)

    # ---------------------------------------------------------------- the nine faults

    async def test_refuse(self) -> None:
        self.proxy.inject(Fault.REFUSE)
        await self.ask()
        await asyncio.sleep(0.02)  # for the end of the idle connection to arrive
        for _ in range(2):
            with self.assertRaisesRegex(NoAnswer, "ConnectionRefusedError"):
                await self.ask()
        self.assertEqual(len(self.service.requests), 1)
        await asyncio.sleep(0.2)
        self.assertEqual(await self.count(await self.ask()), 2)

    async def test_reset_before(self) -> None:
        self.proxy.inject(Fault.RESET_BEFORE)
        with self.assertRaisesRegex(NoAnswer, "ConnectionResetError"):
            await self.ask()
        self.assertEqual(self.service.requests, [])
        self.assertEqual(await self.count(await self.ask()), 1)

    async def test_reset_in_the_body(self) -> None:
        self.proxy.inject(Fault.RESET_IN_BODY)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
        writer.write(b"POST /do HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\none")
        head = await reader.readuntil(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK"))
        body = b""
        with self.assertRaises(ConnectionResetError):
            while True:
                part = await reader.read(1)
                self.assertNotEqual(part, b"", "an orderly end, and not a reset")
                body += part
        writer.close()
        self.assertTrue(body.startswith(b'{"count"'))
        self.assertNotIn(b"}", body)
        self.assertEqual(self.service.requests, [b"one"])

    async def test_run_then_drop(self) -> None:
        for executions, (variant, error) in enumerate((("reset", "ConnectionResetError"), ("close", "without an answer")), 1):
            self.proxy.inject(Fault.RUN_THEN_DROP, variant)
            with self.subTest(variant), self.assertRaisesRegex(NoAnswer, error):
                await self.ask()
            self.assertEqual(len(self.service.requests), executions)

    async def test_hold(self) -> None:
        self.proxy.inject(Fault.HOLD)
        with self.assertRaisesRegex(NoAnswer, "TimeoutError"):
            await self.ask(timeout=0.3)
        await asyncio.sleep(0.05)
        self.assertEqual(self.service.requests, [])
        self.assertEqual(await self.count(await self.ask()), 1)

    async def test_a_late_request_arrives_after_the_caller_gave_up(self) -> None:
        self.proxy.inject(Fault.LATE, "request")
        with self.assertRaisesRegex(NoAnswer, "TimeoutError"):
            await self.ask(timeout=IMPATIENT)
        self.assertEqual(self.service.requests, [])
        await self.eventually(1)

    async def test_a_late_answer_finds_a_patient_caller(self) -> None:
        for variant in ("request", "answer"):
            self.proxy.inject(Fault.LATE, variant)
            begun = asyncio.get_running_loop().time()
            with self.subTest(variant):
                await self.ask(variant)
                self.assertGreaterEqual(asyncio.get_running_loop().time() - begun, 0.15)
        self.assertEqual(self.service.requests, [b"request", b"answer"])

    async def test_a_late_answer_was_executed_at_once(self) -> None:
        self.proxy.inject(Fault.LATE, "answer")
        with self.assertRaises(NoAnswer):
            await self.ask(timeout=IMPATIENT)
        self.assertEqual(self.service.requests, [b"one"])

    async def test_twice(self) -> None:
        for executions, variant in ((2, "at once"), (4, "in turn"), (6, "later")):
            self.proxy.inject(Fault.TWICE, variant)
            with self.subTest(variant):
                await self.ask(variant)
                await self.eventually(executions)
                self.assertEqual(self.service.requests[-2:], [variant.encode()] * 2)
        self.assertEqual(await self.count(await self.ask("after")), 7, "one answer each, or this one would be another's")

    async def test_the_repetition_comes_though_the_caller_has_gone_on(self) -> None:
        self.proxy.inject(Fault.TWICE, "later")
        await self.ask("first")
        await self.ask("second")
        await self.eventually(3)
        self.assertEqual(self.service.requests, [b"first", b"second", b"first"])

    async def test_garbage(self) -> None:
        self.proxy.inject(Fault.GARBAGE, "no HTTP")
        with self.assertRaisesRegex(NoAnswer, "BrokenMessage"):
            await self.ask()
        for executions, variant in ((0, "no sense"), (1, "after it ran")):
            self.proxy.inject(Fault.GARBAGE, variant)
            with self.subTest(variant):
                answer = await self.ask()
                self.assertEqual(answer.status, 200)
                self.assertNotIn(b"count", answer.content)
                self.assertEqual(len(self.service.requests), executions)

    async def test_503(self) -> None:
        self.proxy.inject(Fault.UNAVAILABLE)
        answer = await self.ask()
        self.assertEqual(answer.status, 503)
        self.assertFalse(answer.content.startswith(b"{"), "no problem document of ours")
        self.assertEqual(self.service.requests, [])

    # ---------------------------------------------------------------- choosing

    async def test_every_fault_and_variant_is_chosen_at_a_rate(self) -> None:
        self.proxy.rate = 1.0
        chosen = {self.proxy._choose() for _ in range(2000)}
        self.assertEqual(chosen, {action for variants in self.proxy._table.values() for action in variants.values()})
        self.assertEqual(set(self.proxy.counts), set(Fault))

    async def test_the_same_seed_chooses_the_same_faults(self) -> None:
        def choices() -> list[str]:
            proxy = FaultProxy("test", 1, 2, random.Random("seed"))
            proxy.rate = 0.3
            return [proxy._choose().__name__ for _ in range(200)]
        self.assertEqual(choices(), choices())

    async def test_quiet_waits_for_what_is_still_on_its_way(self) -> None:
        self.proxy.rate = 1.0
        self.proxy.inject(Fault.TWICE, "later")
        await self.ask()
        await self.proxy.quiet(PATIENT)
        self.assertEqual(len(self.service.requests), 2)
        await self.ask()
        self.assertEqual(sum(self.proxy.counts.values()), 1)


if __name__ == "__main__":
    unittest.main()
