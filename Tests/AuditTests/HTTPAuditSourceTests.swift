import AuditAPI
import Resilience
import ServiceClient
import StockAPI
import StrictJSON
import Synchronization
import TestSupport
import Testing

@testable import Audit

@Suite("Reading the services over HTTP", .timeLimit(.minutes(5)))
struct HTTPAuditSourceTests {
    private static let bases: [AuditedService: String] = [
        .order: "http://order", .stock: "http://stock", .payment: "http://payment",
    ]

    private func source(_ transport: ScriptedTransport, _ sleeper: RecordingSleeper) -> HTTPAuditSource {
        HTTPAuditSource(baseURLs: Self.bases, transport: transport, sleeper: sleeper, time: ManualTime())
    }

    private func sleeper() -> RecordingSleeper { RecordingSleeper(advancing: ManualTime(), maximum: 100) }

    @Test("a page is asked for with its limit and its cursor, whatever characters that has")
    func page() async throws {
        let found = [Records.reservation(), Records.reservation("r")]
        let page = AuditPage.json(readAt: Records.now, found: found, limit: 1)
        let transport = ScriptedTransport(.success(ServiceResponse(status: 200, body: page)))
        let read = try await source(transport, sleeper()).page(of: ReservationEntry.self, after: "a b&ü", limit: 7)
        #expect(transport.urls == ["http://stock/audit/reservations?limit=7&cursor=a%20b%26%C3%BC"])
        #expect(read.entries == [Records.reservation()])
        #expect(read.nextCursor == Records.reservationID)
        #expect(read.readAt == Records.now)
    }

    @Test("records are asked for by their ids, charges also with keys")
    func byID() async throws {
        let page = AuditPage.json(readAt: Records.now, asked: [Records.charge()])
        let transport = ScriptedTransport(.success(ServiceResponse(status: 200, body: page)))
        let read = try await source(transport, sleeper()).entries(of: ChargeEntry.self, ids: ["a", "b"], keys: ["k"])
        #expect(transport.urls == ["http://payment/audit/charges?id=a&id=b&key=k"])
        #expect(read.entries == [Records.charge()])
        #expect(read.nextCursor == nil)
    }

    @Test("a service that does not answer for a while is asked again")
    func again() async throws {
        let page = AuditPage<OrderEntry>.json(readAt: Records.now, asked: [])
        let transport = ScriptedTransport(
            .failure(.notSent("refused")), .success(ServiceResponse(status: 503, body: [])), .failure(.timedOut),
            .success(ServiceResponse(status: 200, body: page)))
        let sleeper = sleeper()
        _ = try await source(transport, sleeper).page(of: OrderEntry.self, after: nil, limit: 1)
        #expect(transport.urls.count == 4)
        #expect(sleeper.sleeps == [.milliseconds(500), .seconds(1), .seconds(2)])
    }

    @Test("a service that never answers is an error that names it and the reason")
    func never() async throws {
        let transport = ScriptedTransport(always: .failure(.notSent("connection refused")))
        let source = source(transport, sleeper())
        let error = await #expect(throws: AuditError.self) {
            try await source.page(of: ChargeEntry.self, after: nil, limit: 1)
        }
        #expect(
            error?.description == "Payment cannot be read at http://payment/audit/charges: connection refused")
        #expect(transport.urls.count == 5)
    }

    @Test("an address without the route is an error at once, and is told about nginx")
    func noRoute() async throws {
        let transport = ScriptedTransport(always: .success(ServiceResponse(status: 404, body: [])))
        let source = source(transport, sleeper())
        let error = await #expect(throws: AuditError.self) {
            try await source.page(of: OrderEntry.self, after: nil, limit: 1)
        }
        #expect(error?.reason.contains("nginx") == true)
        #expect(transport.urls.count == 1)
    }

    @Test("an answer that makes no sense is an error at once", arguments: ["", "{}", "[]", #"{"readAtMs":1}"#])
    func nonsense(_ body: String) async throws {
        let transport = ScriptedTransport(always: .success(ServiceResponse(status: 200, body: Array(body.utf8))))
        let source = source(transport, sleeper())
        await #expect(throws: AuditError.self) { try await source.page(of: OrderEntry.self, after: nil, limit: 1) }
        #expect(transport.urls.count == 1)
    }

    // MARK: - What is sent

    @Test("every record is read as it was written")
    func roundTrip() throws {
        try expectRoundTrip([
            Records.order(), Records.order(Records.orderID, .pending), Records.order(isReadable: false),
            Records.order(columnTotal: .some(nil), user: ""),
        ])
        try expectRoundTrip([
            Records.reservation(), Records.reservation("t", .canceled, lines: [], total: nil, expiresAt: nil),
            Records.reservation("\u{1}\"ü", lines: nil),
        ])
        try expectRoundTrip([
            Records.charge(), Records.charge(of: nil, refunded: 5, byOrder: 5, refundPendingSince: Records.made),
        ])
        try expectRoundTrip([Records.item(), Records.item(available: -1)])
    }

    private func expectRoundTrip<Entry: AuditEntry>(_ entries: [Entry]) throws {
        let page = try AuditPage<Entry>(
            json: try JSONParser.parse(AuditPage.json(readAt: Records.made, asked: entries)))
        #expect(page.entries == entries)
    }

    @Test("a page ends at its limit or at its bytes, and goes on after its last entry")
    func cut() throws {
        let lines = (1...100).map { LineRequest(itemID: 1_000_000_000 + $0, quantity: 1_000_000) }
        let large = (100..<300).map { Records.reservation("r\($0)", lines: lines) }
        let bytes = AuditPage.json(readAt: Records.made, found: large, limit: 200)
        #expect(bytes.count < AuditLimits.pageBytes + 8192)
        let page = try AuditPage<ReservationEntry>(json: try JSONParser.parse(bytes))
        #expect((10..<200).contains(page.entries.count))
        #expect(page.nextCursor == page.entries.last?.id)

        let whole = try AuditPage<ReservationEntry>(
            json: try JSONParser.parse(AuditPage.json(readAt: Records.made, found: Array(large.prefix(2)), limit: 2)))
        #expect(whole.entries.count == 2)
        #expect(whole.nextCursor == nil)
    }

    @Test("as many of the largest entries as may be asked for by id are less than a client takes")
    func largest() {
        let lines = (1...100).map { LineRequest(itemID: 2_147_483_547 + $0, quantity: 1_000_000) }
        let entry = Records.reservation(
            String(repeating: "\u{1F600}", count: 128), lines: lines, total: Amount(.max, "USD"))
        let page = AuditPage.json(
            readAt: Records.now, asked: Array(repeating: entry, count: AuditLimits.ids))
        #expect(page.count < CurlTransport.maximumResponseBytes)
    }
}

/// Answers each request with the next of its results, or always with the same, and keeps the addresses.
private final class ScriptedTransport: Transport {
    private let state: Mutex<(results: [Result<ServiceResponse, TransportError>], urls: [String])>
    private let always: Result<ServiceResponse, TransportError>?

    init(_ results: Result<ServiceResponse, TransportError>...) {
        state = Mutex((results, []))
        always = nil
    }

    init(always result: Result<ServiceResponse, TransportError>) {
        state = Mutex(([], []))
        always = result
    }

    var urls: [String] { state.withLock { $0.urls } }

    func send(_ request: ServiceRequest) async throws(TransportError) -> ServiceResponse {
        let result = state.withLock { state in
            state.urls.append(request.url)
            if let always { return always }
            return state.results.isEmpty ? .failure(.notSent("the script has ended")) : state.results.removeFirst()
        }
        return try result.get()
    }
}
