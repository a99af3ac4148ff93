import Correlation
import Resilience
import Synchronization
import TestSupport
import Testing

@Suite("Identifier source")
struct IdentifierSourceTests {
    @Test(
        "the layout is that of a UUID of version 7: time, version, variant, and the rest random (RFC 9562)",
        arguments: [
            (UInt64.max, "019b76da-a800-7fff-bfff-ffffffffffff"), (0, "019b76da-a800-7000-8000-000000000000"),
            (0x0123_4567_89AB_CDEF, "019b76da-a800-7def-8123-456789abcdef"),
        ])
    func layout(random: UInt64, identifier: String) {
        // 2026-01-01T00:00:00Z is 0x019b76daa800 milliseconds.
        #expect(IdentifierSource(time: ManualTime()) { random }.next() == identifier)
    }

    @Test("two random numbers go into each identifier, so that its halves are independent")
    func independentHalves() {
        let numbers = Mutex<[UInt64]>([0x0ABC, 0x1111_2222_3333_4444])
        let source = IdentifierSource(time: ManualTime()) { numbers.withLock { $0.removeFirst() } }
        #expect(source.next() == "019b76da-a800-7abc-9111-222233334444")
    }

    @Test("version and variant are right and the form is known, whatever the random part")
    func form() {
        let source = IdentifierSource(time: SystemTime())
        for _ in 0..<1000 {
            let text = source.next()
            let characters = Array(text)
            #expect(IdentifierSource.isIdentifier(text))
            #expect(characters[14] == "7")
            #expect("89ab".contains(characters[19]))
        }
    }

    @Test("identifiers sort by the time they were made")
    func sorted() {
        let time = ManualTime()
        let source = IdentifierSource(time: time)
        var made: [String] = []
        for step in 0..<500 {
            made.append(source.next())
            // Small steps and large ones, so that every digit of the time changes.
            time.advance(by: .milliseconds(1 + step * step * step * 37))
        }
        #expect(made == made.sorted())
    }

    @Test("identifiers of one millisecond differ")
    func unique() {
        let source = IdentifierSource(time: ManualTime())
        #expect(Set((0..<10_000).map { _ in source.next() }).count == 10_000)
    }

    @Test(
        "a text of another form is no identifier",
        arguments: [
            "", "019b76da", "019b76daa8007fffbfffffffffffffff", "019B76DA-A800-7FFF-BFFF-FFFFFFFFFFFF",
            "019b76da-a800-7fff-bfff-fffffffffffg", "019b76da-a800-7fff-bfff-fffffffffff",
            "019b76da-a800-7fff-bfff-fffffffffffff", "019b76daa-800-7fff-bfff-ffffffffffff",
            "019b76da-a800-7fff-bfff-fffffffffff\n", "------------------------------------",
            "019b76da-a800-4fff-bfff-ffffffffffff", "019b76da-a800-7fff-cfff-ffffffffffff",
        ])
    func notAnIdentifier(text: String) {
        #expect(!IdentifierSource.isIdentifier(text))
    }
}
