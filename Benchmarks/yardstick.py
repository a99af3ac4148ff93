"""The yardstick: an nginx of its own that proxies to a server which answers `{}`.

A machine's speed drifts, and machines differ. What one checkout costs is therefore also given in terms of something that
is always the same: a request through nginx, in the same minute, from the same client, with nothing behind it.
"""

from __future__ import annotations

import grp
import http.client
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from errors import BenchError
from system import ROOT, free_ports, stop_process

START_SECONDS = 15
# The settings that decide how fast nginx passes a request on, by the place they have in a configuration.
SETTINGS = {
    "MAIN": ["worker_processes", "worker_rlimit_nofile"],
    "EVENTS": ["worker_connections"],
    "HTTP": [
        "client_max_body_size", "client_body_buffer_size", "keepalive_timeout", "keepalive_requests", "tcp_nodelay",
        "proxy_http_version", "proxy_request_buffering", "proxy_buffer_size", "proxy_buffers",
    ],
}


def directives(configuration: str, names: list[str]) -> str:
    """The lines of a configuration that set these names, so that the yardstick cannot drift away from what it measures."""
    found = []
    for name in names:
        line = re.search(rf"^\s*({name}\s[^;]*;)", configuration, re.MULTILINE)
        if line is None:
            raise BenchError(f"nginx.conf does not set {name}; Benchmarks/yardstick.py wants to know")
        found.append(line[1])
    return " ".join(found)


def configuration(template: str, product: str, ports: dict[str, int], user: str) -> str:
    places = {place: directives(product, names) for place, names in SETTINGS.items()}
    places |= {"USER": user} | {name: str(port) for name, port in ports.items()}
    return re.sub(r"@([A-Z_]+)@", lambda place: places.get(place[1], place[0]), template)


class Yardstick:
    """A context manager: at its end its nginx is stopped and its files are gone."""

    def __enter__(self) -> Yardstick:
        self.directory = Path(tempfile.mkdtemp(prefix="checkout-yardstick."))
        self.process = None
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        if self.process is not None:
            stop_process(self.process, signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self) -> None:
        ports = free_ports(["EMPTY_PORT", "PROXY_PORT"])
        # As in scripts/up: its workers are who we are, and nginx minds the directive when we are not root.
        user = ""
        if os.geteuid() == 0:
            user = f"user {pwd.getpwuid(0).pw_name} {grp.getgrgid(os.getegid()).gr_name};"
        template = Path(__file__).with_name("yardstick.conf").read_text()
        text = configuration(template, (ROOT / "nginx.conf").read_text(), ports, user)
        (self.directory / "nginx.conf").write_text(text)
        self.url = f"http://127.0.0.1:{ports['PROXY_PORT']}/order/checkout"
        log = self.directory / "nginx.log"
        with log.open("w") as output:
            # In a session of its own, so that Ctrl-C reaches only the benchmark, which then stops it.
            self.process = subprocess.Popen(
                ["nginx", "-e", "stderr", "-p", f"{self.directory}/", "-c", "nginx.conf"], start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        deadline = time.monotonic() + START_SECONDS
        while not answers(ports["PROXY_PORT"]):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"the yardstick's nginx did not start:\n{log.read_text()}")
            time.sleep(0.02)


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
