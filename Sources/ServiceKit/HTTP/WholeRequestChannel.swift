import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypesHTTP1
import Synchronization

/// A connection whose requests are handed to the router whole, and whose answers are written whole.
///
/// The server's own channel passes every part of a request through an asynchronous sequence to a task of the connection, and every
/// answer back through an asynchronous writer, so that bodies may be streams. No route here has one: all read the whole body before they look
/// at it (HT-08) and make the whole answer before it is sent. What a request costs on that way, decision 22 has.
///
/// Everything before that is the server's: its decoder with its limits. Idle connections, and those that are to end when the service stops, are
/// ended here, since only here is known whether a client has what it was sent.
struct WholeRequestChannel: ServerChildChannel {
    struct Connection: ServerChildChannelValue {
        let channel: any Channel
        let running: RunningRequest
    }

    let respond: WholeRequestHandler.Responder
    /// Where requests are answered: on the event loop of the connections.
    let executor: any TaskExecutor
    let idleTimeout: TimeAmount
    let readTimeout: TimeAmount
    let limits: NIOHTTPDecoderLimitConfiguration

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Connection> {
        channel.eventLoop.makeCompletedFuture {
            let pipeline = channel.pipeline.syncOperations
            try pipeline.configureHTTPServerPipeline(
                withPipeliningAssistance: false, withErrorHandling: false, withOutboundHeaderValidation: false,
                withEncoderConfiguration: .init(), withDecoderLimitConfiguration: limits)
            try pipeline.addHandler(HTTP1ToHTTPServerCodec(secure: false))
            try pipeline.addHandler(RequestReadDeadlineHandler(limit: readTimeout))
            let running = RunningRequest()
            try pipeline.addHandler(
                WholeRequestHandler(
                    on: channel, executor: executor, idleTimeout: idleTimeout, running: running, respond: respond))
            return Connection(channel: channel, running: running)
        }
    }

    func handle(value: Connection, logger: Logger) async {
        await withTaskCancellationHandler {
            try? await value.channel.closeFuture.get()
            // A stop waits for requests, also for those whose client is gone.
            await value.running.end()
        } onCancel: {
            value.channel.close(mode: .input, promise: nil)
        }
    }
}

/// The request that is being answered on a connection. It may take longer than the connection lasts.
final class RunningRequest: Sendable {
    private let task = Mutex<Task<Void, Never>?>(nil)

    func set(_ task: Task<Void, Never>) { self.task.withLock { $0 = task } }

    /// Returns when the last request has been answered.
    func end() async { await task.withLock { $0 }?.value }
}
