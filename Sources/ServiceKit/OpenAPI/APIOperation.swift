import OpenAPI

/// What a route is for, what it takes and what it answers, as the OpenAPI document says it. Its method and path come from
/// `RouteCatalogue`, so that they are written once.
public struct APIOperation: Sendable {
    /// Who a route is for.
    public enum Audience: Sendable {
        /// Everybody who can reach nginx.
        case clients
        /// Those inside: nginx lets nobody through to it (NX-06).
        case operators
    }

    /// A value in the query or the path.
    public struct Parameter: Sendable {
        let name: String
        /// `query` or `path`.
        let place: String
        let description: String
        let schema: Schema

        /// A part of the path, named there as `:name`.
        public static func path(_ name: String, _ description: String, _ schema: Schema) -> Parameter {
            Parameter(name: name, place: "path", description: description, schema: schema)
        }

        /// An id in the path, named there as `:name`. Any text may be asked for, percent-encoded where it must be; a control character is refused.
        public static func id(
            _ description: String, named name: String = "id", example: String? = nil
        ) -> Parameter {
            .path(name, description, .string(pattern: #"^[^\u0000-\u001F\u007F/]{1,128}$"#, example: example))
        }

        /// A value of the query that may be left out.
        public static func query(_ name: String, _ description: String, _ schema: Schema) -> Parameter {
            Parameter(name: name, place: "query", description: description, schema: schema)
        }

        /// The two parameters of every list that is read in pages.
        ///
        /// - Parameter cursor: what the cursor of this list looks like.
        public static func page(cursor: Schema) -> [Parameter] {
            [
                .query("limit", "How many entries the page may have; 20 if it is left out.", .integer(in: pageLimits)),
                .query("cursor", "The `nextCursor` of the page before; the first page if it is left out.", cursor),
            ]
        }

        private static let pageLimits = 1...Int64(100)
    }

    /// A successful answer.
    public struct Success: Sendable {
        let status: Int
        let description: String
        let schema: Schema
        /// Other than `application/json`.
        let mediaType: String

        /// An answer in JSON.
        public init(
            _ description: String, _ schema: Schema, status: Int = 200, as mediaType: String = "application/json"
        ) {
            self.status = status
            self.description = description
            self.schema = schema
            self.mediaType = mediaType
        }
    }

    let id: String
    let summary: String
    let description: String
    let audience: Audience
    let parameters: [Parameter]
    let body: Schema?
    /// The text of a body that may be sent.
    let example: String?
    /// Whether it takes an `Idempotency-Key`, if it is no keyed command anyhow.
    let mayHaveKey: Bool
    let answers: [Success]
    /// What may go wrong with it besides what may go wrong with any request.
    let problems: [ProblemKind]

    /// A description.
    ///
    /// - Parameters:
    ///   - id: names the operation among all of its service, for generated clients.
    ///   - summary: what it does, in one line.
    ///   - description: whatever else a client must know, in Markdown.
    ///   - problems: those of its own; the ones that every request may meet are added.
    public init(
        _ id: String, _ summary: String, _ description: String = "", for audience: Audience = .clients,
        parameters: [Parameter] = [], body: Schema? = nil, example: String? = nil, mayHaveKey: Bool = false,
        answers: [Success], problems: [ProblemKind] = []
    ) {
        self.id = id
        self.summary = summary
        self.description = description
        self.audience = audience
        self.parameters = parameters
        self.body = body
        self.example = example
        self.mayHaveKey = mayHaveKey
        self.answers = answers
        self.problems = problems
    }
}

/// Whose routes a document describes.
public struct APIDescription: Sendable {
    /// The service's name, which is its prefix behind nginx: `order`.
    public let name: String
    /// For a person: `Order`.
    public let title: String
    /// What the service does, in Markdown.
    public let description: String
    /// Where the service itself listens without a setting.
    public let port: Int
    /// Whether it can be reached through nginx.
    public let isBehindNginx: Bool

    /// A description.
    public init(name: String, title: String, port: Int, isBehindNginx: Bool = true, _ description: String) {
        self.name = name
        self.title = title
        self.port = port
        self.isBehindNginx = isBehindNginx
        self.description = description
    }
}
