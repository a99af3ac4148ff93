import Synchronization

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Unpredictable numbers from the system's generator, fetched many at a time: one at a time costs a system call each, and
/// a checkout needs about twenty.
public enum RandomPool {
    /// 256 bytes: the most that the system gives in one piece without being interrupted, on every platform.
    private static let size = 32
    private static let numbers = Mutex<[UInt64]>([])

    /// A number that nobody can foresee.
    public static func next() -> UInt64 {
        numbers.withLock { numbers in
            if numbers.isEmpty { numbers = fetch() }
            return numbers.popLast() ?? UInt64.random(in: .min ... .max)
        }
    }

    private static func fetch() -> [UInt64] {
        var fetched = [UInt64](repeating: 0, count: size)
        let succeeded = fetched.withUnsafeMutableBytes { getentropy($0.baseAddress, $0.count) == 0 }
        return succeeded ? fetched : []
    }
}
