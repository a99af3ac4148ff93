extension Int128 {
    /// A sum of amounts, each of which may take up 64 bits (hazard 45).
    ///
    /// SQLite adds up in 64 bits and fails where that is too little. So it is asked for two sums, `sum(amount / 1000000000)` and
    /// `sum(amount % 1000000000)`.
    public init(high: Int64, low: Int64) {
        self = 1_000_000_000 * Int128(high) + Int128(low)
    }
}
