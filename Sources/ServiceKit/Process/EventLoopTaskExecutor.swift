import NIOCore

/// Runs Swift's tasks on one event loop, so that a request is read, decided and answered without changing threads.
/// Groups of transactions are committed beside it (decision 5).
public final class EventLoopTaskExecutor: TaskExecutor {
    private let loop: any EventLoop

    /// An executor on a loop, which must outlive it.
    public init(_ loop: any EventLoop) {
        self.loop = loop
    }

    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
