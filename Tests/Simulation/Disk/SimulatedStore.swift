import Storage

/// The store of one process on the disk of its machine: the real one, which commits when the scheduler says so, behind a
/// door that is shut when the process is dead and when the disk is full.
struct SimulatedStore: Store {
    let incarnation: Incarnation
    private let store: SQLiteStore

    init(_ incarnation: Incarnation, on disk: Disk) {
        self.incarnation = incarnation
        store = SQLiteStore(
            adopting: disk.database,
            loop: SimulatedLoop { task in incarnation.world.scheduler.enqueue(.loopTask(task, incarnation)) },
            onFatal: { _ in incarnation.kill() })
    }

    func perform(_ body: @escaping @Sendable (any Transaction) throws -> Void) async throws {
        guard incarnation.isAlive else { return try await incarnation.wait(orOnDeath: closed()) { _ in }.get() }
        if incarnation.world.mistake.acknowledgesEarly, incarnation.node.role == .order {
            // Where a saga stands is answered before it is stored: what the body has done is undone, and done again later.
            do {
                try await perform(body, notYet: true)
            } catch is NotYet {
                incarnation.spawn { _ = try? await perform(body, notYet: false) }
            }
            return
        }
        try await perform(body, notYet: false)
    }

    private struct NotYet: Error {}

    /// - Parameter notYet: whether a body that stores where a saga stands is undone, by a `NotYet`.
    private func perform(
        _ body: @escaping @Sendable (any Transaction) throws -> Void, notYet: Bool
    ) async throws {
        try await store.perform { transaction in
            guard incarnation.isAlive else { throw StoreError.closed }
            let hadWritten = incarnation.hasWritten.value
            do {
                let simulated = SimulatedTransaction(transaction, of: incarnation)
                try body(simulated)
                if notYet, simulated.storesSaga { throw NotYet() }
            } catch {
                // What it wrote is undone.
                incarnation.hasWritten.value = hadWritten
                throw error
            }
        }
        guard incarnation.isAlive else { throw StoreError.closed }
    }

    private func closed() -> Result<Void, any Error> { .failure(StoreError.closed) }
}

/// The statements of one body, as the mistake of the run has them.
private final class SimulatedTransaction: Transaction {
    private let real: any Transaction
    private let incarnation: Incarnation
    /// Whether it has stored where a saga stands, after its beginning.
    private(set) var storesSaga = false

    init(_ real: any Transaction, of incarnation: Incarnation) {
        self.real = real
        self.incarnation = incarnation
    }

    func run(_ sql: String, _ arguments: [SQLValue]) throws -> Int {
        let statement = try prepare(sql, arguments)
        guard let statement else { return 1 }
        if sql.hasPrefix("UPDATE orders SET status") || sql.hasPrefix("UPDATE orders SET saga") { storesSaga = true }
        let changes = try real.run(statement.sql, statement.arguments)
        if changes > 0, isWrite(sql) { try wrote(statement) }
        return changes
    }

    func first<T>(_ sql: String, _ arguments: [SQLValue], _ map: (any SQLRow) throws -> T) throws -> T? {
        guard let statement = try prepare(sql, arguments) else { return nil }
        let value = try real.first(statement.sql, statement.arguments, map)
        if value != nil, isWrite(sql) { try wrote(statement) }
        return value
    }

    func all<T>(_ sql: String, _ arguments: [SQLValue], _ map: (any SQLRow) throws -> T) throws -> [T] {
        guard let statement = try prepare(sql, arguments) else { return [] }
        let values = try real.all(statement.sql, statement.arguments, map)
        if !values.isEmpty, isWrite(sql) { try wrote(statement) }
        return values
    }

    func onCommit(_ effect: @escaping @Sendable () -> Void) {
        real.onCommit(effect)
    }

    func onRollback(_ undo: @escaping @Sendable () -> Void) {
        real.onRollback(undo)
    }

    /// The statement as it is to be run; nil when a mistake leaves it out.
    private func prepare(_ sql: String, _ arguments: [SQLValue]) throws -> SQLStatement? {
        let statement = SQLStatement(role: incarnation.node.role, sql: sql, arguments: arguments)
        if isWrite(sql), incarnation.world.scheduler.now < incarnation.node.diskIsFullUntil.value {
            throw StoreError.full
        }
        guard let change = incarnation.world.mistake.statement else { return statement }
        let changed = change(statement)
        if changed != statement { incarnation.world.mistake.wasMade.value = true }
        return changed
    }

    private func isWrite(_ sql: String) -> Bool { sql.utf8.first != UInt8(ascii: "S") }

    private func wrote(_ statement: SQLStatement) throws {
        incarnation.hasWritten.value = true
        try incarnation.world.audit.wrote(statement, in: real)
    }
}

/// A statement on its way to a disk.
struct SQLStatement: Sendable, Equatable {
    let role: Node.Role
    var sql: String
    var arguments: [SQLValue]
}
