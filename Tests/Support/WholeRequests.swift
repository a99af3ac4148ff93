import Hummingbird
import Logging
import ServiceKit

/// Hands a router the requests of a test as the channel of a service would: with the whole body, or without one that is too large.
public struct WholeRequests: HTTPResponder {
    private let responder: RouterResponder<ServiceContext>

    public func respond(to request: Request, context: ServiceContext) async throws -> Response {
        let body = try await request.body.collect(upTo: .max)
        var context = context
        context.take(body: body.readableBytes > request.maximumBodyBytes ? nil : body)
        return try await responder.respond(to: request, context: context)
    }

    /// A service's router, to be called without a network.
    public static func application(_ router: Router<ServiceContext>) -> Application<WholeRequests> {
        Application(
            responder: WholeRequests(responder: router.buildResponder()),
            logger: Logger(label: "hummingbird") { _ in SwiftLogNoOpLogHandler() })
    }
}
