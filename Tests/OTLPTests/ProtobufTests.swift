import Testing

@testable import OTLP

@Suite("Protocol buffers")
struct ProtobufTests {
    private func bytes(_ write: (inout ProtobufWriter) -> Void) -> [UInt8] {
        var writer = ProtobufWriter()
        write(&writer)
        return writer.bytes
    }

    @Test(
        "a number is written as the documentation of the encoding shows it",
        arguments: [
            (1, 150, [0x08, 0x96, 0x01]), (1, 1, [0x08, 0x01]), (1, 127, [0x08, 0x7F]), (1, 128, [0x08, 0x80, 0x01]),
            (16, 1, [0x80, 0x01, 0x01]),
            (1, UInt64.max, [0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
        ] as [(Int, UInt64, [UInt8])])
    func numbers(field: Int, value: UInt64, expected: [UInt8]) {
        #expect(bytes { $0.unsigned(field, value) } == expected)
    }

    @Test("a text is written with its length in bytes")
    func texts() {
        #expect(bytes { $0.string(2, "testing") } == [0x12, 0x07] + Array("testing".utf8))
        #expect(bytes { $0.string(2, "é") } == [0x12, 0x02, 0xC3, 0xA9])
    }

    @Test("numbers of fixed width have their lowest byte first, identifiers their highest")
    func fixedWidth() {
        #expect(bytes { $0.fixed64(7, 0x0102_0304_0506_0708) } == [0x39, 8, 7, 6, 5, 4, 3, 2, 1])
        #expect(bytes { $0.fixed32(16, 0x0102_0304) } == [0x85, 0x01, 4, 3, 2, 1])
        #expect(
            bytes { $0.identifier(1, 0x0102_0304_0506_0708, 0x090A_0B0C_0D0E_0F10) } == [0x0A, 16] + Array(1...16))
    }

    @Test("what has its default value is left out")
    func defaults() {
        let written = bytes {
            $0.unsigned(1, 0)
            $0.fixed64(2, 0)
            $0.fixed32(3, 0)
            $0.string(4, "")
            $0.identifier(5, 0)
        }
        #expect(written.isEmpty)
    }

    @Test("a member of a oneof is written even with its default value")
    func choices() {
        #expect(bytes { $0.choice(1, string: "") } == [0x0A, 0])
        #expect(bytes { $0.choice(2, bool: false) } == [0x10, 0])
        #expect(bytes { $0.choice(2, bool: true) } == [0x10, 1])
        #expect(bytes { $0.choice(3, integer: -1) } == [0x18] + Array(repeating: 0xFF, count: 9) + [0x01])
        #expect(bytes { $0.choice(4, double: 1) } == [0x21, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F])
    }

    @Test("a message is written with its length, also when it is empty")
    func messages() {
        #expect(bytes { $0.message(3) { $0.unsigned(1, 150) } } == [0x1A, 0x03, 0x08, 0x96, 0x01])
        #expect(bytes { $0.message(3) { _ in } } == [0x1A, 0])
        let long = String(repeating: "x", count: 300)
        #expect(bytes { $0.message(1) { $0.string(1, long) } }.prefix(6) == [0x0A, 0xAF, 0x02, 0x0A, 0xAC, 0x02])
    }

    // MARK: - Reading

    @Test("a collector's word on what it has refused is read, with whatever fields stand around it")
    func rejected() {
        let answer = bytes {
            $0.fixed32(9, 7)
            $0.message(1) { inner in
                inner.string(2, "no room")
                inner.fixed64(3, 1)
                inner.unsigned(1, 300)
            }
        }
        #expect(ExportReply.rejectedSpans(answer) == 300)
    }

    @Test(
        "an answer without such a word, or that is no message, refuses nothing",
        arguments: [
            [], Array("{}".utf8), [0x0A], [0x0A, 0x05, 0x08], [0x0A, 0x02, 0x08], [0xFF], [0x0B, 0x01], [0x08, 0x05],
            Array(repeating: 0xFF, count: 20), [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        ] as [[UInt8]])
    func garbled(answer: [UInt8]) {
        #expect(ExportReply.rejectedSpans(answer) == 0)
    }
}
