import Storage
import TestSupport
import Testing

@testable import OrderService

@Suite("Order schema")
struct OrderSchemaTests {
    @Test("no rule of a table has a list that SQLite would make a temporary table of at every write")
    func noListRules() async throws {
        #expect(try await tablesWithListRules(OrderSchema.migrations) == [])
    }

    @Test("the order that a key stands for is found by the index of keys, without sorting")
    func lastUnderKey() async throws {
        let test = try TestEnvironment(migrations: OrderSchema.migrations)
        let plan = try await test.store.transaction { transaction in
            try transaction.all("EXPLAIN QUERY PLAN \(SagaLog.lastUnderKey)", [.text("key"), .text("ada")]) {
                $0.text(3)
            }
        }
        #expect(plan == ["SEARCH orders USING INDEX orders_by_key (operation_key=? AND user_id=?)"])
    }
}
