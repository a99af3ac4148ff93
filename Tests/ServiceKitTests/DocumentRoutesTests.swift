import Hummingbird
import OpenAPI
import StrictJSON
import TestSupport
import Testing

@testable import ServiceKit

@Suite("OpenAPI document")
struct DocumentRoutesTests {
    private let service = APIDescription(name: "shop", title: "Shop", port: 3199, "Sells.")
    private let show = APIOperation(
        "show", "Show a thing", parameters: [.path("id", "The thing.", .integer(in: 1...9))],
        answers: [.init("It.", Schema.object([.required("id", .integer())]).named("Thing"))], problems: [.itemNotFound])
    private let sell = APIOperation(
        "sell", "Sell a thing", body: .object(isClosed: true, [.required("id", .integer())]), example: #"{"id":1}"#,
        answers: [.init("Sold.", .object([]))])
    private let look = APIOperation("look", "Look inside", for: .operators, answers: [.init("All.", .any())])

    private func built(_ more: (inout RouteCatalogue) -> Void = { _ in }) -> BuiltService {
        var routes = RouteCatalogue(of: service)
        routes.get("/things/:id", as: show) { _, _ in Response(status: .ok) }
        routes.keyedCommand("/sell", as: sell) { _, _ in .made([]) }
        routes.get("/look", as: look) { _, _ in Response(status: .ok) }
        more(&routes)
        return BuiltService(routes: routes)
    }

    private func document(_ path: String = "/openapi.json") async throws -> RouteResponse {
        let test = try TestEnvironment(migrations: [])
        return try await built().test(in: test.environment) { try await $0.get(path) }
    }

    @Test("it is OpenAPI 3.1 of this service and this version, and says where it is behind nginx and without")
    func head() async throws {
        let document = try await document()
        #expect(document.status == 200)
        #expect(document.header("Content-Type") == "application/json")
        #expect(document.text("openapi") == "3.1.0")
        #expect(document.text("info/title") == "Shop")
        #expect(document.text("info/version") == checkoutVersion)
        #expect(document.text("servers/0/url") == "/shop")
        #expect(document.text("servers/1/url") == "http://127.0.0.1:3199")
    }

    @Test("clients get their routes and those that every service has; operators get the others")
    func audiences() async throws {
        #expect(
            try await document().names("paths")
                == [
                    "/things/{id}", "/sell", "/health/live", "/health/ready", "/openapi.json", "/problems/{code}",
                ].map { $0 })
        #expect(
            try await document("/internal/openapi.json").names("paths") == [
                "/look", "/health", "/internal/openapi.json",
            ])
    }

    @Test("an operation says what it takes: its parameters, the headers, and a key exactly if the route needs one")
    func request() async throws {
        let paths = try #require(try await document().value("paths"))
        func parameters(_ path: String, _ method: String) -> String {
            "\(member(member(member(paths, path), method), "parameters"))"
        }
        #expect(parameters("/things/{id}", "get").contains("\"id\""))
        #expect(parameters("/things/{id}", "get").contains("#/components/parameters/XUserID"))
        #expect(!parameters("/things/{id}", "get").contains("Idempotency"))
        #expect(parameters("/sell", "post").contains("Idempotency-Key"))
    }

    @Test(
        "an operation says how it may fail: by its own problems, by those of its kind of request, and by those of all")
    func problems() async throws {
        let paths = try #require(try await document().value("paths"))
        func codes(_ path: String, _ method: String) -> String {
            "\(member(member(member(paths, path), method), "responses"))"
        }
        let show = codes("/things/{id}", "get")
        for code in ["item-not-found", "not-found", "user-id-invalid", "method-not-allowed", "uri-too-long"] {
            #expect(show.contains("\"\(code)\""), "\(code)")
        }
        for code in ["invalid-json", "idempotency-key-missing", "charge-not-found"] {
            #expect(!show.contains(code), "\(code)")
        }
        let sell = codes("/sell", "post")
        for code in ["invalid-json", "validation-failed", "idempotency-key-missing", "request-in-progress"] {
            #expect(sell.contains("\"\(code)\""), "\(code)")
        }
    }

    @Test("named schemas stand among the components, and so does the problem document")
    func components() async throws {
        #expect(try await document().names("components/schemas") == ["Problem", "Thing"])
    }

    @Test("every problem type is listed with what it means")
    func problemKinds() async throws {
        let document = try await document()
        #expect(document.count("x-problems") == ProblemKind.allCases.count)
        for index in ProblemKind.allCases.indices {
            #expect(document.text("x-problems/\(index)/meaning")?.isEmpty == false)
        }
    }

    @Test("every problem type has a page at its path, and no other name has one")
    func pages() async throws {
        let test = try TestEnvironment(migrations: [])
        try await built().test(in: test.environment) { client in
            for kind in ProblemKind.allCases {
                let page = try await client.get("/problems/\(kind.rawValue)")
                #expect(page.status == 200)
                #expect(page.header("Content-Type") == "text/html; charset=utf-8")
                let text = String(decoding: page.body, as: UTF8.self)
                #expect(text.contains("<h1>\(kind.title)</h1>"))
                // What the key makes safe to send again is not said to be of no use.
                let triesAgain: [ProblemKind] = [.internalError, .paymentDeclined, .itemNotFound, .insufficientStock]
                let mayHelp = kind.retryAfterSeconds != nil || triesAgain.contains(kind)
                #expect(text.contains("would change nothing") == !mayHelp)
            }
            #expect(try await client.get("/problems/nonsense").code == "not-found")
        }
    }

    @Test("a route that is not described, and a part of a path that is not, are told by name")
    func faults() async throws {
        let test = try TestEnvironment(migrations: [])
        #expect(try await built().faultsOfDocuments(in: test.environment) == [])
        let faulty = built { routes in
            routes.post("/accounts") { _, _ in Response(status: .ok) }
            routes.get("/accounts/:account", as: look) { _, _ in Response(status: .ok) }
        }
        #expect(
            try await faulty.faultsOfDocuments(in: test.environment) == [
                "POST /accounts is in 0 documents: declare it with `as:` and an APIOperation",
                "/accounts/{account} has the parameter account, which is not described",
                "GET /accounts/{account} has no operationId of its own",
            ])
    }

    private func member(_ value: JSONValue, _ name: String) -> JSONValue {
        guard case .object(let members) = value else { return .null }
        return members.first { $0.name == name }?.value ?? .null
    }
}
