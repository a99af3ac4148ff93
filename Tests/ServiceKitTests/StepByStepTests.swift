import Idempotency
import Logging
import NIOCore
import NIOPosix
import Resilience
import Storage
import Synchronization
import TestSupport
import Testing

@testable import ServiceKit

@Suite("Work in steps", .timeLimit(.minutes(5)))
struct StepByStepTests {
    @Test(
        "between two steps there is a pause as long as the step, but not less than a millisecond and not more than a second"
    )
    func pauses() async throws {
        let test = try TestEnvironment(migrations: [])
        let lengths: [Duration] = [.zero, .milliseconds(7), .seconds(3600), .milliseconds(9)]
        var rest = lengths[...]
        try await test.environment.stepByStep {
            test.time.advance(by: rest.removeFirst())
            return !rest.isEmpty
        }
        #expect(test.sleeper.sleeps == [.milliseconds(1), .milliseconds(7), .seconds(1)])
    }

    @Test("a pause may be several times as long as the step, whenever that is wanted, and no longer than a second")
    func longerPauses() async throws {
        let test = try TestEnvironment(migrations: [])
        var factors = [9, 1, 9, 9][...]
        var rest = [.milliseconds(7), .milliseconds(7), .zero, .milliseconds(200), .zero] as ArraySlice<Duration>
        try await test.environment.stepByStep(pauses: { factors.removeFirst() }) {
            test.time.advance(by: rest.removeFirst())
            return !rest.isEmpty
        }
        #expect(test.sleeper.sleeps == [.milliseconds(63), .milliseconds(7), .milliseconds(1), .seconds(1)])
    }

    @Test("a step that fails is the last, and so is one whose task is cancelled")
    func ends() async throws {
        struct Failure: Error {}
        let test = try TestEnvironment(migrations: [])
        await #expect(throws: Failure.self) {
            try await test.environment.stepByStep { throw Failure() }
        }
        var steps = 0
        await #expect(throws: CancellationError.self) {
            try await test.environment.stepByStep {
                steps += 1
                withUnsafeCurrentTask { $0?.cancel() }
                return true
            }
        }
        #expect(steps == 1)
    }

    /// The loop runs what it is given until nothing is left before it reads a socket: without pauses, none would ever be read.
    @Test("while transactions are made one after another on the service's loop, its sockets are read")
    func socketsAreRead() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let server = try await ServerBootstrap(group: group)
            .childChannelInitializer { $0.pipeline.addHandler(Echo()) }
            .bind(host: "127.0.0.1", port: 0).get()
        let hasEchoed = Flag()
        let client = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { $0.pipeline.addHandler(Notice(hasEchoed)) }
            .connect(to: try #require(server.localAddress)).get()
        let executor = EventLoopTaskExecutor(loop)
        let opened = try SQLiteStore(path: nil, migrations: [], loop: loop)
        let environment = ServiceEnvironment(
            // A store that does everything on the loop, as small groups are committed there.
            store: SQLiteStore(adopting: opened.database, loop: loop),
            keys: MemoryIdempotencyStore(timeToLive: .seconds(1)),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, executor: executor)
        try await withTaskExecutorPreference(executor) {
            var steps = 0
            try await environment.stepByStep {
                steps += 1
                if steps == 3 { client.writeAndFlush(ByteBuffer(string: "?"), promise: nil) }
                _ = try await environment.store.transaction { try $0.run("CREATE TABLE IF NOT EXISTS t (x)", []) }
                return !hasEchoed.isSet && steps < 20_000
            }
        }
        #expect(hasEchoed.isSet)
        try await client.close().get()
        try await server.close().get()
        try await group.shutdownGracefully()
    }
}

/// Something that has happened.
private final class Flag: Sendable {
    private let value = Atomic(false)

    var isSet: Bool { value.load(ordering: .relaxed) }

    func set() { value.store(true, ordering: .relaxed) }
}

private final class Echo: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        context.writeAndFlush(data, promise: nil)
    }
}

private final class Notice: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    private let flag: Flag

    init(_ flag: Flag) { self.flag = flag }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { flag.set() }
}
