/// A database that commits many callers' work together.
public protocol Store: Sendable {
    /// `transaction` for a body without a result; what a store implements.
    func perform(_ body: @escaping @Sendable (any Transaction) throws -> Void) async throws
}

extension Store {
    /// Runs `body` in a transaction of its own and returns once what it wrote is durable (hazards 16 and 49).
    ///
    /// Bodies run one at a time in the order of their arrival. Those that arrive together share a commit and its
    /// synchronisation with the disk, up to a bound; one that throws undoes only its own writes. A body may run twice, when another one of
    /// its group throws, and the commit may fail after it has run: effects outside the transaction belong after this call or
    /// in `Transaction.onCommit`, or are taken back by `Transaction.onRollback`. It may run on another thread than its caller.
    ///
    /// - Throws: what `body` throws, after its writes are undone; or a `StoreError`, whose cases say what of it may be stored all the same.
    @inlinable @inline(__always)
    public func transaction<T: Sendable>(
        _ body: @escaping @Sendable (any Transaction) throws -> T
    ) async throws -> T {
        let result = TransactionResult<T>()
        try await perform { result.set(try body($0)) }
        return try result.get()
    }
}

/// What the body of a transaction returned. Made where the type is known, so that the store itself has no generic code to look up at
/// run time.
///
/// Unchecked, because it is written by whoever runs the body, before its caller goes on and reads it: never by two at once.
@usableFromInline
final class TransactionResult<T: Sendable>: @unchecked Sendable {
    @usableFromInline var value: T?

    @inlinable
    init() {}

    /// A body that runs twice leaves what it returned last.
    @inlinable
    func set(_ value: T) { self.value = value }

    /// - Throws: `StoreError.failed` when the body did not run.
    @inlinable
    func get() throws -> T {
        guard let value else { throw StoreError.failed("the transaction did not run") }
        return value
    }
}

/// What a body may do inside its transaction. Not valid after the body has returned.
public protocol Transaction {
    /// Runs a statement that returns no rows. - Returns: how many rows it changed. - Throws: `StoreError`.
    @discardableResult
    func run(_ sql: String, _ arguments: [SQLValue]) throws -> Int

    /// The first row of a query, mapped; nil without rows. - Throws: `StoreError`, or what `map` throws.
    func first<T>(_ sql: String, _ arguments: [SQLValue], _ map: (any SQLRow) throws -> T) throws -> T?

    /// All rows of a query, mapped. The query states its own limit. - Throws: `StoreError`, or what `map` throws.
    func all<T>(_ sql: String, _ arguments: [SQLValue], _ map: (any SQLRow) throws -> T) throws -> [T]

    /// Calls `effect` when the writes of this body are durable, before the caller goes on: for what must be seen only then.
    func onCommit(_ effect: @escaping @Sendable () -> Void)

    /// Calls `undo` if the writes of this body do not become durable: for state that is kept beside the database.
    func onRollback(_ undo: @escaping @Sendable () -> Void)
}

/// One row of a result. Columns count from 0.
public protocol SQLRow {
    /// A whole number.
    func integer(_ column: Int) -> Int64
    /// A whole number, or nil for NULL.
    func optionalInteger(_ column: Int) -> Int64?
    /// A text.
    func text(_ column: Int) -> String
    /// A text, or nil for NULL.
    func optionalText(_ column: Int) -> String?
    /// Bytes; empty for NULL.
    func blob(_ column: Int) -> [UInt8]
}

/// A value given to a statement.
public enum SQLValue: Sendable, Equatable, ExpressibleByStringLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByNilLiteral
{
    case integer(Int64)
    case text(String)
    case blob([UInt8])
    case null

    /// A literal text.
    public init(stringLiteral value: String) { self = .text(value) }
    /// A literal number.
    public init(integerLiteral value: Int64) { self = .integer(value) }
    /// NULL.
    public init(nilLiteral: ()) { self = .null }
    /// A text, or NULL.
    public init(_ text: String?) { self = text.map { .text($0) } ?? .null }
    /// A number, or NULL.
    public init(_ number: Int64?) { self = number.map { .integer($0) } ?? .null }
}
