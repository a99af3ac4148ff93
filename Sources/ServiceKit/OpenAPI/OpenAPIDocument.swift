import HTTPTypes
import OpenAPI
import StrictJSON

/// The OpenAPI 3.1 document of one service, made from its routes.
struct OpenAPIDocument {
    let service: APIDescription
    let routes: [RouteCatalogue.Route]

    private typealias Member = JSONValue.Member

    /// The document's bytes.
    ///
    /// - Parameter audience: whose routes are in it. Those for operators are not in the document for clients, since nginx
    ///   would answer them all with 404.
    func json(for audience: APIOperation.Audience) -> [UInt8] {
        let described = routes.filter { $0.operation?.audience == audience }
        var members: [Member] = [
            .init("openapi", .string("3.1.0")), .init("info", info(audience)), .init("servers", servers(audience)),
            .init("paths", paths(described)), .init("components", components(described)),
            .init("x-problems", problemKinds),
        ]
        if audience == .operators { members.removeLast() }
        return JSONWriter.bytes { $0.value(.object(members)) }
    }

    // MARK: - Head

    private func info(_ audience: APIOperation.Audience) -> JSONValue {
        .object([
            .init("title", .string(audience == .clients ? service.title : "\(service.title), for operators")),
            .init("version", .string(checkoutVersion)),
            .init("description", .string(service.description + (audience == .clients ? Self.common : Self.inside))),
        ])
    }

    private func servers(_ audience: APIOperation.Audience) -> JSONValue {
        let direct = server("http://127.0.0.1:\(service.port)", "The service itself, without a setting for its port")
        let isPublic = audience == .clients && service.isBehindNginx
        return .array(isPublic ? [server("/\(service.name)", "Through nginx"), direct] : [direct])
    }

    private func server(_ url: String, _ description: String) -> JSONValue {
        .object([.init("url", .string(url)), .init("description", .string(description))])
    }

    // MARK: - Paths

    private func paths(_ routes: [RouteCatalogue.Route]) -> JSONValue {
        var paths: [(path: String, operations: [Member])] = []
        for route in routes {
            guard let operation = route.operation else { continue }
            let member = Member(route.method.rawValue.lowercased(), OperationWriter(route, operation).json)
            let path = Self.template(route.path)
            if let index = paths.firstIndex(where: { $0.path == path }) {
                paths[index].operations.append(member)
            } else {
                paths.append((path, [member]))
            }
        }
        return .object(paths.map { Member($0.path, .object($0.operations)) })
    }

    /// `/items/:id` is `/items/{id}` here.
    static func template(_ path: String) -> String {
        path.split(separator: "/", omittingEmptySubsequences: false)
            .map { $0.hasPrefix(":") ? "{\($0.dropFirst())}" : String($0) }.joined(separator: "/")
    }

    // MARK: - Components

    private func components(_ routes: [RouteCatalogue.Route]) -> JSONValue {
        var schemas: [String: Schema] = [:]
        Problem.schema.collect(into: &schemas)
        for operation in routes.compactMap(\.operation) {
            operation.body?.collect(into: &schemas)
            operation.answers.forEach { $0.schema.collect(into: &schemas) }
            operation.parameters.forEach { $0.schema.collect(into: &schemas) }
        }
        return .object([
            .init(
                "schemas",
                .object(schemas.sorted { $0.key < $1.key }.map { Member($0.key, $0.value.definition) })),
            .init("parameters", .object(APIHeader.request.map { Member($0.component, $0.parameter) })),
            .init("headers", .object(APIHeader.response.map { Member($0.component, $0.header) })),
        ])
    }

    /// Every problem type, for the docs page; also those that only nginx answers.
    private var problemKinds: JSONValue {
        .array(
            ProblemKind.allCases.sorted { ($0.status.code, $0.rawValue) < ($1.status.code, $1.rawValue) }.map { kind in
                .object([
                    .init("type", .string("/problems/\(kind.rawValue)")), .init("code", .string(kind.rawValue)),
                    .init("status", .number(String(kind.status.code))), .init("title", .string(kind.title)),
                    .init("retryable", .bool(kind.retryAfterSeconds != nil)), .init("meaning", .string(kind.meaning)),
                ])
            })
    }

    private static let common = """


        Every error is a problem document (RFC 9457). If `retryable` is true, send the same request with the same \
        `Idempotency-Key` again after `Retry-After` seconds: it is always safe. `HEAD` is answered wherever `GET` is. \
        Amounts inside an object are whole minor units (cents); a bare number is an exact decimal of `currency`, or \
        of US dollars where there is no such member. Whole numbers are written without a point.
        """
    private static let inside = "\n\nThese routes are for those inside: nginx answers 404 for them."
}

extension Problem {
    /// A problem document.
    static let schema = Schema.object(
        "A problem document (RFC 9457).",
        [
            .required("type", .string("The problem's page: `/problems/<code>`.", format: "uri-reference")),
            .required("title", .string("The same for every problem of the type.")),
            .required("status", .integer("The HTTP status.", in: 400...599)),
            .required("detail", .string("What went wrong with this request, for a person.")),
            .required("instance", .string("The path that was asked for.")),
            .required("code", .word("The last part of `type`.", of: ProblemKind.allCases.map(\.rawValue))),
            .required("retryable", .boolean("Whether sending the same request again may help.")),
            .required("requestId", .string("Names the request in the logs of every service.")),
            .optional("declineCode", .string("Why the provider declined; with `payment-declined`.")),
            .optional(
                "errors",
                .array(
                    "Where a command is not valid; with `validation-failed`.",
                    of: .object([
                        .required(
                            "pointer", .string("A JSON Pointer in a URI fragment, such as `#/lines/0/quantity`.")),
                        .required("detail", .string("What is expected there.")),
                    ]))),
        ]
    ).named("Problem")
}
