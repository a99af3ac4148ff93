import TestSupport
import Testing

@testable import MockProvider

@Suite("Mock provider schema")
struct ProviderSchemaTests {
    @Test("no rule of a table has a list that SQLite would make a temporary table of at every write")
    func noListRules() async throws {
        #expect(try await tablesWithListRules(ProviderSchema.migrations) == [])
    }
}
