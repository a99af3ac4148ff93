import Testing

@testable import Correlation

@Suite("Sampler")
struct SamplerTests {
    private let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"

    @Test(
        "a sampler that follows the parent does as the parent says, and chooses only among new traces",
        arguments: [0, 0.5, 1])
    func parentBased(share: Double) {
        let sampler = Sampler(share: share, followsParent: true)
        #expect(TraceContext(continuing: "\(header)-01", sampler: sampler).isSampled)
        #expect(!TraceContext(continuing: "\(header)-00", sampler: sampler).isSampled)
    }

    @Test("one that does not follow it decides for itself", arguments: ["00", "01"])
    func ownDecision(flags: String) {
        #expect(
            TraceContext(continuing: "\(header)-\(flags)", sampler: .init(share: 1, followsParent: false)).isSampled)
        #expect(
            !TraceContext(continuing: "\(header)-\(flags)", sampler: .init(share: 0, followsParent: false)).isSampled)
    }

    @Test("all or none of the new traces are chosen", arguments: [UInt64.min, 1, UInt64.max / 2, UInt64.max])
    func extremes(number: UInt64) {
        #expect(TraceContext(continuing: nil, sampler: .init(share: 1, followsParent: true)) { number }.isSampled)
        #expect(!TraceContext(continuing: nil, sampler: .init(share: 0, followsParent: true)) { number }.isSampled)
        #expect(TraceContext(continuing: nil, sampler: .init(share: 7, followsParent: true)) { number }.isSampled)
        #expect(!TraceContext(continuing: nil, sampler: .init(share: -7, followsParent: true)) { number }.isSampled)
    }

    @Test("a share of the traces is chosen by the low half of the id, the same for everybody")
    func share() {
        let quarter = Sampler(share: 0.25, followsParent: false)
        #expect(quarter.records(0, parentIsSampled: nil))
        #expect(quarter.records(UInt64.max / 4, parentIsSampled: false))
        #expect(!quarter.records(UInt64.max / 4 + 1, parentIsSampled: true))
        #expect(!quarter.records(.max, parentIsSampled: nil))
        let chosen = (0..<4000).filter { _ in TraceContext(continuing: nil, sampler: quarter).isSampled }.count
        #expect((800...1200).contains(chosen))
    }

    @Test("without a sampler the caller's word is passed on, and a new trace may be recorded by whoever can")
    func none() {
        #expect(TraceContext(continuing: nil).isSampled)
        #expect(!TraceContext(continuing: "\(header)-00").isSampled)
    }

    @Test("a span knows the one above it, and a header names the very span")
    func parents() throws {
        let root = TraceContext(continuing: nil)
        #expect(root.numbers.parent == 0)
        #expect(root.child().numbers.parent == root.numbers.span)
        #expect(TraceContext(continuing: root.header).numbers.parent == root.numbers.span)
        let same = try #require(TraceContext(of: root.header))
        #expect(same.header == root.header)
        #expect(TraceContext(of: "garbage") == nil)
    }

    @Test("another trace is recorded if the first one is", arguments: ["00", "01"])
    func newTrace(flags: String) throws {
        let trace = try #require(TraceContext(of: "\(header)-\(flags)"))
        let other = trace.newTrace()
        #expect(other.traceID != trace.traceID)
        #expect(other.numbers.parent == 0)
        #expect(other.isSampled == trace.isSampled)
    }
}
