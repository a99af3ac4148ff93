import NIOCore
import NIOPosix
import ServiceKit
import Testing

@Suite("Event loop task executor")
struct EventLoopTaskExecutorTests {
    @Test("a task with this preference runs on the loop, also after it has waited, and so do its children")
    func runsOnLoop() async {
        let loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.any()
        let onLoop = await withTaskExecutorPreference(EventLoopTaskExecutor(loop)) {
            var onLoop = [loop.inEventLoop]
            await Task.yield()
            onLoop.append(loop.inEventLoop)
            async let child = loop.inEventLoop
            onLoop.append(await child)
            return onLoop
        }
        #expect(onLoop == [true, true, true])
        #expect(!loop.inEventLoop)
    }
}
