import Storage
import TestSupport
import Testing

@testable import MockProvider

@Suite("Mock provider schema")
struct ProviderSchemaTests {
    @Test("no rule of a table has a list that SQLite would make a temporary table of at every write")
    func noListRules() async throws {
        #expect(try await tablesWithListRules(ProviderSchema.migrations) == [])
    }

    @Test("a page of payments reads so many as it has, in their order, and sorts nothing")
    func pagePlan() async throws {
        let test = try TestEnvironment(migrations: ProviderSchema.migrations)
        let plan = try await test.store.transaction { transaction in
            try transaction.all(
                "EXPLAIN QUERY PLAN \(ProviderBooks.selectPage)", [.text("stripe"), .integer(0), .integer(10)]
            ) { $0.text(3) }
        }
        #expect(plan == ["SEARCH provider_payments USING INTEGER PRIMARY KEY (rowid>?)"])
    }
}
