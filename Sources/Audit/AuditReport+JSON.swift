import AuditAPI
import Resilience
import StockAPI
import StrictJSON

extension AuditReport {
    /// The report for a program: one object. Amounts are in minor units.
    ///
    /// ```json
    /// {"clean":false,"startedAt":"…","graceSeconds":60,
    ///  "findingCounts":{"INV-8":1},
    ///  "findings":[{"invariant":"INV-8","subjects":[{"type":"order","id":"…"}],"explanation":"…"}],
    ///  "counts":{"orders":{…},"reservations":{…},"charges":{…},"items":{…},"accounts":{…},"movements":{…}},
    ///  "totals":[{"currency":"USD","completedOrders":2000,"capturedForOrders":2000,…}]}
    /// ```
    public var json: [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                json.bool("clean", isClean)
                json.string("startedAt", startedAt.description)
                json.number("graceSeconds", Self.seconds(grace))
                json.object("findingCounts") { json in
                    for (invariant, count) in findingCounts.sorted(by: { $0.key < $1.key }) {
                        json.integer(escaping: "INV-\(invariant)", Int64(count))
                    }
                }
                json.array("findings") { json in findings.forEach { $0.write(to: &json) } }
                json.object("counts") { writeCounts(to: &$0) }
                json.array("totals") { json in
                    for (currency, flow) in money.byCurrency.sorted(by: { $0.key < $1.key }) {
                        flow.write(currency, to: &json)
                    }
                }
            }
        }
    }

    private func writeCounts(to json: inout JSONWriter) {
        json.object("orders") { json in
            for status in [OrderEntry.Status.completed, .failed, .pending] {
                json.integer(escaping: status.rawValue, Int64(orders[status] ?? 0))
            }
            json.integer("tooYoung", youngOrders)
        }
        json.object("reservations") { json in
            for status in [Reservation.Status.completed, .canceled, .reserved] {
                json.integer(escaping: status.rawValue, Int64(reservations[status] ?? 0))
            }
            json.integer("ofOrders", orderReservations)
        }
        json.object("charges") { json in
            for status in [ChargeEntry.Status.succeeded, .failed, .canceled, .pending] {
                json.integer(escaping: status.rawValue, Int64(charges[status] ?? 0))
            }
            json.integer("ofOrders", orderCharges)
            json.integer("tooYoung", youngCharges)
        }
        json.object("items") { json in
            json.integer("total", items)
            json.integer("moving", movingItems)
        }
        json.object("payments") { json in json.integer("total", payments) }
        json.object("accounts") { json in json.integer("total", accounts) }
        if let movements { json.object("movements") { json in json.integer("total", movements) } }
    }
}

extension Finding {
    fileprivate func write(to json: inout JSONWriter) {
        json.object { json in
            json.string("invariant", "INV-\(invariant)")
            json.array("subjects") { json in
                for subject in subjects {
                    json.object { json in
                        switch subject {
                        case .order(let id): json.pair("order", id)
                        case .reservation(let id): json.pair("reservation", id)
                        case .charge(let id): json.pair("charge", id)
                        case .payment(let id): json.pair("payment", id)
                        case .item(let id): json.pair("item", String(id))
                        case .currency(let code): json.pair("currency", code)
                        case .account(let id): json.pair("account", id)
                        }
                    }
                }
            }
            json.string("explanation", explanation)
        }
    }
}

extension MoneyFlow {
    fileprivate func write(_ currency: String, to json: inout JSONWriter) {
        json.object { json in
            json.string("currency", currency)
            json.integer("completedOrders", sold)
            json.integer("capturedForOrders", captured)
            json.integer("refundedForOrders", refunded)
            json.integer("returnedByClients", returned)
            json.integer("capturedDirectly", capturedDirectly)
            json.integer("refundedDirectly", refundedDirectly)
        }
    }
}

extension JSONWriter {
    fileprivate mutating func pair(_ type: String, _ id: String) {
        string("type", type)
        string("id", id)
    }
}
