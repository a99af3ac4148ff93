import HTTPTypes
import Hummingbird
import OpenAPI

/// The routes by which a service explains itself: its document, and a page for each problem type.
struct DocumentRoutes: Sendable {
    /// The document for clients.
    static let path = "/openapi.json"
    /// The document of the routes that nginx hides.
    static let operatorsPath = "/internal/openapi.json"

    private let clients: [UInt8]
    private let operators: [UInt8]

    /// Documents of these routes, and of those that `add` will add. Made once: a service has the same routes all its life.
    init(_ catalogue: RouteCatalogue, of service: APIDescription) {
        var all = catalogue
        Self.declare(in: &all, clients: [], operators: [])
        let document = OpenAPIDocument(service: service, routes: all.routes)
        clients = document.json(for: .clients)
        operators = document.json(for: .operators)
    }

    func add(to routes: inout RouteCatalogue) {
        Self.declare(in: &routes, clients: clients, operators: operators)
    }

    private static func declare(in routes: inout RouteCatalogue, clients: [UInt8], operators: [UInt8]) {
        routes.get(path, as: .document) { _, _ in .json(clients) }
        routes.get(operatorsPath, as: .operatorsDocument) { _, _ in .json(operators) }
        routes.get("/problems/:code", as: .problemPage) { _, context in
            let code = try context.pathParameter("code")
            guard let kind = ProblemKind(rawValue: code) else {
                throw Problem(.notFound, "There is no problem type of this name.")
            }
            return Response(
                status: .ok, headers: [.contentType: "text/html; charset=utf-8"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: kind.page)))
        }
    }
}

extension ProblemKind {
    /// What a browser shows at the problem's `type`.
    fileprivate var page: String {
        let retry =
            switch self {
            case _ where retryAfterSeconds != nil:
                "Send the same request with the same <code>Idempotency-Key</code> again, after <code>Retry-After</code> seconds."
            case .internalError:
                "Sending the same request with the same <code>Idempotency-Key</code> again is safe, and tells what became of it."
            case .paymentDeclined, .itemNotFound, .insufficientStock:
                "Nothing changes by itself. Once things are different, the same request with the same <code>Idempotency-Key</code> tries again."
            default: "Sending the same request again would change nothing."
            }
        return """
            <!doctype html>
            <html lang="en">
            <head>
            <meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
            <title>\(title)</title>
            <link rel="stylesheet" href="/docs/docs.css">
            </head>
            <body class="problem"><main>
            <p><code>\(rawValue)</code>, HTTP status \(status.code)</p>
            <h1>\(title)</h1>
            <p>\(meaning.markedUp)</p>
            <p>\(retry)</p>
            <p><a href="/docs#problems">All problem types</a></p>
            </main></body>
            </html>
            """
    }
}

extension String {
    /// Text with `code` in backquotes, as HTML.
    fileprivate var markedUp: String {
        let escaped = replacing("&", with: "&amp;").replacing("<", with: "&lt;")
        return escaped.split(separator: "`", omittingEmptySubsequences: false).enumerated()
            .map { index, part in index.isMultiple(of: 2) ? String(part) : "<code>\(part)</code>" }.joined()
    }
}
