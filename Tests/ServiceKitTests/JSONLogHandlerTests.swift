import Correlation
import Logging
import StrictJSON
import Synchronization
import TestSupport
import Testing

@testable import ServiceKit

@Suite("JSON log handler")
struct JSONLogHandlerTests {
    private struct LoggedError: Error, CustomStringConvertible {
        let description: String
    }

    private let log = LogRecorder()

    private func logger(level: Logger.Level = .trace) -> Logger {
        let time = ManualTime()
        return Logger(label: "test") { [log] _ in
            JSONLogHandler(service: "stock", level: level, time: time, write: log.append)
        }
    }

    /// The members of the only line.
    private func members() throws -> [String: JSONValue] {
        #expect(log.lines.count == 1)
        guard case .object(let members) = try JSONParser.parse(try #require(log.lines.first).utf8).tree else {
            return [:]
        }
        #expect(Set(members.map(\.name)).count == members.count)
        return Dictionary(members.map { ($0.name, $0.value) }) { first, _ in first }
    }

    @Test("an event is one JSON object with time, level, message and service (OP-03)")
    func event() throws {
        logger().notice("the stock is low")
        #expect(
            try members() == [
                "timestamp": .string("2026-01-01T00:00:00.000Z"), "level": .string("notice"),
                "message": .string("the stock is low"), "service": .string("stock"),
            ])
    }

    @Test("every level is named as configuration names it", arguments: Logger.Level.allCases)
    func levels(level: Logger.Level) throws {
        logger().log(level: level, "event")
        #expect(try members()["level"] == .string(level.rawValue))
    }

    @Test("an event below the level is not written")
    func belowLevel() {
        let logger = logger(level: .warning)
        logger.info("not written")
        #expect(log.lines.isEmpty)
        logger.warning("written")
        #expect(log.lines.count == 1)
    }

    @Test("each event is one line that ends with a line feed, whatever is in it (hazard 65, INV-18)")
    func oneLine() throws {
        let raw = Mutex<[UInt8]>([])
        var logger = Logger(label: "test") { _ in
            JSONLogHandler(service: "stock\n", level: .info) { line, _ in raw.withLock { $0 += line } }
        }
        logger[metadataKey: "k\r\ney"] = "line\r\n{\"level\":\"info\"}\u{0}\u{1B}[0m"
        logger.info("first\r\nsecond\u{2028}", metadata: ["list": ["a\n", "b"], "tree": ["c": "d\r"]])
        logger.info("another")
        let bytes = raw.withLock { $0 }
        #expect(bytes.filter { $0 == 0x0A }.count == 2)
        #expect(bytes.last == 0x0A)
        #expect(bytes.allSatisfy { $0 >= 0x20 || $0 == 0x0A })
        for line in bytes.split(separator: 0x0A) {
            #expect(throws: Never.self) { try JSONParser.parse(line) }
        }
        let first = try #require(bytes.split(separator: 0x0A).first)
        guard case .object(let members) = try JSONParser.parse(first).tree else { return }
        #expect(members.first { $0.name == "message" }?.value == .string("first\r\nsecond\u{2028}"))
        #expect(
            members.first { $0.name == "k\r\ney" }?.value == .string("line\r\n{\"level\":\"info\"}\u{0}\u{1B}[0m"))
    }

    @Test("numbers are numbers, to the thousandth; what JSON has no number for is a text")
    func numbers() throws {
        logger().info(
            "event",
            metadata: [
                "status": .stringConvertible(200), "negative": .stringConvertible(-1),
                "duration_ms": .stringConvertible(1.23456), "zero": .stringConvertible(0.0),
                "nan": .stringConvertible(Double.nan), "infinity": .stringConvertible(-Double.infinity),
                "huge": .stringConvertible(1e308),
                "text": "7", "flag": .stringConvertible(true),
            ])
        let members = try members()
        #expect(members["status"] == .number("200"))
        #expect(members["negative"] == .number("-1"))
        #expect(members["duration_ms"] == .number("1.235"))
        #expect(members["zero"] == .number("0.0"))
        #expect(members["nan"] == .string("nan"))
        #expect(members["infinity"] == .string("-inf"))
        #expect(members["huge"] == .string("1e+308"))
        #expect(members["text"] == .string("7"))
        #expect(members["flag"] == .string("true"))
    }

    @Test(
        "the line of a request says its time in milliseconds with three digits, and its members cannot be said twice",
        arguments: [
            (0, "0.000"), (999, "0.000"), (1_000, "0.001"), (42_000, "0.042"), (420_999, "0.420"), (1_000_000, "1.000"),
            (1_234_500_000, "1234.500"), (-1_500_000, "0.000"),
        ] as [(Int, String)])
    func requestLine(nanoseconds: Int, milliseconds: String) throws {
        var handler = JSONLogHandler(service: "stock", level: .info, time: ManualTime(), write: log.append)
        handler[metadataKey: "status"] = "forged"
        handler[metadataKey: "level"] = "forged"
        handler[metadataKey: "other"] = "kept"
        let line = RequestLine(
            method: "POST", route: "/checkout", status: 200, duration: .nanoseconds(nanoseconds),
            requestID: try #require(RequestID("request-1")), trace: TraceContext(continuing: nil), orderID: "order-1")
        handler.log(line, .debug)
        #expect(log.lines.isEmpty)
        handler.log(line, .info)
        let members = try members()
        #expect(members["timestamp"] == .string("2026-01-01T00:00:00.000Z"))
        #expect(members["level"] == .string("info"))
        #expect(members["message"] == .string("request"))
        #expect(members["service"] == .string("stock"))
        #expect(members["duration_ms"] == .number(milliseconds))
        #expect(members["status"] == .number("200"))
        #expect(members["request_id"] == .string("request-1"))
        #expect(members["trace_id"] == .string(line.trace.traceID))
        #expect(members["span_id"] == .string(line.trace.spanID))
        #expect(members["order_id"] == .string("order-1"))
        #expect(members["other"] == .string("kept"))
        #expect(members["_level"] == .string("forged"))
    }

    @Test("an event's own metadata wins over the logger's, and each name appears once")
    func metadata() throws {
        var logger = logger()
        logger[metadataKey: "order_id"] = "logger"
        logger[metadataKey: "request_id"] = "request-1"
        #expect(logger[metadataKey: "order_id"] == "logger")
        logger.info("event", metadata: ["order_id": "event"])
        let members = try members()
        #expect(members["order_id"] == .string("event"))
        #expect(members["request_id"] == .string("request-1"))
    }

    @Test("metadata cannot take the place of what every line has (INV-18)")
    func forged() throws {
        logger(level: .info).info(
            "the stock is low",
            metadata: ["level": "critical", "message": "x", "service": "order", "timestamp": "never"])
        let members = try members()
        #expect(members["level"] == .string("info"))
        #expect(members["message"] == .string("the stock is low"))
        #expect(members["service"] == .string("stock"))
        #expect(members["_level"] == .string("critical"))
        #expect(members["_timestamp"] == .string("never"))
    }

    @Test("no member is there twice, not even when metadata has the name that another is given")
    func renamedTwice() throws {
        logger().info("event", metadata: ["level": "a", "_level": "b", "__level": "c", "_service": "d"])
        let members = try members()
        #expect(members["level"] == .string("info"))
        #expect(members["___level"] == .string("a"))
        #expect(members["_level"] == .string("b"))
        #expect(members["__level"] == .string("c"))
        #expect(members["service"] == .string("stock"))
        #expect(members["_service"] == .string("d"))
    }

    @Test("an error given with the event is a member of it")
    func error() throws {
        logger().error("it failed", error: LoggedError(description: "why\nit failed"))
        #expect(try members()["error"] == .string("why\nit failed"))
    }
}
