import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import ServiceKit
import ServiceLifecycle
import StrictJSON
import TestSupport
import Testing

/// A service of a few routes behind the common envelope, called without a network.
struct ServiceFixture {
    let test: TestEnvironment
    let drain: DrainState
    private let application: Application<WholeRequests>

    init(
        _ test: TestEnvironment, drain: DrainState = DrainState(), checks: [HealthCheck] = [],
        routes: (inout RouteCatalogue) -> Void = { _ in }
    ) {
        var catalogue = RouteCatalogue()
        routes(&catalogue)
        self.test = test
        self.drain = drain
        let service = BuiltService(routes: catalogue, checks: checks)
        application = WholeRequests.application(service.router(environment: test.environment, drain: drain))
    }

    /// The answer to one request.
    func answer(
        _ method: HTTPRequest.Method, _ uri: String, headers: HTTPFields = [:], body: String? = nil
    ) async throws -> Answer {
        try await application.test(.router) { client in
            try await client.execute(
                uri: uri, method: method, headers: headers, body: body.map { ByteBuffer(string: $0) }
            ) { response in
                Answer(
                    status: response.status.code, headers: response.headers, body: String(buffer: response.body))
            }
        }
    }
}

/// An answer as a client sees it.
struct Answer: Sendable {
    let status: Int
    let headers: HTTPFields
    let body: String

    /// A header, if it is there once.
    func header(_ name: String) -> String? {
        guard let name = HTTPField.Name(name) else { return nil }
        let values = headers[values: name]
        return values.count == 1 ? values[0] : nil
    }

    /// A member of the body.
    func member(_ name: String) throws -> JSONValue? {
        guard case .object(let members) = try JSONParser.parse(body.utf8).tree else { return nil }
        return members.first { $0.name == name }?.value
    }

    /// Checks that the body is a problem document of this kind.
    func expectProblem(_ kind: ProblemKind, sourceLocation: SourceLocation = #_sourceLocation) throws {
        #expect(status == kind.status.code, sourceLocation: sourceLocation)
        #expect(header("Content-Type") == "application/problem+json", sourceLocation: sourceLocation)
        #expect(try member("code") == .string(kind.rawValue), sourceLocation: sourceLocation)
        #expect(try member("status") == .number(String(kind.status.code)), sourceLocation: sourceLocation)
    }
}

extension HTTPFields {
    /// Headers by name, in order and with repetitions.
    init(_ lines: [(name: String, value: String)]) throws {
        self.init()
        for line in lines {
            append(HTTPField(name: try #require(HTTPField.Name(line.name)), value: line.value))
        }
    }
}

extension DrainState {
    /// The state of a service that has been told to stop.
    static func stopped(onDrain: @escaping @Sendable () -> Void = {}) async throws -> DrainState {
        let drain = DrainState(onDrain: onDrain)
        let (started, start) = AsyncStream.makeStream(of: Void.self)
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [drain, StartSignal(continuation: start)],
                logger: Logger(label: "lifecycle") { _ in SwiftLogNoOpLogHandler() }))
        try await withThrowingTaskGroup { tasks in
            tasks.addTask { try await group.run() }
            // A group that is stopped before it has started would never start.
            for await _ in started { break }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
        return drain
    }
}

/// Tells that the services have been started.
private struct StartSignal: Service {
    let continuation: AsyncStream<Void>.Continuation

    func run() async throws {
        continuation.yield()
        try? await gracefulShutdown()
    }
}
