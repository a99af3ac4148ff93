/// Memory for the texts and blobs that are bound to statements, so that SQLite need not allocate some for each of them: a checkout binds
/// thirty. Used by one thread at a time, like the connection, and like a stack: a statement may run while another one returns its rows.
struct BoundValues: ~Copyable {
    private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * 1024, alignment: 1)
    /// How many bytes are in use.
    private(set) var count = 0

    deinit { memory.deallocate() }

    /// A copy of the bytes that lasts until it is dropped. What has no room stays where it is, for SQLite to copy.
    mutating func keep(_ bytes: UnsafeRawBufferPointer) -> (start: UnsafeRawPointer?, isKept: Bool) {
        guard let start = bytes.baseAddress, let copy = memory.baseAddress, bytes.count <= memory.count - count else {
            return (bytes.baseAddress, false)
        }
        let place = copy + count
        place.copyMemory(from: start, byteCount: bytes.count)
        count += bytes.count
        return (UnsafeRawPointer(place), true)
    }

    /// Drops all that was kept since there were so many bytes.
    mutating func drop(to count: Int) {
        assert(count <= self.count, "what is dropped was kept")
        self.count = count
    }
}
