import HTTPTypes
import Hummingbird
import ServiceKit
import StrictJSON

extension BuiltService {
    /// Where the service's two OpenAPI documents and its routes differ, as a person would say it; empty when they agree.
    public func faultsOfDocuments(in environment: ServiceEnvironment) async throws -> [String] {
        let (clients, operators) = try await test(in: environment) { client in
            (try await client.get("/openapi.json"), try await client.get("/internal/openapi.json"))
        }
        let all = allRoutes(environment: environment, drain: DrainState())
        let faults = Self.faults(of: all, clients: clients, operators: operators)
        guard let inside = allOperatorRoutes() else { return faults }
        let document = try await testOperators(in: environment) { try await $0.get("/openapi.json") }
        let none = RouteResponse(status: 404, headers: [:], body: [])
        return faults + Self.faults(of: inside, clients: none, operators: document)
    }

    private static func faults(
        of catalogue: RouteCatalogue, clients: RouteResponse, operators: RouteResponse
    ) -> [String] {
        var faults: [String] = []
        var known: Set<String> = []
        var ids: Set<String> = []
        for route in catalogue.routes {
            let segments = route.path.split(separator: "/")
            let names = segments.filter { $0.hasPrefix(":") }.map { $0.dropFirst() }
            let path = "/" + segments.map { $0.hasPrefix(":") ? "{\($0.dropFirst())}" : $0 }.joined(separator: "/")
            let name = "\(route.method.rawValue) \(path)"
            known.insert(name)
            let described = [clients, operators].compactMap { $0.operation(path, route.method.rawValue.lowercased()) }
            guard described.count == 1, let operation = described.first else {
                faults.append("\(name) is in \(described.count) documents: declare it with `as:` and an APIOperation")
                continue
            }
            let parameters = Set(operation.member("parameters")?.elements.compactMap { $0.member("name")?.text } ?? [])
            for name in names where !parameters.contains(String(name)) {
                faults.append("\(path) has the parameter \(name), which is not described")
            }
            guard let id = operation.member("operationId")?.text, ids.insert(id).inserted else {
                faults.append("\(name) has no operationId of its own")
                continue
            }
            if described.first == clients.operation(path, route.method.rawValue.lowercased()),
                let body = operation.member("requestBody"), !body.hasExample
            {
                faults.append("\(name) takes a body of which there is no example, or one that is no JSON")
            }
        }
        for name in clients.operationNames + operators.operationNames where !known.contains(name) {
            faults.append("\(name) is described and is no route")
        }
        return faults
    }
}

extension RouteResponse {
    fileprivate var paths: [JSONValue.Member] { (try? JSONParser.parse(body).tree)?.member("paths")?.members ?? [] }

    fileprivate func operation(_ path: String, _ method: String) -> JSONValue? {
        paths.first { $0.name == path }?.value.member(method)
    }

    fileprivate var operationNames: [String] {
        paths.flatMap { path in path.value.members.map { "\($0.name.uppercased()) \(path.name)" } }
    }
}

extension JSONValue {
    fileprivate var members: [Member] {
        guard case .object(let members) = self else { return [] }
        return members
    }

    fileprivate var elements: [JSONValue] {
        guard case .array(let elements) = self else { return [] }
        return elements
    }

    fileprivate var text: String? {
        guard case .string(let text) = self else { return nil }
        return text
    }

    fileprivate func member(_ name: String) -> JSONValue? { members.first { $0.name == name }?.value }

    fileprivate var hasExample: Bool {
        member("content")?.member("application/json")?.member("examples")?.member("usual")?.member("value") != nil
    }
}
