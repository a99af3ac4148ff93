/// One step from an older schema to a newer one.
public struct Migration: Sendable {
    /// Names the step for ever; a step that has run is never changed.
    public let name: String
    /// Statements, separated by semicolons.
    public let sql: String

    /// A step.
    public init(_ name: String, _ sql: String) {
        self.name = name
        self.sql = sql
    }

    /// A step that writes rules of the form `CHECK (column IN (values))` anew as comparisons, which say the same.
    ///
    /// SQLite makes a temporary table of a list with more than two values, with a page cache of its own, each time that
    /// it looks at the rule: 2 µs for every row that is written (decision 24). Only the text of the schema changes and
    /// nothing that is stored, so this takes no longer for a full table than for an empty one. The way is that of
    /// https://sqlite.org/lang_altertable.html, "Making Other Kinds Of Table Schema Changes", but that the version of
    /// the schema stays: no other connection has the file (hazard 51), and who read the old text would hold to the same
    /// rule. A rule that stands in its table in other words stays as it is.
    public static func comparing(_ name: String, _ rules: ListRule...) -> Migration {
        let statements = rules.map { rule in
            """
            UPDATE sqlite_schema SET sql = replace(sql, \(quoted(rule.list)), \(quoted(rule.comparisons)))
            WHERE type = 'table' AND name = \(quoted(rule.table));
            """
        }
        return Migration(
            name,
            """
            PRAGMA writable_schema = ON;
            \(statements.joined(separator: "\n"))
            PRAGMA writable_schema = RESET;
            """)
    }

    private static func quoted(_ text: String) -> String {
        "'\(text.replacing("'", with: "''"))'"
    }
}

/// A rule of a table that a column has one of some texts.
public struct ListRule: Sendable {
    let table: String
    let list: String
    let comparisons: String

    /// The rule as it stands in the schema: `CHECK (column IN ('value', 'value'))`. - Parameter space: what stands between `IN` and the list.
    public init(_ table: String, _ column: String, in values: [String], space: String = " ") {
        self.table = table
        list = "CHECK (\(column) IN\(space)(\(values.map { "'\($0)'" }.joined(separator: ", "))))"
        comparisons = "CHECK (\(values.map { "\(column) = '\($0)'" }.joined(separator: " OR ")))"
    }
}
