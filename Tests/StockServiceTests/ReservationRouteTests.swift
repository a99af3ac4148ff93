import StockAPI
import StrictJSON
import TestSupport
import Testing

@testable import StockService

@Suite("The routes of reservations", .timeLimit(.minutes(5)))
struct ReservationRouteTests {
    private let fixture: StockFixture

    init() throws { fixture = try StockFixture() }

    // MARK: - Answers

    @Test("a reserve answers with the reservation as the contract shows it")
    func reserve() async throws {
        try await fixture.stock(1, price: 1000, onHand: 5)
        try await fixture.run { client in
            let answer = try await client.reserve(2, key: "k")
            #expect(answer.status == 200)
            #expect(
                answer.names() == [
                    "reservationId", "status", "totalFee", "total", "expiresAt", "lines", "createdAt",
                ])
            #expect(answer.text("status") == "reserved")
            #expect(answer.number("totalFee") == "20.00")
            #expect(answer.integer("total/amount") == 2000)
            #expect(answer.text("total/currency") == "USD")
            #expect(answer.integer("lines/0/itemId") == 1)
            #expect(answer.integer("lines/0/quantity") == 2)
            #expect(answer.integer("lines/0/unitPrice/amount") == 1000)
            #expect(answer.text("createdAt") == "2026-01-01T00:00:00.000Z")
            #expect(answer.text("expiresAt") == "2026-01-01T00:15:00.000Z")
            let id = try #require(answer.text("reservationId"))
            #expect(try await client.get("/reservations/\(id)").body == answer.body)
        }
    }

    @Test("a reserve keeps the id and the time to live that it is given")
    func ownIDAndTime() async throws {
        try await fixture.stock(1, onHand: 5)
        try await fixture.run { client in
            let body = #"{"lines":[{"itemId":1,"quantity":1}],"reservationId":"mine","ttlSeconds":60}"#
            let answer = try await client.post("/reserve", body, key: "k")
            #expect(answer.text("reservationId") == "mine")
            #expect(answer.text("expiresAt") == "2026-01-01T00:01:00.000Z")
        }
    }

    @Test(
        "what a version before has reserved under an id that is none any more can be handed over; nothing new is made under such a one"
    )
    func earlierID() async throws {
        try await fixture.stock(1, onHand: 5)
        _ = try await fixture.reserve("cart/1", [LineRequest(itemID: 1, quantity: 2)])
        try await fixture.run { client in
            let body = #"{"reservationId":"cart/1"}"#
            for _ in 0..<2 { #expect(try await client.post("/complete", body).text("status") == "completed") }
            for path in ["/complete", "/release"] {
                let unknown = try await client.post(path, #"{"reservationId":"cart/2"}"#)
                #expect(unknown.status == 422 && unknown.text("errors/0/pointer") == "#/reservationId")
            }
        }
    }

    @Test("release and complete answer with the reservation, and repeated with the same")
    func settle() async throws {
        try await fixture.stock(1, onHand: 5)
        try await fixture.run { client in
            let released = try #require(try await client.reserve(1, key: "a").text("reservationId"))
            let completed = try #require(try await client.reserve(1, key: "b").text("reservationId"))

            let release = try await client.release(released)
            #expect(release.status == 200)
            #expect(release.text("status") == "canceled")
            #expect(try await client.release(released).body == release.body)
            #expect(try await client.get("/reservations/\(released)").body == release.body)

            let complete = try await client.complete(completed)
            #expect(complete.status == 200)
            #expect(complete.text("status") == "completed")
            #expect(try await client.complete(completed).body == complete.body)

            #expect(try await client.complete(released).code == "reservation-state-conflict")
            #expect(try await client.release(completed).code == "reservation-state-conflict")
            #expect(try await client.release(completed).status == 409)
        }
    }

    @Test("a tombstone is shown canceled, without lines, total or expiry")
    func tombstone() async throws {
        try await fixture.run { client in
            let answer = try await client.release("never-seen")
            #expect(answer.status == 200)
            #expect(answer.names() == ["reservationId", "status", "lines", "createdAt"])
            #expect(answer.text("status") == "canceled")
            #expect(answer.count("lines") == 0)
        }
    }

    @Test("a reservation that does not exist is not found")
    func notFound() async throws {
        try await fixture.run { client in
            for answer in [try await client.complete("none"), try await client.get("/reservations/none")] {
                #expect(answer.status == 404)
                #expect(answer.code == "reservation-not-found")
            }
        }
    }

    // MARK: - Refusals

    @Test("a refusal has the status and code of its reason")
    func refusals() async throws {
        try await fixture.stock(1, onHand: 5)
        try await fixture.stock(2, price: Int64.max, onHand: 5)
        try await fixture.run { client in
            let insufficient = try await client.reserve(6, key: "a")
            #expect(insufficient.status == 409)
            #expect(insufficient.code == "insufficient-stock")
            #expect(insufficient.header("Retry-After") == nil)
            #expect(insufficient.value("retryable") == .bool(false))

            let unknown = try await client.post("/reserve", #"{"itemId":9,"quantity":1}"#, key: "b")
            #expect(unknown.status == 404)
            #expect(unknown.code == "item-not-found")

            let overflow = try await client.post("/reserve", #"{"itemId":2,"quantity":2}"#, key: "c")
            #expect(overflow.status == 422)
            #expect(overflow.code == "validation-failed")
            #expect(overflow.text("errors/0/pointer") == "#/quantity")

            let late = try await client.release("gone")
            #expect(late.status == 200)
            let conflict = try await client.post(
                "/reserve", #"{"itemId":1,"quantity":1,"reservationId":"gone"}"#, key: "d")
            #expect(conflict.status == 409)
            #expect(conflict.code == "reservation-state-conflict")
        }
    }

    @Test(
        "a command that is not valid names the place of its fault, and leaves its key free (IK-17)",
        arguments: [
            (#"{"itemId":1,"quantity":0}"#, "#/quantity"), (#"{"itemId":1,"quantity":-1}"#, "#/quantity"),
            (#"{"itemId":1,"quantity":1.5}"#, "#/quantity"), (#"{"itemId":1,"quantity":"2"}"#, "#/quantity"),
            (#"{"itemId":1,"quantity":1000001}"#, "#/quantity"), (#"{"itemId":1,"quantity":1e400}"#, "#/quantity"),
            (#"{"itemId":2147483648,"quantity":1}"#, "#/itemId"), (#"{"quantity":1}"#, "#/itemId"),
            (#"{"itemId":1,"quantity":1,"ttlSeconds":0}"#, "#/ttlSeconds"),
            (#"{"itemId":1,"quantity":1,"reservationId":""}"#, "#/reservationId"),
            (#"{"itemId":1,"quantity":1,"note":"x"}"#, "#/note"),
            (#"{"lines":[{"itemId":1,"quantity":1},{"itemId":1,"quantity":1}]}"#, "#/lines/1/itemId"),
        ])
    func invalid(_ body: String, pointer: String) async throws {
        try await fixture.stock(1, onHand: 1_000_000)
        try await fixture.run { client in
            let refused = try await client.post("/reserve", body, key: "k")
            #expect(refused.status == 422)
            #expect(refused.text("errors/0/pointer") == pointer)
            #expect(try await client.reserve(1_000_000, key: "k").status == 200)
        }
    }

    @Test("a hundred lines may be reserved at once, and no more")
    func lines() async throws {
        for id in Int64(1)...101 { try await fixture.stock(id, onHand: 1) }
        try await fixture.run { client in
            func body(_ count: Int) -> String {
                let lines = (1...count).map { #"{"itemId":\#($0),"quantity":1}"# }.joined(separator: ",")
                return #"{"lines":[\#(lines)]}"#
            }
            #expect(try await client.post("/reserve", body(101), key: "a").status == 422)
            let answer = try await client.post("/reserve", body(100), key: "b")
            #expect(answer.status == 200)
            #expect(answer.count("lines") == 100)
        }
        #expect(try await fixture.accounts().count { $0.reserved == 1 } == 100)
    }

    @Test("a release or complete needs exactly a reservation id", arguments: ["/release", "/complete"])
    func invalidSettle(_ path: String) async throws {
        try await fixture.run { client in
            for body in [#"{}"#, #"{"reservationId":7}"#, #"{"reservationId":"r","more":1}"#, #"{"reservationId":""}"#]
            {
                let answer = try await client.post(path, body)
                #expect(answer.status == 422)
            }
            #expect(try await client.post(path, "{").status == 400)
        }
    }

    // MARK: - Keys

    @Test("a replay has the same bytes and says so, and takes nothing more (IK-11)")
    func replay() async throws {
        try await fixture.stock(1, onHand: 5)
        try await fixture.run { client in
            let first = try await client.reserve(2, key: "k")
            let second = try await client.reserve(2, key: "k")
            #expect(!first.isReplayed)
            #expect(second.isReplayed)
            #expect(second.status == 200)
            #expect(second.body == first.body)
        }
        #expect(try await fixture.levels(1) == Levels(onHand: 5, reserved: 2))
    }

    @Test("a reserve without a key is refused")
    func keyMissing() async throws {
        try await fixture.stock(1, onHand: 5)
        try await fixture.run { client in
            let answer = try await client.post("/reserve", #"{"itemId":1,"quantity":1}"#)
            #expect(answer.status == 400)
            #expect(answer.code == "idempotency-key-missing")
        }
        #expect(try await fixture.levels(1) == Levels(onHand: 5, reserved: 0))
    }

    @Test(
        "another command under a used key is refused, whether the first succeeded or failed (IK-13)",
        arguments: [2, 9] as [Int64],
        [
            #"{"itemId":1,"quantity":3}"#, #"{"itemId":1,"quantity":2,"ttlSeconds":5}"#,
            #"{"itemId":1,"quantity":2,"reservationId":"r"}"#,
        ])
    func mismatch(_ quantity: Int64, _ body: String) async throws {
        try await fixture.stock(1, onHand: 5)
        try await fixture.run { client in
            #expect(try await client.reserve(quantity, key: "k").status == (quantity == 2 ? 200 : 409))
            let other = try await client.post("/reserve", body, key: "k")
            #expect(other.status == 422)
            #expect(other.code == "idempotency-key-reused")
        }
    }

    @Test("under a key that is the reservation's id the answer stays what it was, also when the goods have left")
    func keyIsID() async throws {
        try await fixture.stock(1, onHand: 5)
        try await fixture.run { client in
            let body = #"{"itemId":1,"quantity":2,"reservationId":"r","ttlSeconds":60}"#
            let first = try await client.post("/reserve", body, key: "r")
            #expect(first.status == 200)
            #expect(!first.isReplayed)
            #expect(try await client.complete("r").status == 200)
            let second = try await client.post("/reserve", body, key: "r")
            #expect(second.isReplayed)
            #expect(second.body == first.body)
        }
        #expect(try await fixture.levels(1) == Levels(onHand: 3, reserved: 0))
    }

    @Test("under a key that is the reservation's id another command is refused, and a canceled one stays canceled")
    func keyIsIDMismatch() async throws {
        try await fixture.stock(1, onHand: 5)
        try await fixture.run { client in
            let body = #"{"itemId":1,"quantity":2,"reservationId":"r","ttlSeconds":60}"#
            #expect(try await client.post("/reserve", body, key: "r").status == 200)
            for other in [
                #"{"itemId":1,"quantity":3,"reservationId":"r","ttlSeconds":60}"#,
                #"{"itemId":1,"quantity":2,"reservationId":"r","ttlSeconds":61}"#,
            ] {
                let answer = try await client.post("/reserve", other, key: "r")
                #expect(answer.status == 422)
                #expect(answer.code == "idempotency-key-reused")
            }
            // What Stock holds goods for by itself may change, so a command that names no time is the same.
            let untimed = try await client.post("/reserve", #"{"itemId":1,"quantity":2,"reservationId":"r"}"#, key: "r")
            #expect(untimed.isReplayed)
            #expect(try await client.release("r").status == 200)
            let late = try await client.post("/reserve", body, key: "r")
            #expect(late.status == 409)
            #expect(late.code == "reservation-state-conflict")
            let others = #"{"itemId":1,"quantity":3,"reservationId":"r","ttlSeconds":60}"#
            #expect(try await client.post("/reserve", others, key: "r").code == "idempotency-key-reused")
        }
        #expect(try await fixture.levels(1) == Levels(onHand: 5, reserved: 0))
    }

    @Test("the key of a refusal that is the reservation's id as well, with another command, is refused (IK-13)")
    func refusedKeyIsIDMismatch() async throws {
        try await fixture.stock(1, onHand: 5)
        try await fixture.run { client in
            let body = #"{"itemId":1,"quantity":9,"reservationId":"r"}"#
            let refused = try await client.post("/reserve", body, key: "r")
            #expect(refused.code == "insufficient-stock")
            let other = try await client.post("/reserve", #"{"itemId":1,"quantity":1,"reservationId":"r"}"#, key: "r")
            #expect(other.status == 422)
            #expect(other.code == "idempotency-key-reused")
            #expect(try await client.post("/reserve", body, key: "r").code == "insufficient-stock")
        }
        #expect(try await fixture.levels(1) == Levels(onHand: 5, reserved: 0))
    }

    @Test("an invalid total leaves a key free that is the reservation's id as well (IK-17)")
    func invalidLeavesKeyThatIsID() async throws {
        try await fixture.stock(1, price: Int64.max, onHand: 5)
        try await fixture.run { client in
            for (key, id) in [("k", #","reservationId":"k""#), ("l", "")] {
                let invalid = #"{"itemId":1,"quantity":2,"reservationId":"\#(key)"}"#
                let tooMuch = try await client.post("/reserve", invalid, key: key)
                #expect(tooMuch.code == "validation-failed")
                let corrected = try await client.post("/reserve", #"{"itemId":1,"quantity":1\#(id)}"#, key: key)
                #expect(corrected.status == 200)
            }
        }
    }

    @Test(
        "a key takes goods once, whether or not it is the reservation's id as well (IK-13)", arguments: [false, true])
    func keyAndID(idFirst: Bool) async throws {
        try await fixture.stock(1, onHand: 5)
        try await fixture.run { client in
            let commands = [#"{"itemId":1,"quantity":1}"#, #"{"itemId":1,"quantity":2,"reservationId":"k"}"#]
            let (first, second) = idFirst ? (commands[1], commands[0]) : (commands[0], commands[1])
            let taken = try await client.post("/reserve", first, key: "k")
            #expect(taken.status == 200)
            #expect(try await client.post("/reserve", second, key: "k").code == "idempotency-key-reused")
            #expect(try await client.post("/reserve", first, key: "k").body == taken.body)
        }
    }

    @Test("a cart that is not valid leaves its key free for the one that is (IK-17)")
    func invalidLeavesKey() async throws {
        try await fixture.stock(1, price: Int64.max, onHand: 5)
        try await fixture.run { client in
            let tooMuch = try await client.reserve(2, key: "k")
            #expect(tooMuch.code == "validation-failed")
            #expect(try await client.reserve(1, key: "k").status == 200)
        }
    }

    @Test("a failed key may be tried again, and then takes the goods that have come (IK-18)")
    func again() async throws {
        try await fixture.stock(1, onHand: 1)
        let fixture = fixture
        try await fixture.run { client in
            #expect(try await client.reserve(2, key: "k").status == 409)
            _ = try await fixture.catalogue { try $0.restock(1, quantity: 1) }
            let answer = try await client.reserve(2, key: "k")
            #expect(answer.status == 200)
            #expect(!answer.isReplayed)
        }
    }

    @Test(
        "the goods of a reservation are one user's: its id brings another none, whether they are held, refused or sold (IK-14)",
        arguments: ["reserved", "refused", "completed"])
    func idOfAnother(_ state: String) async throws {
        try await fixture.stock(1, onHand: state == "refused" ? 1 : 5)
        try await fixture.run { client in
            let body = #"{"itemId":1,"quantity":2,"reservationId":"r"}"#
            let ada = try await client.post("/reserve", body, key: "r", user: "ada")
            #expect(ada.status == (state == "refused" ? 409 : 200))
            if state == "completed" { #expect(try await client.complete("r").status == 200) }
            if state == "refused" { _ = try await fixture.catalogue { try $0.restock(1, quantity: 4) } }
            for (key, user) in [("r", "bob"), ("k", "bob"), ("k", nil)] {
                let other = try await client.post("/reserve", body, key: key, user: user)
                #expect((other.status, other.code) == (409, "reservation-state-conflict"))
                #expect(other.text("detail") == "The id was used by another user.")
            }
            let again = try await client.post("/reserve", body, key: "r", user: "ada")
            #expect((again.status, again.text("detail")) == (ada.status, ada.text("detail")))
        }
    }

    @Test("a reservation that was made before users were noted answers anybody, as it did")
    func idOfNobodyKnown() async throws {
        try await fixture.stock(1, onHand: 5)
        let body = #"{"itemId":1,"quantity":2,"reservationId":"r"}"#
        try await fixture.run { client in
            #expect(try await client.post("/reserve", body, key: "r", user: "ada").status == 200)
            try await fixture.store("UPDATE reservations SET user_id = NULL WHERE reservation_id = ?", "r")
            #expect(try await client.post("/reserve", body, key: "r", user: "bob").isReplayed)
        }
    }

    @Test("equal keys of two users are two reservations (IK-14)")
    func users() async throws {
        try await fixture.stock(1, onHand: 5)
        try await fixture.run { client in
            let ada = try await client.reserve(1, key: "k", user: "ada")
            let bob = try await client.reserve(1, key: "k", user: "bob")
            #expect(ada.text("reservationId") != bob.text("reservationId"))
            #expect(!bob.isReplayed)
        }
        #expect(try await fixture.levels(1) == Levels(onHand: 5, reserved: 2))
    }

    @Test("of fifty reserves at once with one key, one takes the goods and all answer alike (IK-16)")
    func concurrent() async throws {
        try await fixture.stock(1, onHand: 100)
        try await fixture.run { client in
            let answers = try await withThrowingTaskGroup(of: RouteResponse.self) { group in
                for _ in 0..<50 { group.addTask { try await client.reserve(2, key: "k") } }
                return try await group.reduce(into: [RouteResponse]()) { $0.append($1) }
            }
            #expect(answers.allSatisfy { $0.status == 200 })
            #expect(answers.count { !$0.isReplayed } == 1)
            #expect(Set(answers.map(\.body)).count == 1)
        }
        #expect(try await fixture.levels(1) == Levels(onHand: 100, reserved: 2))
    }

    @Test("one reservation id under two keys is one reservation (IK-27)")
    func sameIDOtherKey() async throws {
        try await fixture.stock(1, onHand: 5)
        try await fixture.run { client in
            let body = #"{"itemId":1,"quantity":2,"reservationId":"r"}"#
            let first = try await client.post("/reserve", body, key: "a")
            let second = try await client.post("/reserve", body, key: "b")
            #expect(second.status == 200)
            #expect(second.body == first.body)

            let other = try await client.post(
                "/reserve", #"{"itemId":1,"quantity":1,"reservationId":"r"}"#, key: "c")
            #expect(other.status == 422)
            #expect(other.code == "idempotency-key-reused")
        }
        #expect(try await fixture.levels(1) == Levels(onHand: 5, reserved: 2))
    }

    @Test("over HTTP too, of a hundred reserves at once for the last ten exactly ten succeed")
    func race() async throws {
        try await fixture.stock(1, onHand: 10)
        try await fixture.run { client in
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for number in 0..<100 { group.addTask { try await client.reserve(1, key: "k\(number)").status } }
                return try await group.reduce(into: [Int]()) { $0.append($1) }
            }
            #expect(statuses.count { $0 == 200 } == 10)
            #expect(statuses.count { $0 == 409 } == 90)
        }
        #expect(try await fixture.levels(1) == Levels(onHand: 10, reserved: 10))
    }
}
