import HTTPTypes
import Hummingbird
import NIOCore
import StrictJSON
import Testing

@testable import ServiceKit

@Suite("Problem")
struct ProblemTests {
    private func members(_ problem: Problem) throws -> [JSONValue.Member] {
        let value = try JSONParser.parse(problem.json(instance: "/checkout", requestID: "request-1")).tree
        guard case .object(let members) = value else { return [] }
        return members
    }

    @Test("a problem document has every member of the contract", arguments: ProblemKind.allCases)
    func document(kind: ProblemKind) throws {
        let problem = Problem(kind, "What went wrong.")
        #expect(
            try members(problem) == [
                .init("type", .string("/problems/\(kind.rawValue)")),
                .init("title", .string(kind.title)),
                .init("status", .number(String(problem.response(instance: "/", requestID: "r").status.code))),
                .init("detail", .string("What went wrong.")),
                .init("instance", .string("/checkout")),
                .init("code", .string(kind.rawValue)),
                .init("retryable", .bool(kind.retryAfterSeconds != nil)),
                .init("requestId", .string("request-1")),
            ])
    }

    @Test("the headers fit the document: its type, not to be stored, and a wait exactly if it is retryable")
    func headers() throws {
        for kind in ProblemKind.allCases {
            let response = Problem(kind, "detail").response(instance: "/", requestID: "r")
            #expect(response.headers[.contentType] == "application/problem+json")
            #expect(response.headers[.cacheControl] == "no-store")
            let retryable = try members(Problem(kind, "detail")).first { $0.name == "retryable" }?.value == .bool(true)
            #expect((response.headers[.retryAfter] != nil) == retryable, "\(kind)")
            if retryable { #expect(response.headers[.retryAfter].flatMap { Int($0) }.map { $0 > 0 } == true) }
        }
    }

    @Test("a problem may ask for another wait than is usual for its kind")
    func retryAfter() throws {
        let problem = Problem(.checkoutUnavailable, "detail", retryAfterSeconds: 7)
        #expect(problem.response(instance: "/", requestID: "r").headers[.retryAfter] == "7")
        #expect(Problem(.checkoutUnavailable, "detail").retryAfterSeconds == 1)
        #expect(Problem(.insufficientStock, "detail").retryAfterSeconds == nil)
        #expect(try members(problem).contains(.init("retryable", .bool(true))))
    }

    @Test("slugs and titles are unique, and every slug is lower case with dashes")
    func slugs() {
        #expect(Set(ProblemKind.allCases.map(\.title)).count == ProblemKind.allCases.count)
        for kind in ProblemKind.allCases {
            #expect(kind.rawValue.utf8.allSatisfy { (0x61...0x7A).contains($0) || $0 == UInt8(ascii: "-") })
        }
    }

    @Test(
        "the status of a kind is that of the contract",
        arguments: [
            (.invalidJSON, 400), (.idempotencyKeyMissing, 400), (.idempotencyKeyInvalid, 400), (.userIDInvalid, 400),
            (.paymentDeclined, 402), (.itemNotFound, 404), (.notFound, 404), (.methodNotAllowed, 405),
            (.requestInProgress, 409), (.insufficientStock, 409), (.reservationStateConflict, 409),
            (.payloadTooLarge, 413), (.unsupportedMediaType, 415), (.validationFailed, 422),
            (.idempotencyKeyReused, 422), (.internalError, 500), (.badGateway, 502), (.storeUnavailable, 503),
            (.draining, 503), (.outcomeUnknown, 504), (.gatewayTimeout, 504),
        ] as [(ProblemKind, Int)])
    func status(kind: ProblemKind, status: Int) {
        #expect(kind.status.code == status)
    }

    @Test(
        "what a retry would not change is not retryable, and what it may change is",
        arguments: [
            (.insufficientStock, false), (.paymentDeclined, false), (.itemNotFound, false), (.validationFailed, false),
            (.idempotencyKeyReused, false), (.internalError, false), (.reservationStateConflict, false),
            (.requestInProgress, true), (.outcomeUnknown, true), (.storeUnavailable, true), (.draining, true),
            (.checkoutUnavailable, true), (.gatewayTimeout, true), (.badGateway, true),
        ] as [(ProblemKind, Bool)])
    func retryable(kind: ProblemKind, retryable: Bool) {
        #expect((kind.retryAfterSeconds != nil) == retryable)
    }

    @Test("a declined payment says why, and other problems have no such member")
    func declineCode() throws {
        let declined = try members(Problem(.paymentDeclined, "No.", declineCode: "card_declined"))
        #expect(declined.last == .init("declineCode", .string("card_declined")))
        #expect(try !members(Problem(.insufficientStock, "No.")).contains { $0.name == "declineCode" })
    }

    @Test("a command that is not valid lists its faults, and says the first of them in words")
    func issues() throws {
        let problem = Problem(
            ValidationFailure([
                ValidationIssue("#/quantity", "is required"), ValidationIssue("#/a~1b", "is not a known field"),
            ]))
        #expect(problem.kind == .validationFailed)
        #expect(problem.detail == "#/quantity is required, and 1 more.")
        #expect(
            try members(problem).last
                == .init(
                    "errors",
                    .array([
                        .object([
                            .init("pointer", .string("#/quantity")), .init("detail", .string("is required")),
                        ]),
                        .object([
                            .init("pointer", .string("#/a~1b")), .init("detail", .string("is not a known field")),
                        ]),
                    ])))
        #expect(Problem(ValidationFailure("#/a", "is odd")).detail == "#/a is odd.")
    }

    @Test("a method that is not allowed lists those that are")
    func allow() {
        let problem = Problem(.methodNotAllowed, "No.", allowedMethods: ["GET", "HEAD", "PUT"])
        #expect(problem.response(instance: "/", requestID: "r").headers[.allow] == "GET, HEAD, PUT")
        #expect(Problem(.notFound, "No.").response(instance: "/", requestID: "r").headers[.allow] == nil)
    }

    @Test("a body that is too large closes the connection; no other problem does")
    func connectionClose() {
        for kind in ProblemKind.allCases {
            let connection = Problem(kind, "No.").response(instance: "/", requestID: "r").headers[.connection]
            #expect((connection == "close") == (kind == .payloadTooLarge))
        }
    }

    @Test("what a client sent cannot break out of the document")
    func escaping() throws {
        let problem = Problem(.notFound, "\"}\r\n{\"x\":1")
        let bytes = problem.json(instance: "/\"\r\n", requestID: "r")
        #expect(!bytes.contains(0x0A) && !bytes.contains(0x0D))
        guard case .object(let members) = try JSONParser.parse(bytes).tree else { return }
        #expect(members.first { $0.name == "instance" }?.value == .string("/\"\r\n"))
        #expect(members.first { $0.name == "detail" }?.value == .string("\"}\r\n{\"x\":1"))
    }
}
