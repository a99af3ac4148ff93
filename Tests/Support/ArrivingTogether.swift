import NIOCore
import ServiceKit

/// Runs tasks so that all of them reach a store on `loop` within one turn of the loop, as those of a busy service do: the
/// store runs them in one group, or in several of `SQLiteStore.usualGroup`, in their order. - Returns: what they returned, in their order.
public func arrivingTogether<T: Sendable>(
    on loop: any EventLoop, count: Int, _ work: @escaping @Sendable (Int) async -> T
) async -> [T] {
    await withTaskExecutorPreference(EventLoopTaskExecutor(loop)) {
        await withTaskGroup(of: (Int, T).self) { group in
            // The loop runs jobs in the order they came: each task's first part before what that part puts on the loop.
            for index in 0..<count { group.addTask { (index, await work(index)) } }
            var results: [Int: T] = [:]
            for await (index, result) in group { results[index] = result }
            return (0..<count).compactMap { results[$0] }
        }
    }
}
