import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import ServiceKit
import StrictJSON

/// Sends requests to a service's routes, without a socket, and reads the JSON that comes back.
public struct RouteClient: Sendable {
    private let client: any TestClientProtocol

    init(_ client: any TestClientProtocol) {
        self.client = client
    }

    /// A `GET`.
    public func get(_ path: String, user: String? = nil) async throws -> RouteResponse {
        try await send(.get, path, headers: Self.headers(user: user))
    }

    /// A `POST` with a JSON body. - Parameter headers: further headers by name.
    public func post(
        _ path: String, _ body: String, key: String? = nil, user: String? = nil, headers: [String: String] = [:]
    ) async throws -> RouteResponse {
        try await send(.post, path, headers: Self.headers(key: key, user: user, more: headers), body: body)
    }

    /// A `PUT` with a JSON body.
    public func put(_ path: String, _ body: String) async throws -> RouteResponse {
        try await send(.put, path, headers: Self.headers(), body: body)
    }

    private static func headers(
        key: String? = nil, user: String? = nil, more: [String: String] = [:]
    ) -> [String: String] {
        var headers = more
        headers["Idempotency-Key"] = key
        headers["X-User-ID"] = user
        return headers
    }

    private func send(
        _ method: HTTPRequest.Method, _ path: String, headers: [String: String], body: String? = nil
    ) async throws -> RouteResponse {
        var fields: HTTPFields = [:]
        if body != nil { fields[.contentType] = "application/json" }
        for (name, value) in headers {
            guard let name = HTTPField.Name(name) else { preconditionFailure("\(name) is not a header's name") }
            fields[name] = value
        }
        let response = try await client.executeRequest(
            uri: path, method: method, headers: fields, body: body.map { ByteBuffer(string: $0) })
        return RouteResponse(
            status: Int(response.status.code), headers: response.headers, body: Array(response.body.readableBytesView))
    }
}

/// What a route answered.
public struct RouteResponse: Sendable {
    /// The HTTP status.
    public let status: Int
    /// The headers.
    public let headers: HTTPFields
    /// The body's bytes.
    public let body: [UInt8]

    /// A header's value.
    public func header(_ name: String) -> String? { HTTPField.Name(name).flatMap { headers[$0] } }

    /// Whether the answer was kept from an earlier request with the key (IK-11).
    public var isReplayed: Bool { header("Idempotent-Replayed") == "true" }

    /// The code of a problem document.
    public var code: String? { text("code") }

    /// The value at a path of names and indices, for example `lines/0/quantity`; nil when there is none.
    public func value(_ path: String) -> JSONValue? {
        var value = try? JSONParser.parse(body)
        for component in path.split(separator: "/") {
            switch value {
            case .object(let members): value = members.first { $0.name == component }?.value
            case .array(let elements):
                value = Int(component).flatMap { elements.indices.contains($0) ? elements[$0] : nil }
            default: return nil
            }
        }
        return value
    }

    /// The string at a path.
    public func text(_ path: String) -> String? {
        guard case .string(let text) = value(path) else { return nil }
        return text
    }

    /// The number at a path, as it is written.
    public func number(_ path: String) -> String? {
        guard case .number(let text) = value(path) else { return nil }
        return text
    }

    /// The whole number at a path.
    public func integer(_ path: String) -> Int64? { number(path).flatMap { Int64($0) } }

    /// How many elements the array at a path has.
    public func count(_ path: String) -> Int? {
        guard case .array(let elements) = value(path) else { return nil }
        return elements.count
    }

    /// The names of the object's members, in their order.
    public func names(_ path: String = "") -> [String]? {
        guard case .object(let members) = value(path) else { return nil }
        return members.map(\.name)
    }
}

extension BuiltService {
    /// Runs a test against the service's routes.
    public func test<Value>(
        in environment: ServiceEnvironment, _ body: @Sendable (RouteClient) async throws -> Value
    ) async throws -> Value {
        try await Application(router: router(environment: environment)).test(.router) { client in
            try await body(RouteClient(client))
        }
    }
}
