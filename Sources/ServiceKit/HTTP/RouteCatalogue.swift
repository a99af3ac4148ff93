import Hummingbird
import Idempotency
import ServiceClient

/// A service's routes, declared once: the router serves them, the problem for a wrong method lists them (HT-09), and the
/// OpenAPI document describes them.
public struct RouteCatalogue: Sendable {
    /// One route.
    public struct Route: Sendable {
        /// The method.
        public let method: HTTPRequest.Method
        /// The path, with `:name` for a parameter.
        public let path: String
        /// What the document says of it; a service's tests see to it that there is something.
        public let operation: APIOperation?
        /// Whether it refuses requests without an `Idempotency-Key`.
        public let needsKey: Bool
        let handle: @Sendable (Request, ServiceContext) async throws -> Response
    }

    /// In the order of their declaration.
    public private(set) var routes: [Route] = []
    /// Those of the routes that take commands, by path.
    package private(set) var commands: [String: CommandRoute] = [:]
    /// Whose routes these are; without it there is no document.
    public let service: APIDescription?

    /// No routes.
    public init(of service: APIDescription? = nil) {
        self.service = service
    }

    /// Declares a `GET` route; `HEAD` comes with it (HT-11).
    public mutating func get(
        _ path: String, as operation: APIOperation? = nil,
        _ handle: @escaping @Sendable (Request, ServiceContext) async throws -> Response
    ) {
        routes.append(Route(method: .get, path: path, operation: operation, needsKey: false, handle: handle))
    }

    /// Declares a `POST` route.
    public mutating func post(
        _ path: String, as operation: APIOperation? = nil,
        _ handle: @escaping @Sendable (Request, ServiceContext) async throws -> Response
    ) {
        routes.append(Route(method: .post, path: path, operation: operation, needsKey: false, handle: handle))
    }

    /// Declares a `POST` route that needs an `Idempotency-Key` (IK-01) and something else of the request besides its body,
    /// such as a part of its path.
    public mutating func keyedPost(
        _ path: String, as operation: APIOperation? = nil,
        _ handle: @escaping @Sendable (Request, ServiceContext, IdempotencyKey) async throws -> Response
    ) {
        routes.append(
            Route(method: .post, path: path, operation: operation, needsKey: true) { request, context in
                try await handle(request, context, try request.idempotencyKey())
            })
    }

    /// Declares a `PUT` route.
    public mutating func put(
        _ path: String, as operation: APIOperation? = nil,
        _ handle: @escaping @Sendable (Request, ServiceContext) async throws -> Response
    ) {
        routes.append(Route(method: .put, path: path, operation: operation, needsKey: false, handle: handle))
    }

    /// Declares a command: a `POST` route whose handler serves requests and batches alike.
    public mutating func command(
        _ path: String, as operation: APIOperation? = nil,
        _ handle: @escaping @Sendable (Command) async throws -> CommandReply
    ) {
        add(path, operation, isKeyed: false, handle)
    }

    /// Declares a command that needs an `Idempotency-Key` (IK-01).
    public mutating func keyedCommand(
        _ path: String, as operation: APIOperation? = nil,
        _ handle: @escaping @Sendable (Command, IdempotencyKey) async throws -> CommandReply
    ) {
        add(path, operation, isKeyed: true) { command in
            guard let key = command.key else { throw Problem.keyMissing }
            return try await handle(command, key)
        }
    }

    private mutating func add(
        _ path: String, _ operation: APIOperation?, isKeyed: Bool, _ handle: @escaping Command.Handler
    ) {
        commands[path] = CommandRoute(isKeyed: isKeyed, handle: handle)
        let route = Route(method: .post, path: path, operation: operation, needsKey: isKeyed) { request, context in
            let key = isKeyed ? try request.idempotencyKey() : nil
            let command = Command(
                key: key, body: try request.json(context), isBatched: false, requestID: context.requestID,
                trace: context.trace, user: context.user, deadline: context.deadline, notes: context.notes)
            return .command(try await handle(command))
        }
        routes.append(route)
    }

    /// Takes the commands declared so far in batches as well, at `CommandBatch.path`.
    public mutating func acceptBatches(in environment: ServiceEnvironment) {
        let route = BatchRoute(
            commands: commands, time: environment.time,
            logs: RequestLogs(environment.logger, metrics: environment.registry.map { .ofBatches($0) }),
            traces: environment.traces)
        post(CommandBatch.path, as: .batch) { request, context in
            let body = try request.json(context)
            return .json(await route.answer(try CommandBatch.commands(json: body), until: context.deadline))
        }
    }

    /// The methods that the path of a request has routes for. A route that spells the path out hides those that take a part of
    /// it for a parameter, as in the router.
    func methods(at path: String) -> [String] {
        let exact = methods(at: path, of: routes.filter { $0.path == path })
        return exact.isEmpty ? methods(at: path, of: routes) : exact
    }

    private func methods(at path: String, of routes: [Route]) -> [String] {
        let segments = path.split(separator: "/", omittingEmptySubsequences: false)
        var methods: [String] = []
        for route in routes {
            let template = route.path.split(separator: "/", omittingEmptySubsequences: false)
            let matches =
                template.count == segments.count
                && zip(template, segments).allSatisfy { $0.hasPrefix(":") ? !$1.isEmpty : $0 == $1 }
            guard matches else { continue }
            methods.append(route.method.rawValue)
            if route.method == .get { methods.append("HEAD") }
        }
        return methods
    }
}
