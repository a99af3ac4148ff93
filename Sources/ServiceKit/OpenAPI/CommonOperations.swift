import OpenAPI

// The descriptions of the routes that every service has.
extension APIOperation {
    static let live = APIOperation(
        "isLive", "Whether the process is alive",
        answers: [Success("It is.", .object([.required("status", .word(of: ["alive"]))]))])

    static let ready = APIOperation(
        "isReady", "Whether the service takes requests",
        "Its own store is usable and it is not stopping. 503 with the reason in `status` otherwise.",
        answers: [
            Success("It does.", .object([.required("status", .word(of: ["ready"]))])),
            Success(
                "It does not now.", .object([.required("status", .word(of: ["draining", "unready"]))]), status: 503),
        ])

    static let health = APIOperation(
        "health", "The service and what it depends on", for: .operators,
        answers: [
            Success("Healthy or degraded.", health(["healthy", "degraded"])),
            Success("Unhealthy.", health(["unhealthy"]), status: 503),
        ])

    private static func health(_ words: [String]) -> Schema {
        .object([
            .required("status", .word(of: words)),
            .required("checks", .object("By name, each with its `status`, and its `breaker` if it has one.", [])),
            .required("draining", .boolean("Whether it is stopping.")), .required("version", .string()),
        ])
    }

    static let document = APIOperation(
        "openAPI", "This document", answers: [Success("OpenAPI 3.1.", .object([.required("openapi", .string())]))])

    static let operatorsDocument = APIOperation(
        "operatorsOpenAPI", "This document", for: .operators,
        answers: [Success("OpenAPI 3.1.", .object([.required("openapi", .string())]))])

    static let problemPage = APIOperation(
        "problemType", "What a problem type means",
        "The page at the `type` of a problem document. nginx has it at the same path without a prefix.",
        parameters: [
            .id("The problem's `code`.", named: "code", example: ProblemKind.insufficientStock.rawValue)
        ],
        answers: [Success("A page for a person.", .string(), as: "text/html")])

    static let metrics = APIOperation(
        "metrics", "What is measured, for Prometheus", for: .operators,
        answers: [Success("Prometheus' text format 0.0.4.", .string(), as: "text/plain")])

    static let batch = APIOperation(
        "batch", "Several commands of Order in one request", "Each has its own key, user, request id and outcome.",
        for: .operators,
        body: .object([.required("commands", .array(of: .any(), count: 1...128))]),
        answers: [Success("The outcome of each, in their order.", .object([.required("answers", .array(of: .any()))]))])

    /// A route of `checkout audit`, which reads pages or records by their ids.
    ///
    /// - Parameter what: the records, in the plural.
    public static func audit(_ id: String, _ what: String, takesKeys: Bool = false, byID: Bool = true) -> APIOperation {
        var parameters: [Parameter] = [
            .query("limit", "How many entries the page may have.", .integer()),
            .query("cursor", "The last id of the page before.", .string()),
        ]
        if byID { parameters.append(.query("id", "Only records of these ids; repeated.", .array(of: .string()))) }
        if takesKeys {
            parameters.append(
                .query("key", "Refunds asked for under these keys are added up apart; repeated.", .array(of: .string()))
            )
        }
        return APIOperation(
            id, "\(what), as they are stored", "What `checkout audit` reads.", for: .operators, parameters: parameters,
            answers: [Success("The records found.", .object([.required("entries", .array(of: .any()))]))])
    }

    /// Sums that must agree between the services.
    public static let totals = APIOperation(
        "totals", "Sums for an auditor", for: .operators, answers: [Success("The sums.", .object([]))])
}
