import Correlation
import Hummingbird
import Idempotency
import Resilience
import StrictJSON

/// A command as its handler gets it, whether it came in a request of its own or in a batch: past the checks of its envelope,
/// its body read as JSON and not yet understood.
public struct Command: Sendable {
    /// What answers a command. - Throws: `Problem`, or what the envelope turns into one.
    public typealias Handler = @Sendable (Command) async throws -> CommandReply

    /// The `Idempotency-Key`, if it takes one.
    public let key: IdempotencyKey?
    /// The body.
    public let body: JSONNode
    /// Whether others wait for the answer: a handler that cannot give it in one transaction throws `NotInBatch` then.
    public let isBatched: Bool
    /// The request's name in the logs (NX-04).
    public let requestID: Correlation.RequestID
    /// The span of this command (OP-04).
    public let trace: TraceContext
    /// The user named by `X-User-ID`; empty when nobody is named.
    public let user: String
    /// When the caller stops waiting, if it said so (OP-06). A command that begins something looks at it in its transaction,
    /// so that nothing is begun that would only have to be undone; one that undoes or completes is never too late.
    public let deadline: Deadline?
    /// What the command turns out to be about; nil if nobody wants to know.
    public let notes: RequestNotes?

    package init(
        key: IdempotencyKey?, body: JSONNode, isBatched: Bool, requestID: Correlation.RequestID, trace: TraceContext,
        user: String, deadline: Deadline?, notes: RequestNotes? = nil
    ) {
        self.key = key
        self.body = body
        self.isBatched = isBatched
        self.requestID = requestID
        self.trace = trace
        self.user = user
        self.deadline = deadline
        self.notes = notes
    }
}

/// What answers the commands of one path.
package struct CommandRoute: Sendable {
    /// Whether its commands take an `Idempotency-Key`. If not, a key that is sent all the same is not even read.
    package let isKeyed: Bool
    package let handle: Command.Handler
}

/// The answer to a command that was carried out: JSON.
public enum CommandReply: Sendable, Equatable {
    /// Carried out now.
    case made([UInt8])
    /// Carried out now, and something was made by it that has an address of its own: 201.
    case created([UInt8])
    /// Taken on, now or before, to be carried out later: 202. - location: where it is shown, relative to the request's address.
    case accepted([UInt8], location: String, isReplay: Bool)
    /// Carried out before, and answered again to the byte (IK-11).
    case replayed(StoredResponse)

    package var body: [UInt8] {
        switch self {
        case .made(let body), .created(let body), .accepted(let body, _, _): body
        case .replayed(let stored): stored.body
        }
    }

    package var status: Int {
        switch self {
        case .made: 200
        case .created: 201
        case .accepted: 202
        case .replayed(let stored): stored.status
        }
    }
}

/// Thrown for a command that must not keep the others of its batch waiting. It has had no effect; its sender sends it
/// again in a request of its own.
public struct NotInBatch: Error {
    /// The error.
    public init() {}
}

extension Response {
    /// The answer to a command that came in a request of its own.
    public static func command(_ reply: CommandReply) -> Response {
        switch reply {
        case .made(let body): .json(body)
        case .created(let body): .json(body, status: .created)
        case .accepted(let body, let location, let isReplay):
            .accepted(body, location: location, isReplay: isReplay)
        case .replayed(let stored): .replay(stored)
        }
    }
}
