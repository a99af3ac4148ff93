import Correlation
import Testing

@Suite("Trace context")
struct TraceContextTests {
    private static let traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
    private static let parentID = "00f067aa0ba902b7"

    @Test(
        "a valid header continues its trace in a span of its own (W3C Trace Context, section 3.2)",
        arguments: [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", false),
            // Only the lowest bit of the flags says whether the trace is recorded.
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03", true),
            // A later version is read as far as it is known.
            ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be", true),
            ("fe-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-", false),
        ])
    func valid(header: String, isSampled: Bool) {
        let trace = TraceContext(continuing: header)
        #expect(trace.traceID == Self.traceID)
        #expect(trace.spanID != Self.parentID)
        #expect(trace.isSampled == isSampled)
    }

    @Test(
        "a header that is missing or not valid begins a new trace",
        arguments: [
            nil, "", "00", "garbage",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01extra",
            "0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00F067AA0BA902B7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47360-0f067aa0ba902b7-01",
            // Two header lines, joined.
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01, "
                + "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] as [String?])
    func invalid(header: String?) {
        let trace = TraceContext(continuing: header)
        #expect(trace.traceID != Self.traceID)
        #expect(Self.isLowerHexadecimal(trace.traceID, digits: 32))
        #expect(Self.isLowerHexadecimal(trace.spanID, digits: 16))
    }

    @Test("a trace id of zeros is not valid")
    func zeroTraceID() {
        let zeros = String(repeating: "0", count: 32)
        #expect(TraceContext(continuing: "00-\(zeros)-00f067aa0ba902b7-01").traceID != zeros)
    }

    @Test("a new trace is not all zeros even if the generator gives zeros")
    func neverZero() {
        let trace = TraceContext(continuing: nil) { 0 }
        #expect(trace.traceID.contains { $0 != "0" })
        #expect(trace.spanID.contains { $0 != "0" })
    }

    @Test("a child keeps the trace and the flag and has a span of its own", arguments: ["00", "01"])
    func child(flags: String) {
        let trace = TraceContext(continuing: "00-\(Self.traceID)-\(Self.parentID)-\(flags)")
        let child = trace.child()
        #expect(child.traceID == trace.traceID)
        #expect(child.isSampled == trace.isSampled)
        #expect(child.spanID != trace.spanID)
        #expect(Self.isLowerHexadecimal(child.spanID, digits: 16))
        #expect(child.header == "00-\(Self.traceID)-\(child.spanID)-\(flags)")
    }

    @Test("the header of one service continues the trace in the next")
    func handOver() {
        let first = TraceContext(continuing: nil)
        let second = TraceContext(continuing: first.header)
        #expect(second.traceID == first.traceID)
        #expect(second.spanID != first.spanID)
        #expect(second.isSampled)
    }

    @Test("new traces differ")
    func unique() {
        #expect(Set((0..<1000).map { _ in TraceContext(continuing: nil).traceID }).count == 1000)
    }

    private static func isLowerHexadecimal(_ text: String, digits: Int) -> Bool {
        text.utf8.count == digits && text.utf8.allSatisfy { "0123456789abcdef".utf8.contains($0) }
    }
}
