import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import NIOPosix
import ServiceClient
import ServiceKit
import StrictJSON

/// Sends requests to a service's routes, without a socket, and reads the JSON that comes back.
public struct RouteClient: Sendable {
    private let client: any TestClientProtocol
    private var sendsBatches = false

    init(_ client: any TestClientProtocol) {
        self.client = client
    }

    /// The same client, but what it posts are commands that it sends as other services do: each in a batch of its own first,
    /// and then in a request of its own if that is what the service asks for.
    public var batching: RouteClient {
        var client = self
        client.sendsBatches = true
        return client
    }

    /// A `GET`.
    public func get(_ path: String, user: String? = nil) async throws -> RouteResponse {
        try await send(.get, path, headers: Self.headers(user: user))
    }

    /// A `POST` with a JSON body. - Parameter headers: further headers by name.
    public func post(
        _ path: String, _ body: String, key: String? = nil, user: String? = nil, headers: [String: String] = [:]
    ) async throws -> RouteResponse {
        if sendsBatches {
            let command = BatchedCommand(path, body, key: key, user: user, requestID: headers["X-Request-ID"])
            let batch = try await batch([command], headers: headers.filter { $0.key == "X-Request-Timeout-Ms" })
            if batch.value("answers/0/alone") == nil { return batch.onlyAnswer() }
        }
        return try await send(.post, path, headers: Self.headers(key: key, user: user, more: headers), body: body)
    }

    /// A `POST` of several commands together. The answers are at `answers/0`, `answers/1` and so on.
    public func batch(
        _ commands: [BatchedCommand], headers: [String: String] = [:]
    ) async throws -> RouteResponse {
        let body = JSONWriter.bytes { json in
            json.object { json in json.array("commands") { json in commands.forEach { $0.write(to: &json) } } }
        }
        return try await post(batch: String(decoding: body, as: UTF8.self), headers: headers)
    }

    /// A `POST` of the text of a batch.
    public func post(batch: String, headers: [String: String] = [:]) async throws -> RouteResponse {
        try await send(.post, CommandBatch.path, headers: headers, body: batch)
    }

    /// A batch whose commands reach the store in their order.
    public func batchInOrder(_ commands: [BatchedCommand]) async throws -> RouteResponse {
        try await withTaskExecutorPreference(EventLoopTaskExecutor(MultiThreadedEventLoopGroup.singleton.any())) {
            try await batch(commands)
        }
    }

    /// Sends commands one after another, each in a request of its own, and puts the answers together as a batch has them.
    public func oneByOne(_ commands: [BatchedCommand]) async throws -> [UInt8] {
        var answers: [CommandBatch.Answer] = []
        for command in commands {
            var headers: [String: String] = [:]
            headers["X-Request-ID"] = command.requestID
            let answer = try await send(
                .post, command.path, headers: Self.headers(key: command.key, user: command.user, more: headers),
                body: command.body)
            let retryAfter = answer.header("Retry-After").flatMap { Int($0) }
            answers.append(.answered(status: answer.status, body: answer.body, retryAfter: retryAfter))
        }
        return CommandBatch.write(answers)
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

/// One command of a batch, as it is sent.
public struct BatchedCommand: Sendable {
    /// Its route.
    public let path: String
    /// The text of its body.
    public let body: String
    /// The value of its `Idempotency-Key`.
    public let key: String?
    /// The value of its `X-User-ID`.
    public let user: String?
    /// The value of its `X-Request-ID`.
    public let requestID: String?
    /// The value of its `traceparent`.
    public let traceparent: String?

    /// A command.
    public init(
        _ path: String, _ body: String, key: String? = nil, user: String? = nil, requestID: String? = nil,
        traceparent: String? = nil
    ) {
        self.path = path
        self.body = body
        self.key = key
        self.user = user
        self.requestID = requestID
        self.traceparent = traceparent
    }

    fileprivate func write(to json: inout JSONWriter) {
        json.object { json in
            json.string("path", path)
            if let key { json.string("key", key) }
            if let user { json.string("user", user) }
            if let requestID { json.string("requestId", requestID) }
            if let traceparent { json.string("traceparent", traceparent) }
            json.name("body")
            json.raw(Array(body.utf8))
        }
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

    /// The answer to the only command of a batch, to the byte. A request that was refused whole is its own answer.
    fileprivate func onlyAnswer() -> RouteResponse {
        guard let answerStatus = integer("answers/0/status") else { return self }
        var headers: HTTPFields = [:]
        headers[.retryAfter] = number("answers/0/retryAfter")
        let name = Array(#""body":"#.utf8)
        guard let start = body.firstRange(of: name)?.upperBound else { return self }
        return RouteResponse(status: Int(answerStatus), headers: headers, body: Array(body[start...].dropLast(3)))
    }

    /// A header's value.
    public func header(_ name: String) -> String? { HTTPField.Name(name).flatMap { headers[$0] } }

    /// Whether the answer was kept from an earlier request with the key (IK-11).
    public var isReplayed: Bool { header("Idempotent-Replayed") == "true" }

    /// The code of a problem document.
    public var code: String? { text("code") }

    /// The value at a path of names and indices, for example `lines/0/quantity`; nil when there is none.
    public func value(_ path: String) -> JSONValue? {
        var value = try? JSONParser.parse(body).tree
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
    /// Runs a test against the service's routes for operators.
    public func testOperators<Value>(
        in environment: ServiceEnvironment, _ body: @Sendable (RouteClient) async throws -> Value
    ) async throws -> Value {
        guard let router = operatorRouter(environment: environment) else {
            preconditionFailure("the service has no routes for operators")
        }
        return try await WholeRequests.application(router).test(.router) { client in
            try await body(RouteClient(client))
        }
    }

    /// Runs a test against the service's routes.
    public func test<Value>(
        in environment: ServiceEnvironment, _ body: @Sendable (RouteClient) async throws -> Value
    ) async throws -> Value {
        try await WholeRequests.application(router(environment: environment)).test(.router) { client in
            try await body(RouteClient(client))
        }
    }
}
