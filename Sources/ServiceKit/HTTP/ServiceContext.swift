import Correlation
import HTTPTypes
import Hummingbird
import NIOCore
import Resilience

/// What the services know about a request besides its head and body.
public struct ServiceContext: RequestContext {
    public var coreContext: CoreRequestContextStorage
    /// The request's name in the logs (NX-04).
    public internal(set) var requestID: Correlation.RequestID
    /// The span of this request (OP-04).
    public internal(set) var trace: TraceContext
    /// The user named by `X-User-ID`; empty when nobody is named.
    public internal(set) var user = ""
    /// When the caller stops waiting, if it said so (OP-06).
    public internal(set) var deadline: Deadline?
    /// What the request turns out to be about.
    public let notes = RequestNotes()
    /// The body, all of it. Read before anything is answered: nginx closes a client's connection, without saying so, when a service answers
    /// before it has taken the whole request, and the client's next request on that connection is lost.
    package private(set) var body = ByteBuffer()
    /// Whether it was larger than it may be, and dropped. `EnvelopeMiddleware` refuses the request then.
    private(set) var bodyIsTooLarge = false

    public init(source: Source) {
        coreContext = .init(source: source)
        requestID = Self.unset.requestID
        trace = Self.unset.trace
    }

    /// Takes the body. - Parameter body: all of it, or nil if it was larger than it may be.
    package mutating func take(body: ByteBuffer?) {
        self.body = body ?? ByteBuffer()
        bodyIsTooLarge = body == nil
    }

    /// Stands in until `EnvelopeMiddleware` has read the head.
    private static let unset = (requestID: Correlation.RequestID(), trace: TraceContext(continuing: nil))
}

extension HTTPFields {
    /// The value of a header that is there once. One that is there several times says nothing: which of them counts would be a guess.
    func only(_ name: HTTPField.Name) -> String? {
        var found: String?
        for field in self where field.name == name {
            guard found == nil else { return nil }
            found = field.value
        }
        return found
    }
}

extension HTTPField.Name {
    static let requestID = Self.known("X-Request-ID")
    static let userID = Self.known("X-User-ID")
    static let requestTimeout = Self.known("X-Request-Timeout-Ms")
    static let traceparent = Self.known("traceparent")
    static let idempotencyKey = Self.known("Idempotency-Key")
    static let idempotentReplayed = Self.known("Idempotent-Replayed")

    /// A name that is known to be valid; `HTTPField.Name` checks the syntax and answers an optional.
    private static func known(_ name: String) -> HTTPField.Name {
        guard let field = HTTPField.Name(name) else { preconditionFailure("\(name) is not a header's name") }
        return field
    }
}
