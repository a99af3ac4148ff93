import HTTPTypes
import NIOCore
import NIOHTTPTypes

/// Gives a body to the answer for a request that is not well-formed HTTP: the server knows only an empty 400 for it, since
/// there is no request to hand to a route.
final class ParserErrorHandler: ChannelOutboundHandler, RemovableChannelHandler {
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard case .head(let head) = unwrapOutboundIn(data), head.status == .badRequest,
            head.headerFields[.contentLength] == "0", head.headerFields[.contentType] == nil
        else { return context.write(data, promise: promise) }

        let problem = Problem(.badRequest, "The request is not well-formed HTTP.")
        // The server's own end of the answer follows.
        for part in problem.finalParts(allocator: context.channel.allocator).dropLast() {
            context.write(wrapOutboundOut(part), promise: nil)
        }
        promise?.succeed()
    }
}
