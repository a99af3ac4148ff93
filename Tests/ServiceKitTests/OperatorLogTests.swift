import Resilience
import ServiceKit
import Storage
import TestSupport
import Testing

@testable import ServiceKit

@Suite("What operators did")
struct OperatorLogTests {
    private func action(_ number: Int) -> OperatorAction {
        OperatorCommand(name: "ann", reason: "\(number)").action(
            "retry", plan: nil, at: Timestamp(milliseconds: Int64(number)))
    }

    @Test("however often somebody acts on a record it is noted; the first and the last are kept, and the numbers go on")
    func withoutEnd() async throws {
        let test = try TestEnvironment(migrations: [OperatorLog.migration, OperatorLog.withoutEnd])
        let total = 2 * Int(OperatorLog.kept) + 300
        try await test.store.transaction { transaction in
            let log = OperatorLog(transaction)
            for number in 1...total {
                try log.record(action(number), on: "o-1")
                #expect(try log.count(of: "o-1") == number)
            }
            try log.record(action(1), on: "o-2")
            let kept = try transaction.all(
                "SELECT sequence FROM operator_actions WHERE subject = 'o-1' ORDER BY sequence", []
            ) { $0.integer(0) }
            #expect(kept == Array(1...OperatorLog.kept) + Array((Int64(total) - OperatorLog.kept + 1)...Int64(total)))
            #expect(try log.actions(on: "o-1").last?.reason == "\(total)")
            #expect(try log.actions(on: "o-1").count == OperatorLog.shown)
            #expect(try log.actions(on: "o-2").count == 1)
        }
    }

    @Test("what was noted before is still there")
    func migrated() async throws {
        let test = try TestEnvironment(migrations: [OperatorLog.migration])
        try await test.store.transaction { try OperatorLog($0).record(action(1), on: "o-1") }
        let found = try await test.store.transaction { transaction in
            for statement in OperatorLog.withoutEnd.sql.split(separator: ";") where statement.contains(" ") {
                try transaction.run(String(statement), [])
            }
            return try OperatorLog(transaction).actions(on: "o-1")
        }
        #expect(found.map(\.reason) == ["1"])
    }
}
