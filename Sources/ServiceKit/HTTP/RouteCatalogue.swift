import Hummingbird

/// A service's routes, declared once: the router serves them and the problem for a wrong method lists them (HT-09).
public struct RouteCatalogue: Sendable {
    /// One route.
    public struct Route: Sendable {
        /// The method.
        public let method: HTTPRequest.Method
        /// The path, with `:name` for a parameter.
        public let path: String
        let handle: @Sendable (Request, ServiceContext) async throws -> Response
    }

    /// In the order of their declaration.
    public private(set) var routes: [Route] = []

    /// No routes.
    public init() {}

    /// Declares a `GET` route; `HEAD` comes with it (HT-11).
    public mutating func get(
        _ path: String, _ handle: @escaping @Sendable (Request, ServiceContext) async throws -> Response
    ) {
        routes.append(Route(method: .get, path: path, handle: handle))
    }

    /// Declares a `POST` route.
    public mutating func post(
        _ path: String, _ handle: @escaping @Sendable (Request, ServiceContext) async throws -> Response
    ) {
        routes.append(Route(method: .post, path: path, handle: handle))
    }

    /// Declares a `PUT` route.
    public mutating func put(
        _ path: String, _ handle: @escaping @Sendable (Request, ServiceContext) async throws -> Response
    ) {
        routes.append(Route(method: .put, path: path, handle: handle))
    }

    /// The methods that the path of a request has routes for.
    func methods(at path: String) -> [String] {
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
