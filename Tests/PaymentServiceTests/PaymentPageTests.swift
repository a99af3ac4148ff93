import Resilience
import ServiceKit
import Storage
import TestSupport
import Testing

@testable import PaymentService

@Suite("Pages of payments that nobody in particular has made", .timeLimit(.minutes(5)))
struct PaymentPageTests {
    @Test("each has what may be seen of so many payments, and together they have all, whatever was claimed since")
    func bounded() async throws {
        let fixture = try PaymentFixture.withGateway(ScriptedGateway())
        try await fixture.run { client in
            for user in ["ann", "bob"] {
                let body = #"{"userId":"\(user)","initialBalance":0}"#.replacing(#"\(user)"#, with: user)
                #expect(try await client.post("/accounts", body).status == 201)
            }
            // Ann's account comes to be hers alone.
            #expect(try await client.get("/accounts/balance", user: "ann").status == 200)
            let count = PaymentRecords.maximumScanned * 2 + 30
            try await fixture.environment.store.transaction { transaction in
                try transaction.run("UPDATE accounts SET opened_by = 'ann' WHERE user_id = 'ann'", [])
                try transaction.run(
                    """
                    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
                    INSERT INTO payments (payment_id, kind, direction, user_id, made_by, account_number, account_id, provider,
                        amount, currency, fee, fee_remainder, status, phase, attempts, rounds, may_be_taken, due_at, epoch, held,
                        refunding, refunded, fee_back, created_at, updated_at)
                    SELECT printf('00000000-0000-7000-8000-%012d', n), 'deposit', 'in', user_id, '', account_number, account_id,
                        'stripe', 100, 'USD', 0, 0, iif(n % 2 = 0, 'succeeded', 'failed'), 'send', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
                    FROM numbers JOIN accounts ON user_id = iif(n % 100 = 1 OR n = ?1, 'bob', 'ann')
                    """, [.integer(Int64(count))])
            }
            for (status, expected) in [("", 12), ("&status=failed", 11), ("&status=succeeded", 1)] {
                var (seen, sizes): ([String], [Int]) = ([], [])
                var cursor: String?
                repeat {
                    let next = cursor.map { "&cursor=\($0)" } ?? ""
                    let page = try await client.get("/payments?limit=4\(status)\(next)")
                    let ids = (0..<(page.count("payments") ?? 0)).compactMap { page.text("payments/\($0)/paymentId") }
                    seen += ids
                    sizes.append(ids.count)
                    cursor = page.text("nextCursor")
                } while cursor != nil && sizes.count < 20
                #expect(seen == seen.sorted(by: >) && Set(seen).count == expected, "\(status): \(sizes)")
                #expect(cursor == nil)
            }
        }
    }

    @Test("no more than that is read for one, by an index")
    func plan() async throws {
        let fixture = try PaymentFixture.withGateway(ScriptedGateway())
        let plan = try await fixture.environment.store.transaction { transaction in
            try transaction.all(
                """
                EXPLAIN QUERY PLAN SELECT payment_id FROM payments WHERE refund_of IS NULL AND made_by = ''
                    AND payment_id < 'x' ORDER BY payment_id DESC LIMIT 1 OFFSET 499
                """, []
            ) { $0.text(3) }
        }
        #expect(plan.count == 1 && plan[0].contains("INDEX payments_by_nobody"), "\(plan)")
    }
}
