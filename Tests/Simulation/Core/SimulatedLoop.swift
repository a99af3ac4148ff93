import Dispatch
import NIOCore

/// The event loop of a simulated process as its store sees it: a place to run the commit at the end of a turn.
final class SimulatedLoop: EventLoop {
    private let run: @Sendable (@escaping @Sendable () -> Void) -> Void

    init(_ run: @escaping @Sendable (@escaping @Sendable () -> Void) -> Void) {
        self.run = run
    }

    var inEventLoop: Bool { true }

    func execute(_ task: @escaping @Sendable () -> Void) {
        run(task)
    }

    func scheduleTask<T>(
        deadline: NIODeadline, _ task: @escaping @Sendable () throws -> T
    ) -> Scheduled<T> {
        preconditionFailure("a store has no timers")
    }

    func scheduleTask<T>(in: TimeAmount, _ task: @escaping @Sendable () throws -> T) -> Scheduled<T> {
        preconditionFailure("a store has no timers")
    }

    func shutdownGracefully(queue: DispatchQueue, _ callback: @Sendable @escaping ((any Error)?) -> Void) {
        preconditionFailure("a simulated process ends by dying")
    }
}
