import Hummingbird
import Idempotency
import Logging
import OpenAPI
import Resilience
import Storage
import StrictJSON

/// What an operator sends with an action: `{"operator":"ann","reason":"…","plan":"…"}`.
public struct OperatorCommand: Hashable, Sendable {
    /// Who.
    public let name: String
    /// Why.
    public let reason: String
    /// The plan that is to be carried out; nil for none in particular.
    public let plan: String?

    /// A command.
    public init(name: String, reason: String, plan: String? = nil) {
        self.name = name
        self.reason = reason
        self.plan = plan
    }

    /// Reads a command. - Throws: `ValidationFailure`.
    public init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let name = reader.string("operator", length: 1...64)
        let reason = reader.string("reason", length: 1...500)
        plan = reader.string("plan", length: 1...64, required: false)
        try reader.finish()
        guard let name, let reason else { throw ValidationFailure("#", "is not an operator's command") }
        self.name = name
        self.reason = reason
    }

    /// The command's schema.
    public static let schema = Schema.object([
        .required("operator", .string("Who acts.", length: 1...64)),
        .required("reason", .string("Why, for those who read the record later.", length: 1...500)),
        .optional("plan", .string("The plan to carry out; refused when the record has changed since it was made.")),
    ])

    /// Refuses a command without a plan, or with another than the one that would be made now. Call it inside the
    /// transaction that carries the plan out. - Throws: `Problem`.
    public func check(_ current: String, needed: Bool = true) throws {
        guard let plan else {
            guard needed else { return }
            throw Problem(ValidationFailure("#/plan", "is required: ask for a plan first, and send its id"))
        }
        guard plan == current else {
            throw Problem(
                .planOutdated,
                "The record has changed since this plan was made; nothing was done. Ask for a new plan, and read it.")
        }
    }

    /// The action that this command is, for the log.
    public func action(_ action: String, plan: String?, at now: Timestamp) -> OperatorAction {
        OperatorAction(at: now, name: name, reason: reason, action: action, plan: plan)
    }
}

extension OperatorCommand {
    /// Tells the log what was done, once it is durable. - Parameter subject: what it was done to, by the name of its id: `order_id`.
    public func tell(
        _ logger: Logger, _ action: String, of subject: (name: String, id: String), plan: String?
    ) {
        var metadata: Logger.Metadata = [
            subject.name: .string(subject.id), "action": .string(action), "operator": .string(name),
            "reason": .string(reason),
        ]
        if let plan { metadata["plan"] = .string(plan) }
        logger.notice("an operator has acted", metadata: metadata)
    }
}

/// What the plans of all services have in common, for their documents.
public enum OperatorPlan {
    /// The schema of a plan. - Parameter subject: the member that names what it is for.
    public static func schema(_ subject: String) -> Schema {
        .object([
            .required(subject, .string()), .required("action", .string()),
            .required("plan", .string("What a commit has to name.")),
            .required("from", .string("How it stands now.")), .required("to", .string("How it would stand then.")),
            .required("summary", .string("What would happen in all, for a person.")),
            .required("calls", .array(of: call)),
        ])
    }

    private static let call = Schema.object(
        "A call that would be made if all before it succeed.",
        [
            .required("service", .string("Who would be called.")), .required("operation", .string()),
            .required("id", .string("The id by which the service knows the call.")),
            .required("effect", .string("What it would move, if that is not moved already.")),
        ]
    ).named("PlannedCall")
}

/// The id of a plan: equal only for the same record in the same state, and the same calls.
public enum PlanID {
    /// 64 bits of a digest, in hexadecimal. Not a secret: it guards against changes, not against people.
    public static func make(_ fields: [String?]) -> String {
        Fingerprint(operation: "operator's plan", fields: fields).hexadecimal(bytes: 8)
    }
}

/// What an operator's list is to show.
public struct OperatorSelection: Hashable, Sendable {
    /// One of the list's states.
    public let state: String
    /// Only this user's records.
    public let user: String?
    /// Only records that were made before this.
    public let madeBefore: Timestamp?
    /// How many entries the page may have.
    public let limit: Int
    /// Where the page before ended.
    public let cursor: String?

