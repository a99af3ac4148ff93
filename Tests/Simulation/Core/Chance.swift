import SeededRandom

/// All randomness of one run. What happens at a place depends on the seed and on the place's name alone, not on what was
/// drawn before: leaving one fault out does not change the others, so that a failing run can be made shorter.
struct Chance: Sendable {
    let seed: UInt64

    /// The numbers for one place.
    func generator(_ name: String) -> SeededGenerator {
        // FNV-1a, because Swift's own hash differs from process to process.
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return SeededGenerator(seed: hash ^ (seed &* 0x9E37_79B9_7F4A_7C15))
    }

    /// A number from 0 up to, not including, 1.
    func share(_ name: String) -> Double {
        var numbers = generator(name)
        return Double.random(in: 0..<1, using: &numbers)
    }

    /// A duration in milliseconds.
    func milliseconds(_ name: String, in range: ClosedRange<Int64>) -> Duration {
        var numbers = generator(name)
        return .milliseconds(Int64.random(in: range, using: &numbers))
    }
}
