import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTPTypes
import Testing

@testable import ServiceKit

@Suite("Request read deadline")
struct RequestReadDeadlineTests {
    private let channel: EmbeddedChannel

    init() throws {
        channel = EmbeddedChannel(handlers: [WordDecoder(), RequestReadDeadlineHandler(limit: .seconds(10))])
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    }

    /// Bytes that arrive in one read.
    private func receive(_ words: String) throws {
        try channel.writeInbound(ByteBuffer(string: words))
    }

    private func wait(_ seconds: Int64) { channel.embeddedEventLoop.advanceTime(by: .seconds(seconds)) }

    private func respond(_ parts: HTTPResponsePart...) throws {
        for part in parts { try channel.writeOutbound(part) }
    }

    /// The statuses of what was sent.
    private func statuses() throws -> [Int] {
        var statuses: [Int] = []
        while let part = try channel.readOutbound(as: HTTPResponsePart.self) {
            if case .head(let head) = part { statuses.append(head.status.code) }
        }
        return statuses
    }

    @Test("a head that does not end in time is answered with 408 and the connection is closed (HT-16, hazard 62)")
    func slowHead() throws {
        try receive("piece")
        wait(9)
        #expect(channel.isActive)
        wait(1)
        #expect(!channel.isActive)
        #expect(try statuses() == [408])
    }

    @Test("a request that was answered before it had arrived is not answered again; its connection is closed")
    func answeredEarly() throws {
        try receive("head")
        try respond(.head(HTTPResponse(status: .contentTooLarge)), .end(nil))
        wait(10)
        #expect(!channel.isActive)
        #expect(try statuses() == [413])
    }

    @Test("the answer says that the connection is closed, and is a problem document")
    func answer() throws {
        try receive("head")
        wait(10)
        guard case .head(let head)? = try channel.readOutbound(as: HTTPResponsePart.self),
            case .body(let body)? = try channel.readOutbound(as: HTTPResponsePart.self),
            case .end? = try channel.readOutbound(as: HTTPResponsePart.self)
        else {
            Issue.record("there is no whole answer")
            return
        }
        #expect(head.status == .requestTimeout)
        #expect(head.headerFields[.connection] == "close")
        #expect(head.headerFields[.contentType] == "application/problem+json")
        #expect(head.headerFields[.contentLength] == String(body.readableBytes))
        #expect(String(buffer: body).contains(#""code":"request-timeout""#))
    }

    @Test("the answer names the request as it named itself, and its path (NX-04)")
    func named() throws {
        var head = HTTPRequest(method: .post, scheme: "http", authority: "test", path: "/charge?x=1")
        head.headerFields[.requestID] = "slow-body-1"
        let parts = Problem(.requestTimeout, "late").finalParts(to: head, allocator: ByteBufferAllocator())
        guard case .head(let answer) = parts[0], case .body(let body) = parts[1] else {
            Issue.record("there is no whole answer")
            return
        }
        #expect(answer.headerFields[.requestID] == "slow-body-1")
        let text = String(buffer: body)
        #expect(text.contains(#""requestId":"slow-body-1""#) && text.contains(#""instance":"/charge""#))
    }

    @Test("bytes that are part of no request end the connection before they are too many (INV-14)")
    func unread() throws {
        let piece = ByteBuffer(repeating: UInt8(ascii: " "), count: RequestReadDeadlineHandler.maximumUnread / 2)
        let channel = EmbeddedChannel(handlers: [WordDecoder(), RequestReadDeadlineHandler(limit: .seconds(10))])
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        try channel.writeInbound(piece)
        try channel.writeInbound(ByteBuffer(string: "head body end"))
        try channel.writeInbound(piece)
        try channel.writeInbound(piece)
        #expect(channel.isActive)
        _ = try? channel.writeInbound(ByteBuffer(string: " "))
        #expect(!channel.isActive)
    }

    @Test("pieces that keep coming do not put the deadline off")
    func trickle() throws {
        try receive("piece")
        for _ in 0..<9 {
            wait(1)
            try receive("piece")
        }
        #expect(channel.isActive)
        wait(1)
        #expect(!channel.isActive)
    }

    @Test("a body that does not end in time is cut off as well")
    func slowBody() throws {
        try receive("head body")
        wait(5)
        try receive("body")
        wait(5)
        #expect(!channel.isActive)
        #expect(try statuses() == [408])
    }

    @Test("a request that arrives whole is not timed, however long its answer takes")
    func wholeRequest() throws {
        try receive("head body end")
        wait(1000)
        #expect(channel.isActive)
        #expect(try statuses() == [])
    }

    @Test("a request that ends in time is not timed any more, and a connection may be idle after it")
    func requestInPieces() throws {
        try receive("piece")
        wait(9)
        try receive("head end")
        wait(60)
        #expect(channel.isActive)
    }

    @Test("each request of a connection has the whole time")
    func nextRequest() throws {
        try receive("piece")
        wait(9)
        try receive("head end")
        try respond(.head(HTTPResponse(status: .ok)), .end(nil))
        wait(9)
        try receive("piece")
        wait(9)
        #expect(channel.isActive)
        wait(1)
        #expect(!channel.isActive)
    }

    @Test("an answer that has begun is not mixed with another one")
    func answerBegun() throws {
        try receive("head body")
        try respond(.head(HTTPResponse(status: .contentTooLarge)))
        wait(10)
        #expect(!channel.isActive)
        #expect(try statuses() == [413])
    }

    @Test("the time of a request does not run while an earlier one is being answered, and begins anew after it")
    func behindAnother() throws {
        try receive("head end head")
        try receive("piece")
        wait(30)
        #expect(channel.isActive)
        #expect(try statuses() == [])
        try respond(.head(HTTPResponse(status: .ok)), .end(nil))
        wait(9)
        #expect(channel.isActive)
        wait(1)
        #expect(!channel.isActive)
        #expect(try statuses() == [200, 408])
    }

    @Test("a request that is answered early does not count as the answer to the next")
    func answeredEarlyThenNext() throws {
        try receive("head")
        try respond(.head(HTTPResponse(status: .contentTooLarge)), .end(nil))
        try receive("end head")
        wait(10)
        #expect(!channel.isActive)
        #expect(try statuses() == [413, 408])
    }
}

/// Stands for the HTTP decoder: one word is one part, `piece` is not yet any.
private final class WordDecoder: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = HTTPRequestPart

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        for word in String(buffer: unwrapInboundIn(data)).split(separator: " ") {
            switch word {
            case "head":
                let head = HTTPRequest(method: .post, scheme: "http", authority: "localhost", path: "/")
                context.fireChannelRead(wrapInboundOut(.head(head)))
            case "body": context.fireChannelRead(wrapInboundOut(.body(ByteBuffer(string: "x"))))
            case "end": context.fireChannelRead(wrapInboundOut(.end(nil)))
            default: break
            }
        }
    }
}
