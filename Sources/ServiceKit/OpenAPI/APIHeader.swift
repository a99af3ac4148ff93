import OpenAPI
import StrictJSON

/// A header of the contract.
struct APIHeader {
    let name: String
    let description: String
    let schema: Schema

    /// The name as a component.
    var component: String { name.filter { $0 != "-" } }

    /// As a component under `parameters`.
    var parameter: JSONValue { parameter(isRequired: false) }

    func parameter(isRequired: Bool) -> JSONValue {
        .object([
            .init("name", .string(name)), .init("in", .string("header")), .init("required", .bool(isRequired)),
            .init("description", .string(description)), .init("schema", schema.json),
        ])
    }

    /// As a component under `headers`.
    var header: JSONValue {
        .object([.init("description", .string(description)), .init("schema", schema.json)])
    }

    /// A reference to the component. - Parameter kind: `parameters` or `headers`.
    func reference(_ kind: String) -> JSONValue {
        .object([.init("$ref", .string("#/components/\(kind)/\(component)"))])
    }

    // MARK: - Of a request

    static let idempotencyKey = APIHeader(
        name: "Idempotency-Key",
        description: """
            A name of the client's own for this command, 1 to 255 characters, the same on every retry and never used for \
            another command. Bare (`abc-123`) or in quotes (`"abc-123"`), which mean the same key. Remembered for a day.
            """,
        schema: .string(
            pattern: #"^(?:[!#-&(-+\-.-\[\]-~]{1,255}|"(?:[!#-\[\]-~]|\\["\\]){1,255}")$"#))

    static let userID = APIHeader(
        name: "X-User-ID",
        description:
            "The user that the request is made for: keys, orders, charges and accounts belong to a user. Nobody in particular if left out.",
        schema: .string(pattern: UserID.pattern))

    static let requestID = APIHeader(
        name: "X-Request-ID",
        description:
            "Names the request in every log: 1 to 128 letters, digits or any of `. _ -`. Any other value is replaced.",
        schema: .string())

    static let traceparent = APIHeader(
        name: "traceparent",
        description: "The trace to continue (W3C Trace Context). One that is not valid begins a new trace.",
        schema: .string())

    static let request = [idempotencyKey, userID, requestID, traceparent]

    // MARK: - Of an answer

    static let answeredRequestID = APIHeader(
        name: "X-Request-ID", description: "Names the request in every log.",
        schema: .string(pattern: "^[A-Za-z0-9._-]{1,128}$"))
    static let replayed = APIHeader(
        name: "Idempotent-Replayed",
        description:
            "There when the answer was given before: the same status and the same bytes, and nothing was executed now.",
        schema: .word(of: ["true"]))
    static let cacheControl = APIHeader(
        name: "Cache-Control", description: "Answers are not to be stored.", schema: .word(of: ["no-store"]))
    static let retryAfter = APIHeader(
        name: "Retry-After",
        description: "After how many seconds the same request may be sent again. There when it may.",
        schema: .string(pattern: "^[1-9][0-9]*$"))
    static let allow = APIHeader(
        name: "Allow", description: "The methods that the path has.", schema: .string(pattern: "^[A-Z]+(, [A-Z]+)*$"))

    static let location = APIHeader(
        name: "Location", description: "Where to ask how it goes, relative to this request's address.",
        schema: .string())

    static let response = [answeredRequestID, replayed, cacheControl, retryAfter, allow, location]
}
