import NIOCore
import Synchronization

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Where log lines go: each at once, or, on a service's event loop, all lines of one turn with one system call.
///
/// A warning or worse is written at once, with what came before it. So a process that is killed loses at most the lines of
/// one turn about requests that went well.
final class LogOutput: Sendable {
    /// With more than this gathered, lines are written before the turn ends.
    static let maximumGathered = 64 * 1024

    /// The process's standard output; what is gathered is written when the process exits.
    static let standard: LogOutput = {
        atexit { LogOutput.standard.flush() }
        return LogOutput(write: writeToStandardOutput)
    }()

    private struct State {
        var loop: (any EventLoop)?
        var gathered: [UInt8] = []
        /// The end of a line whose beginning was written: the next one must not stand behind half of it (INV-18).
        var rest: [UInt8] = []
        var hasEnded = false
    }

    private let state = Mutex(State())
    private let write: @Sendable (ArraySlice<UInt8>) -> Int

    /// An output.
    ///
    /// - Parameter write: takes whole lines, or what is left of one, and says how many bytes of that it has written: fewer on a full disk.
    ///   Called by one thread at a time.
    init(write: @escaping @Sendable (ArraySlice<UInt8>) -> Int) {
        self.write = write
    }

    /// From now on gathers the lines of each turn of a loop.
    func gather(on loop: any EventLoop) {
        state.withLock { $0.loop = loop }
    }

    /// Takes one line with its line feed.
    func append(_ line: [UInt8], isUrgent: Bool) {
        let loop: (any EventLoop)? = state.withLock { state in
            if state.hasEnded { return nil }
            let isFirst = state.gathered.isEmpty
            state.gathered += line
            guard let loop = state.loop, !isUrgent, state.gathered.count < Self.maximumGathered else {
                writeGathered(&state)
                return nil
            }
            return isFirst ? loop : nil
        }
        loop?.execute { self.flush() }
    }

    /// Nothing is written any more: the last line was the last words of a process that ends at once, while requests that other threads
    /// are at work on might still be told of.
    func end() {
        state.withLock { state in
            state.hasEnded = true
            state.gathered = []
        }
    }

    /// Writes what is gathered.
    func flush() {
        state.withLock { writeGathered(&$0) }
    }

    /// Inside the lock, so that lines stay in their order.
    private func writeGathered(_ state: inout State) {
        guard !state.gathered.isEmpty else { return }
        defer { state.gathered.removeAll(keepingCapacity: true) }
        if !state.rest.isEmpty {
            let written = write(state.rest[...])
            state.rest.removeFirst(written)
            guard state.rest.isEmpty else { return }
        }
        let written = write(state.gathered[...])
        guard written > 0, written < state.gathered.count else { return }
        // Lines that cannot be written are lost, but not the end of one: the service does not stop for its log.
        let lineFeed = UInt8(ascii: "\n")
        guard state.gathered[written - 1] != lineFeed else { return }
        let rest = state.gathered[written...]
        state.rest = Array(rest[...(rest.firstIndex(of: lineFeed) ?? rest.endIndex - 1)])
    }

    private static let writeToStandardOutput: @Sendable (ArraySlice<UInt8>) -> Int = { lines in
        var rest = lines
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { systemWrite(STDOUT_FILENO, $0.baseAddress, $0.count) }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { break }
            rest = rest.dropFirst(written)
        }
        return lines.count - rest.count
    }
}

/// `write(2)`, under a name that `LogOutput`'s own member does not hide.
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
    write(descriptor, bytes, count)
}
