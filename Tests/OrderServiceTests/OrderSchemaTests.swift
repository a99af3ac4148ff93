import TestSupport
import Testing

@testable import OrderService

@Suite("Order schema")
struct OrderSchemaTests {
    @Test("no rule of a table has a list that SQLite would make a temporary table of at every write")
    func noListRules() async throws {
        #expect(try await tablesWithListRules(OrderSchema.migrations) == [])
    }
}
