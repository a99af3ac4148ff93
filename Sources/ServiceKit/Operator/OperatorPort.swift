import Hummingbird
import NIOCore
import ServiceLifecycle
import StrictJSON

extension BuiltService {
    /// The operator's routes and their document: a catalogue of its own, served on a port of its own, which neither nginx
    /// nor the other services know.
    package func allOperatorRoutes() -> RouteCatalogue? {
        guard var routes = operatorRoutes, let service = routes.service else { return nil }
        var described = routes
        described.get("/openapi.json", as: .operatorsDocument) { _, _ in .json([]) }
        let document = OpenAPIDocument(service: service, routes: described.routes).json(for: .operators)
        routes.get("/openapi.json", as: .operatorsDocument) { _, _ in .json(document) }
        return routes
    }

    /// The router of the operator's port; nil for a service without such routes.
    package func operatorRouter(
        environment: ServiceEnvironment, drain: DrainState = DrainState()
    ) -> Router<ServiceContext>? {
        allOperatorRoutes().map { Self.router(of: $0, environment: environment, drain: drain) }
    }
}

/// The address cannot be bound.
struct CannotListen: Error {
    let address: String
    let cause: any Error
}

/// A server that says which address it could not have.
struct Listener: Service {
    let server: any Service
    let address: String

    func run() async throws {
        do {
            try await server.run()
        } catch let error
            where error is IOError || error is SocketAddressError || error is SocketAddressError.UnknownHost
        {
            throw CannotListen(address: address, cause: error)
        }
    }
}
