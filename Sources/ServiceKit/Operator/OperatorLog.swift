import OpenAPI
import Resilience
import Storage
import StrictJSON

/// Something that an operator has done to a record, with their name and why.
public struct OperatorAction: Hashable, Sendable {
    /// When.
    public let at: Timestamp
    /// Who, as they named themselves.
    public let name: String
    /// Why, in their words.
    public let reason: String
    /// What was done, in one word: `retry`.
    public let action: String
    /// The plan that was carried out; nil for an action that needs none.
    public let plan: String?

    /// An action.
    public init(at: Timestamp, name: String, reason: String, action: String, plan: String?) {
        self.at = at
        self.name = name
        self.reason = reason
        self.action = action
        self.plan = plan
    }

    /// The action's schema.
    public static let schema = Schema.object(
        "Something that an operator has done, in the name that they gave.",
        [
            .required("at", .string(format: "date-time")), .required("action", .string(example: "retry")),
            .required("operator", .string("Who.")), .required("reason", .string("Why.")),
            .optional("plan", .string("The plan that was carried out.")),
        ]
    ).named("OperatorAction")

    /// Writes the action as an object.
    public func write(to json: inout JSONWriter) {
        json.object { json in
            json.string("at", at.description)
            json.string("action", action)
            json.string("operator", name)
            json.string("reason", reason)
            if let plan { json.string("plan", plan) }
        }
    }
}

/// The actions of operators: written in the transaction of what they did, never changed, and shown to nobody outside.
public struct OperatorLog {
    /// How many actions on one record are shown, the newest.
    static let shown = 100
    /// Of the actions on one record so many of the first and so many of the last are kept. A person does not come so far; a script may, and
    /// must not be kept by that from releasing what is parked.
    static let kept: Int64 = 500

    /// Belongs to the schema of every service with operator's routes.
    public static let migration = Migration(
        "operator actions",
        """
        CREATE TABLE operator_actions (
            subject TEXT NOT NULL,
            sequence INTEGER NOT NULL CHECK (sequence BETWEEN 1 AND 1000),
            at INTEGER NOT NULL,
            name TEXT NOT NULL,
            reason TEXT NOT NULL,
            action TEXT NOT NULL,
            plan TEXT,
            PRIMARY KEY (subject, sequence)
        ) STRICT, WITHOUT ROWID;
        """
    )

    /// Follows `migration` in the schema of each of these services: a record may have any number of actions.
    public static let withoutEnd = Migration(
        "operator actions without end",
        """
        ALTER TABLE operator_actions RENAME TO bounded_operator_actions;
        CREATE TABLE operator_actions (
            subject TEXT NOT NULL,
            sequence INTEGER NOT NULL CHECK (sequence >= 1),
            at INTEGER NOT NULL,
            name TEXT NOT NULL,
            reason TEXT NOT NULL,
            action TEXT NOT NULL,
            plan TEXT,
            PRIMARY KEY (subject, sequence)
        ) STRICT, WITHOUT ROWID;
        INSERT INTO operator_actions (subject, sequence, at, name, reason, action, plan)
        SELECT subject, sequence, at, name, reason, action, plan FROM bounded_operator_actions;
        DROP TABLE bounded_operator_actions;
        """
    )

    private let transaction: any Transaction

    /// The log, inside a transaction.
    public init(_ transaction: any Transaction) {
        self.transaction = transaction
    }

    /// Notes an action. The numbers of actions go on counting those that are not kept any more.
    public func record(_ action: OperatorAction, on subject: String) throws {
        let count = try count(of: subject)
        try transaction.run(
            """
            INSERT INTO operator_actions (subject, sequence, at, name, reason, action, plan) VALUES (?, ?, ?, ?, ?, ?, ?)
            """,
            [
                .text(subject), .integer(Int64(count + 1)), .integer(action.at.milliseconds), .text(action.name),
                .text(action.reason), .text(action.action), SQLValue(action.plan),
            ])
        guard count >= 2 * Self.kept else { return }
        try transaction.run(
            "DELETE FROM operator_actions WHERE subject = ? AND sequence > ? AND sequence <= ?",
            [.text(subject), .integer(Self.kept), .integer(Int64(count) + 1 - Self.kept)])
    }

    /// How many actions a record has had: part of what a plan is made of.
    public func count(of subject: String) throws -> Int {
        try transaction.first(
            "SELECT ifnull(max(sequence), 0) FROM operator_actions WHERE subject = ?", [.text(subject)]
        ) { Int($0.integer(0)) } ?? 0
    }

    /// The newest actions on a record, oldest first, at most 100.
    public func actions(on subject: String) throws -> [OperatorAction] {
        try transaction.all(
            """
            SELECT at, name, reason, action, plan FROM operator_actions WHERE subject = ?
            ORDER BY sequence DESC LIMIT \(Self.shown)
            """, [.text(subject)]
        ) { row in
            OperatorAction(
                at: Timestamp(milliseconds: row.integer(0)), name: row.text(1), reason: row.text(2),
                action: row.text(3), plan: row.optionalText(4))
        }.reversed()
    }
}
