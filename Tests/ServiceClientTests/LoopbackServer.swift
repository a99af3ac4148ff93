import NIOCore
import NIOPosix
import Synchronization

/// A server on a port of its own that answers with bytes given in advance, right or wrong, and counts.
final class LoopbackServer: Sendable {
    /// What happens once a request is there.
    enum Answer: Sendable {
        /// These bytes are sent.
        case bytes(String)
        /// These bytes are sent, and the connection is closed.
        case bytesAndClose(String)
        /// Nothing is sent.
        case silence
    }

    private struct State {
        var connections = 0
        var requests: [String] = []
    }

    /// Where it listens.
    let url: String
    private let channel: any Channel
    private let state: StateBox

    /// State shared with the handlers of the connections.
    private final class StateBox: Sendable {
        let mutex = Mutex(State())
    }

    /// A server that gives the answer at each request's index; the last one is given to all further requests.
    init(_ answers: Answer...) async throws {
        let state = StateBox()
        self.state = state
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                state.mutex.withLock { $0.connections += 1 }
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        Handler { request in
                            let index = state.mutex.withLock { state in
                                state.requests.append(request)
                                return state.requests.count - 1
                            }
                            return answers[min(index, answers.count - 1)]
                        })
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        url = "http://127.0.0.1:\(channel.localAddress?.port ?? 0)"
    }

    /// Refuses new connections from now on; those that are there stay.
    func stopListening() async throws { try await channel.close() }

    deinit { channel.close(promise: nil) }

    /// How many connections were made.
    var connections: Int { state.mutex.withLock { $0.connections } }
    /// The requests, head and body as they came.
    var requests: [String] { state.mutex.withLock { $0.requests } }

    /// Collects bytes until a request is whole, by its `Content-Length`.
    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let answer: (String) -> Answer
        private var received = ""

        init(_ answer: @escaping (String) -> Answer) {
            self.answer = answer
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            received += String(buffer: unwrapInboundIn(data))
            guard isWhole else { return }
            let request = received
            received = ""
            switch answer(request) {
            case .bytes(let text):
                context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
            case .bytesAndClose(let text):
                let channel = context.channel
                context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)))
                    .whenComplete { _ in channel.close(promise: nil) }
            case .silence: break
            }
        }

        private var isWhole: Bool {
            let bytes = Array(received.utf8)
            let end = Array("\r\n\r\n".utf8)
            guard bytes.count >= 4,
                let start = (0...(bytes.count - 4)).first(where: { Array(bytes[$0..<$0 + 4]) == end })
            else { return false }
            let lines = String(decoding: bytes[..<start], as: UTF8.self).lowercased().split(separator: "\r\n")
            let length = lines.first { $0.hasPrefix("content-length:") }
                .flatMap { Int($0.dropFirst("content-length:".count).drop { $0 == " " }) }
            return bytes.count - start - 4 >= (length ?? 0)
        }
    }
}

extension LoopbackServer.Answer {
    /// A whole response with a body.
    static func response(_ status: String, body: String, headers: String = "") -> LoopbackServer.Answer {
        .bytes("HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\n\(headers)\r\n\(body)")
    }
}
