import AuditAPI
import Resilience
import Testing

@testable import Audit

@Suite("What an audit says of the orders of one key")
struct KeyRuleTests {
    private static let ids = (1...4).map { "01a1fc67-dc5f-7000-8000-00000000000\($0)" }
    private static let other = "ffffffffffffffffffffffffffffffff"

    /// An order made and ended so many seconds after the first.
    private func order(
        _ number: Int, _ status: OrderEntry.Status, at seconds: Int, key: String? = nil, command: String? = nil
    ) -> OrderEntry {
        let at = Records.made.advanced(by: .seconds(seconds))
        return Records.order(
            Self.ids[number - 1], status, key: key ?? "000102030405060708090a0b0c0d0e0f",
            command: command ?? "f00102030405060708090a0b0c0d0e0f", createdAt: at)
    }

    private func suspects(_ orders: OrderEntry...) -> [String?] {
        var uses = KeyUses(keyLife: Records.rules.keyLife)
        return orders.map { uses.note($0) }
    }

    @Test("a key may fail any number of times and then succeed, or still be at work")
    func retries() {
        for end in [OrderEntry.Status.completed, .pending] {
            let orders = [order(1, .failed, at: 0), order(2, .failed, at: 1), order(3, end, at: 2)]
            #expect(suspects(orders[0], orders[1], orders[2]) == [nil, nil, nil])
            #expect(Records.rules.judge(orders[0], orders[2]).isEmpty)
        }
    }

    @Test("INV-1: a key has two orders that did not fail, in whichever order they are read")
    func two() {
        for (first, second) in [
            (OrderEntry.Status.completed, OrderEntry.Status.completed), (.completed, .pending), (.pending, .pending),
        ] {
            let (one, other) = (order(1, first, at: 0), order(2, second, at: 1))
            #expect(suspects(one, other) == [nil, Self.ids[0]])
            for findings in [Records.rules.judge(one, other), Records.rules.judge(other, one)] {
                #expect(findings.map(\.invariant) == [1])
                #expect(findings.first?.subjects == [.order(Self.ids[0]), .order(Self.ids[1])])
            }
        }
    }

    @Test("INV-1: a failed order between them hides neither")
    func failedBetween() {
        #expect(
            suspects(order(1, .completed, at: 0), order(2, .failed, at: 1), order(3, .completed, at: 2))
                == [nil, nil, Self.ids[0]])
        #expect(
            suspects(order(1, .failed, at: 0), order(2, .completed, at: 1), order(3, .completed, at: 2))
                == [nil, nil, Self.ids[1]])
    }

    @Test("INV-2: a key has orders for different commands, even if all but one failed")
    func commands() {
        let (one, other) = (order(1, .failed, at: 0), order(2, .completed, at: 1, command: Self.other))
        #expect(suspects(one, other) == [nil, Self.ids[0]])
        #expect(Records.rules.judge(one, other).map(\.invariant) == [2])
    }

    @Test("a key that was forgotten is another key")
    func forgotten() {
        let (one, other) = (order(1, .completed, at: 0), order(2, .completed, at: 86_400, command: Self.other))
        #expect(suspects(one, other) == [nil, nil])
        #expect(Records.rules.judge(one, other).isEmpty)
        let inTime = order(2, .completed, at: 86_399)
        #expect(suspects(one, inTime) == [nil, Self.ids[0]])
    }

    @Test("a key at work is never forgotten")
    func pendingForEver() {
        let (one, other) = (order(1, .pending, at: 0), order(2, .completed, at: 1_000_000))
        #expect(suspects(one, other) == [nil, Self.ids[0]])
        #expect(Records.rules.judge(one, other).map(\.invariant) == [1])
    }

    @Test("different keys have nothing to do with each other, and an order nothing with itself")
    func different() {
        let (one, other) = (order(1, .completed, at: 0), order(2, .completed, at: 1, key: Self.other))
        #expect(suspects(one, other) == [nil, nil])
        #expect(Records.rules.judge(one, other).isEmpty)
        #expect(Records.rules.judge(one, one).isEmpty)
    }

    @Test("forgotten keys are dropped from memory, and those that are not stay known")
    func pruning() {
        var uses = KeyUses(keyLife: .seconds(100))
        func key(_ number: Int) -> String {
            let digits = String(number, radix: 16)
            return String(repeating: "0", count: 32 - digits.count) + digits
        }
        let count = 200_000
        for number in 0..<count {
            let at = Records.made.advanced(by: .seconds(number))
            #expect(uses.note(Records.order(createdAt: at).with(key: key(number))) == nil)
        }
        #expect(uses.count < count / 2)
        let again = Records.order(createdAt: Records.made.advanced(by: .seconds(count))).with(key: key(count - 50))
        #expect(uses.note(again) != nil)
    }
}

extension OrderEntry {
    fileprivate func with(key: String) -> OrderEntry {
        OrderEntry(
            id: id, user: user, status: status, total: total, key: key, command: command, record: record,
            createdAt: createdAt, updatedAt: updatedAt)
    }
}
