"""A collector for traces: takes OTLP over HTTP on the loopback interface and reads it with OpenTelemetry's own classes."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Proto, Status

KINDS = {Proto.SPAN_KIND_INTERNAL: "internal", Proto.SPAN_KIND_SERVER: "server", Proto.SPAN_KIND_CLIENT: "client"}


def value(any_value):
    """What an AnyValue holds."""
    return getattr(any_value, any_value.WhichOneof("value"))


@dataclass(frozen=True, eq=False)
class Span:
    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    start: int
    end: int
    attributes: dict
    links: tuple
    is_error: bool
    resource: dict

    def __repr__(self):
        return f"<{self.service}: {self.name} {self.id} under {self.parent or 'none'}>"


class Collector:
    """Answers 200 unless told otherwise. While `gate` is closed it does not answer at all."""

    def __init__(self):
        self.requests: list = []  # (path, headers)
        self.statuses: list[int] = []  # of the next answers
        self.gate = threading.Event()
        self.gate.set()
        self._spans: list[Span] = []
        self._lock = threading.Lock()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                collector.take(self)

            def log_message(self, *_):
                pass
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def settings(self, **more) -> dict:
        """What a service is told, so that its spans come here soon."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "50", **more}

    def take(self, handler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.gate.wait(60)
        with self._lock:
            self.requests.append((handler.path, dict(handler.headers)))
            status = self.statuses.pop(0) if self.statuses else 200
            if status == 200:
                self._spans += self.read(body)
        handler.send_response(status)
        handler.send_header("Content-Type", "application/x-protobuf")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    @staticmethod
    def read(body: bytes) -> list[Span]:
        found = []
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = {a.key: value(a.value) for a in of_resource.resource.attributes}
            for of_scope in of_resource.scope_spans:
                assert of_scope.scope.name == "checkout" and of_scope.scope.version
                for span in of_scope.spans:
                    assert len(span.trace_id) == 16 and len(span.span_id) == 8 and span.name
                    assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
                    assert span.flags & 1 == 1
                    found.append(Span(
                        resource["service.name"], span.name, KINDS[span.kind], span.trace_id.hex(), span.span_id.hex(),
                        span.parent_span_id.hex(), span.start_time_unix_nano, span.end_time_unix_nano,
                        {a.key: value(a.value) for a in span.attributes},
                        tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
                        span.status.code == Status.STATUS_CODE_ERROR, resource))
        return found

    def spans(self, trace: str | None = None, **wanted) -> list[Span]:
        """Those that have come, by the time of their starts: of a trace, with these members."""
        with self._lock:
            found = [s for s in self._spans if trace in (None, s.trace)
                     and all(getattr(s, name) == expected for name, expected in wanted.items())]
        return sorted(found, key=lambda s: s.start)

    def stop(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self) -> "Collector":
        return self

    def __exit__(self, *_) -> None:
        self.stop()
