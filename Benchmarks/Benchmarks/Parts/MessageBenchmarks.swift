import Benchmark
import Money
import Resilience
import ServiceClient
import StockAPI
import StrictJSON

/// What reading and writing each message of a checkout costs.
func messageBenchmarks() {
    let reservationID = "01a1fc67-dc5f-73d2-b01a-3d9bb1be25bf"
    let price = Money(minorUnits: 1_000, currency: .usd)
    let reservation = Reservation(
        id: reservationID, status: .reserved, lines: [ReservedLine(itemID: 1, quantity: 2, unitPrice: price)],
        total: Money(minorUnits: 2_000, currency: .usd), createdAt: Timestamp(milliseconds: 1_795_278_000_000),
        expiresAt: Timestamp(milliseconds: 1_795_278_900_000))
    let checkout = Array(#"{"itemId":1,"quantity":2}"#.utf8)
    let reserve = #"{"reservationId":"\#(reservationID)","lines":[{"itemId":1,"quantity":2}],"ttlSeconds":900}"#
    let command =
        #"{"path":"/reserve","key":"\#(reservationID)","requestId":"6f1c9f0e2d7a4b8c9d0e1f2a3b4c5d6e","body":\#(reserve)}"#
    let batch = Array(#"{"commands":[\#(Array(repeating: command, count: 20).joined(separator: ","))]}"#.utf8)
    let answers = Array(
        repeating: CommandBatch.Answer.answered(status: 200, body: reservation.json(), retryAfter: nil), count: 20)

    func reading(_ name: String, _ bytes: [UInt8], _ read: @escaping @Sendable (JSONNode) throws -> Void) {
        Benchmark("JSON: read \(name)", configuration: .thousands) { benchmark in
            for _ in benchmark.scaledIterations { try read(try JSONParser.parse(bytes)) }
        }
    }
    reading("a checkout", checkout) { json in
        var reader = try ObjectReader(json)
        blackHole(Cart.lines(from: &reader))
        try reader.finish()
    }
    reading("a reservation", reservation.json()) { blackHole($0) }
    reading("a batch of 20 reserves", batch) { blackHole(try CommandBatch.commands(json: $0)) }
    reading("the answers to it", CommandBatch.write(answers)) { blackHole($0) }

    Benchmark("JSON: write a reservation", configuration: .thousands) { benchmark in
        for _ in benchmark.scaledIterations { blackHole(reservation.json()) }
    }
    Benchmark("JSON: write the answers to a batch of 20", configuration: .thousands) { benchmark in
        for _ in benchmark.scaledIterations { blackHole(CommandBatch.write(answers)) }
    }
}
