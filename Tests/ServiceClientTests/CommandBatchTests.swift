import Correlation
import Resilience
import StrictJSON
import TestSupport
import Testing

@testable import ServiceClient

@Suite("Command batch")
struct CommandBatchTests {
    private let trace = TraceContext(continuing: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")

    private func command(
        _ path: String = "/reserve", key: String? = nil, body: String = "{}", user: String = "",
        requestID: String = "request-1"
    ) throws -> ServiceCommand {
        ServiceCommand(
            path: path, key: key, body: Array(body.utf8),
            context: CallContext(
                requestID: try #require(RequestID(requestID)), trace: trace, user: user,
                deadline: Deadline(after: .seconds(1), on: ManualTime())))
    }

    private func commands(_ text: String) throws -> [CommandBatch.Received] {
        try CommandBatch.commands(json: try JSONParser.parse(text.utf8))
    }

    /// The pointers of what is wrong with a batch, or with the answers to one.
    private func pointers(_ read: () throws -> Void) throws -> [String] {
        try #require(throws: ValidationFailure.self, performing: read).issues.map(\.pointer)
    }

    // MARK: Commands

    @Test("what is written is read as it was")
    func commandsRoundTrip() throws {
        let written = [
            try command("/reserve", key: #""a\"b""#, body: #"{"a":[1,2.50]}"#, user: "ada", requestID: "r-1"),
            try command("/release", body: "[]", requestID: "r-2"),
        ]
        let read = try commands(String(decoding: CommandBatch.write(written), as: UTF8.self))
        #expect(read.map(\.path) == ["/reserve", "/release"])
        #expect(read.map(\.key) == [#""a\"b""#, nil])
        #expect(read.map(\.user) == ["ada", ""])
        #expect(read.map(\.requestID) == ["r-1", "r-2"])
        #expect(
            read.map(\.body) == [
                .object([.init("a", .array([.number("1"), .number("2.50")]))]), .array([]),
            ])
        for received in read {
            let continued = TraceContext(continuing: received.traceparent)
            #expect(continued.traceID == trace.traceID)
            #expect(!continued.isSampled)
        }
    }

    @Test("a command needs a path and a body, and nothing else")
    func least() throws {
        let read = try #require(try commands(#"{"commands":[{"path":"/reserve","body":null}]}"#).first)
        #expect(read.path == "/reserve")
        #expect(read.body == .null)
        #expect(read.key == nil)
        #expect(read.user == "")
        #expect(read.requestID == nil)
        #expect(read.traceparent == nil)
    }

    @Test(
        "a batch that is none is refused with the places of its faults",
        arguments: [
            ("[]", ["#"]), ("1", ["#"]), ("{}", ["#/commands"]), (#"{"commands":{}}"#, ["#/commands"]),
            (#"{"commands":[]}"#, ["#/commands"]), (#"{"commands":null}"#, ["#/commands"]),
            (#"{"commands":[1]}"#, ["#/commands/0"]),
            (#"{"commands":[{}]}"#, ["#/commands/0/path", "#/commands/0/body"]),
            (#"{"commands":[{"path":"/a","body":{}},{"path":"/a"}]}"#, ["#/commands/1/body"]),
            (#"{"commands":[{"path":"","body":{}}]}"#, ["#/commands/0/path"]),
            (#"{"commands":[{"path":1,"body":{}}]}"#, ["#/commands/0/path"]),
            (#"{"commands":[{"path":"/a","body":{},"key":""}]}"#, ["#/commands/0/key"]),
            (#"{"commands":[{"path":"/a","body":{},"key":null}]}"#, ["#/commands/0/key"]),
            (#"{"commands":[{"path":"/a","body":{},"user":""}]}"#, ["#/commands/0/user"]),
            (#"{"commands":[{"path":"/a","body":{},"requestId":""}]}"#, ["#/commands/0/requestId"]),
            (#"{"commands":[{"path":"/a","body":{},"traceparent":7}]}"#, ["#/commands/0/traceparent"]),
            (#"{"commands":[{"path":"/a","body":{},"method":"GET"}]}"#, ["#/commands/0/method"]),
            (#"{"commands":[{"path":"/a","body":{},"body":{}}]}"#, ["#/commands/0/body"]),
            (#"{"commands":[{"path":"/a","key":"a","key":"b","body":{}}]}"#, ["#/commands/0/key"]),
            (#"{"commands":[{"path":"/a","body":{}}],"more":1}"#, ["#/more"]),
            (#"{"commands":[],"commands":[{"path":"/a","body":{}}]}"#, ["#/commands", "#/commands"]),
        ])
    func badBatch(_ text: String, expected: [String]) throws {
        #expect(try pointers { _ = try commands(text) } == expected)
    }

    @Test(
        "each member has a length that it may not pass",
        arguments: [("path", 128), ("key", 512), ("user", 128), ("requestId", 128), ("traceparent", 128)])
    func lengths(_ name: String, maximum: Int) throws {
        func batch(_ length: Int) -> String {
            let path = name == "path" ? "" : #""path":"/a","#
            return #"{"commands":[{\#(path)"\#(name)":"\#(String(repeating: "x", count: length))","body":{}}]}"#
        }
        #expect(try commands(batch(maximum)).count == 1)
        #expect(try pointers { _ = try commands(batch(maximum + 1)) } == ["#/commands/0/\(name)"])
    }

    @Test("a batch has 128 commands at the most")
    func count() throws {
        func batch(_ count: Int) -> String {
            let commands = Array(repeating: #"{"path":"/a","body":{}}"#, count: count).joined(separator: ",")
            return #"{"commands":[\#(commands)]}"#
        }
        #expect(try commands(batch(128)).count == 128)
        #expect(try pointers { _ = try commands(batch(129)) } == ["#/commands"])
    }

    @Test("a command never takes more bytes in a batch than is counted for it")
    func size() throws {
        for command in [
            try command(), try command("/a", body: ""),
            try command(
                "/" + String(repeating: "p", count: 127), key: String(repeating: #"\"#, count: 512), body: "{}",
                user: String(repeating: "u", count: 128), requestID: String(repeating: "r", count: 128)),
            try command(key: #""\#(String(repeating: #"\""#, count: 255))""#),
            try command(body: #"{"a":"\#(String(repeating: "é", count: 30_000))"}"#),
        ] {
            #expect(CommandBatch.write([command]).count <= CommandBatch.maximumSize(of: command))
            #expect(
                CommandBatch.write(Array(repeating: command, count: 100)).count
                    <= 100 * CommandBatch.maximumSize(of: command))
        }
    }

    // MARK: Answers

    @Test("answers are written in their order, bodies to the byte, and read as they were")
    func answersRoundTrip() throws {
        let written = CommandBatch.write([
            .answered(status: 200, body: Array(#"{"a": 1.50}"#.utf8), retryAfter: nil), .alone,
            .answered(status: 409, body: Array("{}".utf8), retryAfter: 1),
        ])
        #expect(
            String(decoding: written, as: UTF8.self)
                == #"{"answers":[{"status":200,"body":{"a": 1.50}},{"alone":true},{"status":409,"retryAfter":1,"body":{}}]}"#
        )
        #expect(
            try CommandBatch.answers(json: try JSONParser.parse(written), count: 3) == [
                ServiceAnswer(status: 200, json: .object([.init("a", .number("1.50"))])), nil,
                ServiceAnswer(status: 409, json: .object([]), retryAfter: .seconds(1)),
            ])
    }

    @Test(
        "answers that are none are refused with the places of their faults",
        arguments: [
            ("[]", ["#"]), ("{}", ["#/answers"]), (#"{"answers":{}}"#, ["#/answers"]),
            (#"{"answers":[]}"#, ["#/answers"]),
            (#"{"answers":[{"alone":true},{"alone":true}]}"#, ["#/answers"]),
            (#"{"answers":[{}]}"#, ["#/answers/0/status", "#/answers/0/body"]),
            (#"{"answers":[{"alone":false}]}"#, ["#/answers/0/status", "#/answers/0/body"]),
            (#"{"answers":[{"alone":true,"status":200}]}"#, ["#/answers/0/status"]),
            (#"{"answers":[{"status":99,"body":{}}]}"#, ["#/answers/0/status"]),
            (#"{"answers":[{"status":600,"body":{}}]}"#, ["#/answers/0/status"]),
            (#"{"answers":[{"status":"200","body":{}}]}"#, ["#/answers/0/status"]),
            (#"{"answers":[{"status":200,"body":{},"retryAfter":0}]}"#, ["#/answers/0/retryAfter"]),
            (#"{"answers":[{"status":200,"body":{},"retryAfter":3601}]}"#, ["#/answers/0/retryAfter"]),
            (#"{"answers":[{"status":200,"body":{},"x":1}]}"#, ["#/answers/0/x"]),
            (#"{"answers":[{"status":200,"body":{}}],"x":1}"#, ["#/x"]),
        ])
    func badAnswers(_ text: String, expected: [String]) throws {
        let json = try JSONParser.parse(text.utf8)
        #expect(try pointers { _ = try CommandBatch.answers(json: json, count: 1) } == expected)
    }
}