    /// The id that a page of descending ids ends before. Without a cursor one that SQLite sorts after every text: a blob.
    public var before: SQLValue { cursor.map { .text($0) } ?? .blob([0]) }

    /// So many rows are looked at for one page at the most: what is searched for may be rare among millions, and all
    /// other requests wait meanwhile. A page may then be short, or empty, and still have a next one.
    public static let scanned = 5000

    /// The parameters, for the document. - Parameter states: those that may be asked for; the first is the default.
    public static func parameters(_ states: [String], takesUser: Bool = true) -> [APIOperation.Parameter] {
        var parameters: [APIOperation.Parameter] = [
            .query("state", "Which records; `\(states.first ?? "")` if it is left out.", .word(of: states)),
            .query("olderThan", "Only records that are at least so many seconds old.", .integer(in: 0...31_536_000)),
        ]
        if takesUser { parameters.append(.query("user", "Only this user's.", .string())) }
        return parameters + APIOperation.Parameter.page(cursor: .string())
    }
}

extension Request {
    /// What the query of an operator's list asks for. - Throws: `Problem` for a bad value.
    ///
    /// - Parameters:
    ///   - states: those that may be asked for; the first is the default.
    ///   - isID: whether a record of the list can have this id, and a page end with it.
    public func operatorSelection(
        _ states: [String], takesUser: Bool = true, now: Timestamp, isID: (String) -> Bool = { _ in true }
    ) throws -> OperatorSelection {
        var state = states.first ?? ""
        var (limit, cursor) = (20, String?.none)
        var (user, age) = (String?.none, Int64?.none)
        try checkQueryHasNoRepetition()
        for (name, value) in uri.queryParameters {
            switch name {
            case "state":
                guard states.contains(String(value)) else {
                    throw Problem(.invalidParameter, "state must be one of \(states.joined(separator: ", ")).")
                }
                state = String(value)
            case "user" where takesUser: user = String(value)
            case "olderThan":
                guard let seconds = Int64(value), (0...31_536_000).contains(seconds) else {
                    throw Problem(.invalidParameter, "olderThan must be a whole number of seconds, up to a year.")
                }
                age = seconds
            case "limit":
                guard let number = Int(value), Self.pageLimits.contains(number) else {
                    throw Problem(.invalidParameter, "limit must be a whole number from 1 to 100.")
                }
                limit = number
            case "cursor":
                guard (1...512).contains(value.utf8.count), isID(String(value)) else { throw Problem.badCursor }
                cursor = String(value)
            default: throw Problem(.invalidParameter, "There is no query parameter of this name here: \(name).")
            }
        }
        return OperatorSelection(
            state: state, user: user, madeBefore: age.map { now.advanced(by: .seconds(-$0)) }, limit: limit,
            cursor: cursor)
    }

    /// The action whose plan the query asks for: `?action=retry`. - Throws: `Problem` for anything else.
    public func plannedAction<Action: RawRepresentable<String> & CaseIterable>() throws -> Action {
        let query = uri.queryParameters
        let asked = query.compactMap { name, value in name == "action" ? Action(rawValue: String(value)) : nil }
        guard asked.count == 1, query.count == 1, let action = asked.first else {
            let words = Action.allCases.map(\.rawValue).joined(separator: ", ")
            throw Problem(.invalidParameter, "The query must be action, with one of \(words).")
        }
        return action
    }

    /// The operator's command in the body. - Throws: `Problem` or `ValidationFailure`.
    ///
    /// No page in a browser may act, also not one whose name was made to lead to this port (DNS rebinding): a browser names the page with every
    /// `POST`, and no tool does.
    public func operatorCommand(_ context: ServiceContext) throws -> OperatorCommand {
        guard headers[.origin] == nil else {
            throw Problem(.badRequest, "A page in a browser may not act here: the request has an Origin header.")
        }
        return try OperatorCommand(json: try json(context))
    }
}
