import Dispatch
import Foundation
import Logging
import Synchronization

/// The end of the process after SIGTERM and SIGINT, whatever becomes of the service: the first begins the graceful stop, and whoever sends a
/// second does not want to wait (OP-07).
///
/// Nothing here waits for the service. Its loop stands still while nobody reads standard output and the log's lines fill the pipe, and so does
/// whatever logs, and `exit`, which writes the last lines.
enum StopSignals {
    /// How long a process that ends waits for its last lines to be written.
    static let lastWordsTimeout = Duration.seconds(1)

    /// Watches for the signals from now on.
    ///
    /// - Parameters:
    ///   - time: how long the graceful stop may take.
    ///   - stop: begins it, also if nothing runs yet.
    static func watch(within time: Duration, _ logger: Logger, stop: @escaping @Sendable () async -> Void) {
        let count = SignalCount()
        for number in [SIGTERM, SIGINT] {
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler {
                // Beside the handler, which must be free for the second signal.
                switch count.increment() {
                case 1:
                    queue.async {
                        logger.info("stopping")
                        Task.detached { await stop() }
                    }
                    end(ExitCode.success.rawValue, after: time + lastWordsTimeout)
                case 2:
                    queue.async { exit(128 + number) }
                    end(128 + number, after: lastWordsTimeout)
                // It ends already, and no process may call `exit` twice.
                default: break
                }
            }
            source.resume()
            count.keep(source)
        }
    }

    private static let queue = DispatchQueue.global()

    private static func end(_ status: Int32, after time: Duration) {
        let milliseconds = Int(time / .milliseconds(1))
        queue.asyncAfter(deadline: .now() + .milliseconds(milliseconds)) { _exit(status) }
    }
}

/// Counts signals and keeps their sources alive as long as one of their handlers.
private final class SignalCount: Sendable {
    private let state = Mutex((count: 0, sources: [any DispatchSourceSignal]()))

    func increment() -> Int {
        state.withLock { state in
            state.count += 1
            return state.count
        }
    }

    func keep(_ source: sending any DispatchSourceSignal) {
        state.withLock { $0.sources.append(source) }
    }
}
