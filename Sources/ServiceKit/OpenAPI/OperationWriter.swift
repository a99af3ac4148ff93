import HTTPTypes
import OpenAPI
import StrictJSON

/// Writes one operation of a document.
struct OperationWriter {
    private let route: RouteCatalogue.Route
    private let operation: APIOperation

    private typealias Member = JSONValue.Member

    init(_ route: RouteCatalogue.Route, _ operation: APIOperation) {
        self.route = route
        self.operation = operation
    }

    var json: JSONValue {
        var members: [Member] = [
            .init("operationId", .string(operation.id)), .init("summary", .string(operation.summary)),
        ]
        if !operation.description.isEmpty { members.append(.init("description", .string(operation.description))) }
        members.append(.init("parameters", parameters))
        if let body = operation.body { members.append(.init("requestBody", requestBody(body))) }
        members.append(.init("responses", responses))
        return .object(members)
    }

    // MARK: - What it takes

    private var parameters: JSONValue {
        var parameters = operation.parameters.map { parameter in
            JSONValue.object([
                .init("name", .string(parameter.name)), .init("in", .string(parameter.place)),
                .init("required", .bool(parameter.place == "path")),
                .init("description", .string(parameter.description)), .init("schema", parameter.schema.json),
            ])
        }
        if route.needsKey {
            parameters.append(APIHeader.idempotencyKey.parameter(isRequired: true))
        } else if operation.mayHaveKey {
            parameters.append(APIHeader.idempotencyKey.reference("parameters"))
        }
        let others = [APIHeader.userID, .requestID, .traceparent]
        return .array(parameters + others.map { $0.reference("parameters") })
    }

    private func requestBody(_ body: Schema) -> JSONValue {
        var content: [Member] = [.init("schema", body.json)]
        if let example = operation.example.flatMap({ try? JSONParser.parse($0.utf8).tree }) {
            content.append(.init("examples", .object([.init("usual", .object([.init("value", example)]))])))
        }
        return .object([
            .init("required", .bool(true)),
            .init("content", .object([.init("application/json", .object(content))])),
        ])
    }

    // MARK: - What it answers

    /// What may stand in an answer of one status.
    private struct Response {
        var descriptions: [String] = []
        var headers: [APIHeader] = []
        var content: [Member] = []

        var json: JSONValue {
            .object([
                .init("description", .string(descriptions.joined(separator: " "))),
                .init("headers", .object(headers.map { .init($0.name, $0.reference("headers")) })),
                .init("content", .object(content)),
            ])
        }
    }

    private var responses: JSONValue {
        var responses: [Int: Response] = [:]
        for answer in operation.answers {
            var headers = [APIHeader.answeredRequestID]
            if answer.mediaType == "application/json" { headers.append(.cacheControl) }
            if route.needsKey || operation.mayHaveKey { headers.append(.replayed) }
            if answer.status == 202 { headers.append(.location) }
            responses[answer.status] = Response(
                descriptions: [answer.description], headers: headers,
                content: answer.status == 204 ? [] : [Self.content(answer.mediaType, answer.schema.json)])
        }
        for (status, kinds) in Dictionary(grouping: problems, by: { $0.status.code }) {
            add(kinds.sorted { $0.rawValue < $1.rawValue }, to: &responses[status, default: Response()])
        }
        return .object(responses.sorted { $0.key < $1.key }.map { Member(String($0.key), $0.value.json) })
    }

    private func add(_ kinds: [ProblemKind], to response: inout Response) {
        let codes = JSONValue.array(kinds.map { .string($0.rawValue) })
        let onlyThese = JSONValue.object([
            .init("properties", .object([.init("code", .object([.init("enum", codes)]))]))
        ])
        response.descriptions += kinds.map { "`\($0.rawValue)`: \($0.title)." }
        // Of a status with answers that are no problems, only the problems have the other headers.
        if response.headers.isEmpty { response.headers = [.answeredRequestID, .cacheControl] }
        if kinds.contains(where: { $0.retryAfterSeconds != nil }) { response.headers.append(.retryAfter) }
        if kinds.contains(.methodNotAllowed) { response.headers.append(.allow) }
        response.content.append(
            Self.content(
                "application/problem+json",
                .object([.init("allOf", .array([Problem.schema.json, onlyThese]))])))
    }

    private static func content(_ mediaType: String, _ schema: JSONValue) -> Member {
        Member(mediaType, .object([.init("schema", schema)]))
    }

    /// Those of the operation and those that every request may meet.
    private var problems: Set<ProblemKind> {
        var problems: Set<ProblemKind> = [
            .badRequest, .userIDInvalid, .uriTooLong, .tooManyRequests, .headerFieldsTooLarge, .internalError,
            .badGateway,
            .storeUnavailable, .draining, .overloaded, .serviceUnavailable, .deadlineExceeded, .gatewayTimeout,
            .methodNotAllowed, .requestTimeout, .payloadTooLarge,
        ]
        if operation.parameters.contains(where: { $0.place == "path" }) { problems.insert(.notFound) }
        if operation.parameters.contains(where: { $0.place == "query" }) { problems.insert(.invalidParameter) }
        if operation.body != nil {
            problems.formUnion([.invalidJSON, .unsupportedMediaType, .validationFailed])
        }
        if route.needsKey { problems.insert(.idempotencyKeyMissing) }
        if route.needsKey || operation.mayHaveKey {
            problems.formUnion([.idempotencyKeyInvalid, .idempotencyKeyReused, .requestInProgress])
        }
        return problems.union(operation.problems)
    }
}
