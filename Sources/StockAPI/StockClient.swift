import Money
import MoneyJSON
import Resilience
import ServiceClient
import StrictJSON

/// What Order asks of Stock. Each call is one attempt; every command is idempotent by its reservation id.
public protocol StockClient: Sendable {
    /// Sets goods aside, all lines or none. - Throws: `CallFailure`.
    func reserve(_ command: ReserveCommand, _ context: CallContext) async throws(CallFailure) -> ReservedGoods
    /// Lets the goods leave the stock. - Throws: `CallFailure`.
    func complete(reservationID: String, _ context: CallContext) async throws(CallFailure)
    /// Puts the goods back, or makes sure that a late reserve with this id takes none. - Throws: `CallFailure`.
    func release(reservationID: String, _ context: CallContext) async throws(CallFailure)
}

/// Set these goods aside under this id.
public struct ReserveCommand: Hashable, Sendable {
    /// Made and stored by the caller before the call.
    public let reservationID: String
    /// The goods.
    public let lines: [LineRequest]
    /// How long they are held, in seconds; nil leaves it to Stock.
    public let holdSeconds: Int64?

    /// A command.
    public init(reservationID: String, lines: [LineRequest], holdSeconds: Int64? = nil) {
        self.reservationID = reservationID
        self.lines = lines
        self.holdSeconds = holdSeconds
    }
}

/// What a reservation holds, as far as an order needs to know.
public struct ReservedGoods: Hashable, Sendable {
    /// The price of all lines.
    public let total: Money
    /// The lines with the price held for each.
    public let lines: [ReservedLine]

    /// Goods.
    public init(total: Money, lines: [ReservedLine]) {
        self.total = total
        self.lines = lines
    }
}

/// Stock over HTTP.
public struct HTTPStockClient: StockClient {
    /// Problems by which Stock refuses for good. It keeps the refusal under the reservation's id, but need not keep `validation-failed`.
    public static let refusalCodes: Set<String> = [
        "item-not-found", "insufficient-stock", "reservation-not-found", "reservation-state-conflict",
        "validation-failed",
        "idempotency-key-reused",
    ]

    private let caller: ServiceCaller

    /// A client. - Parameter caller: knows Stock's address and `refusalCodes`.
    public init(caller: ServiceCaller) {
        self.caller = caller
    }

    public func reserve(_ command: ReserveCommand, _ context: CallContext) async throws(CallFailure) -> ReservedGoods {
        let body = JSONWriter.bytes { json in
            json.object { json in
                json.string("reservationId", command.reservationID)
                Cart.write(command.lines, to: &json)
                if let holdSeconds = command.holdSeconds { json.integer("ttlSeconds", holdSeconds) }
            }
        }
        return try await caller.post("/reserve", key: command.reservationID, body: body, context: context) { json in
            let (id, goods) = try Self.goods(json)
            guard id == command.reservationID else { throw ValidationFailure("#/reservationId", "is another one") }
            guard goods.lines.map({ LineRequest(itemID: $0.itemID, quantity: $0.quantity) }) == command.lines else {
                throw ValidationFailure("#/lines", "are others")
            }
            return goods
        }
    }

    public func complete(reservationID: String, _ context: CallContext) async throws(CallFailure) {
        try await settle("/complete", reservationID, context, expecting: "completed")
    }

    public func release(reservationID: String, _ context: CallContext) async throws(CallFailure) {
        try await settle("/release", reservationID, context, expecting: "canceled")
    }

    private func settle(
        _ path: String, _ reservationID: String, _ context: CallContext, expecting expected: String
    ) async throws(CallFailure) {
        let body = JSONWriter.bytes { json in json.object { $0.string("reservationId", reservationID) } }
        try await caller.post(path, key: nil, body: body, context: context) { json in
            var reader = try ObjectReader(json)
            guard reader.string("reservationId", length: 1...128) == reservationID,
                reader.string("status", length: 1...32) == expected
            else { throw ValidationFailure("#", "is not the reservation asked for, \(expected)") }
        }
    }

    private static func goods(_ json: JSONNode) throws(ValidationFailure) -> (id: String, goods: ReservedGoods) {
        var reader = try ObjectReader(json)
        let id = reader.string("reservationId", length: 1...128)
        let total = reader.nested("total") { value throws(ValidationFailure) in
            try Money(json: value, in: 0...Int64.max)
        }
        let lines = reader.elements("lines", ReservedLine.init(json:))
        guard let id, let total, let lines else { throw ValidationFailure("#", "is not a reservation") }
        return (id, ReservedGoods(total: total, lines: lines))
    }
}
