import AuditAPI
import Resilience
import ServiceClient
import StrictJSON

/// Where an audit reads the services' records. The seam behind which HTTP stands, and in tests three dictionaries.
public protocol AuditSource: Sendable {
    /// A page of all records of a kind, beginning after an id. - Throws: `AuditError`.
    func page<Entry: AuditEntry>(
        of kind: Entry.Type, after cursor: String?, limit: Int
    ) async throws(AuditError) -> AuditPage<Entry>

    /// The records with these ids that there are, at most `AuditLimits.ids`; `keys` are for charges. - Throws: `AuditError`.
    func entries<Entry: AuditEntry>(
        of kind: Entry.Type, ids: [String], keys: [String]
    ) async throws(AuditError) -> AuditPage<Entry>
}

/// A service cannot be read, and so the audit cannot be made.
public struct AuditError: RepeatableError, Equatable, CustomStringConvertible {
    /// Which service.
    public let service: AuditedService
    /// The address that was asked.
    public let url: String
    /// What came back, for a person.
    public let reason: String
    /// Reading again does no harm; but an answer that says no will say no again.
    public let mayBeRepeated: Bool

    /// An error.
    public init(_ service: AuditedService, url: String, reason: String, mayPass: Bool) {
        self.service = service
        self.url = url
        self.reason = reason
        mayBeRepeated = mayPass
    }

    public var description: String {
        "\(service.rawValue.prefix(1).uppercased())\(service.rawValue.dropFirst()) cannot be read at \(url): \(reason)"
    }
}

/// The services over HTTP: one request at a time, so that an audit takes no more of a service than one client does.
public struct HTTPAuditSource: AuditSource {
    /// For one attempt of one page.
    static let timeout = Duration.seconds(10)
    /// A service that is being started again is back within these.
    static let schedule = BackoffSchedule(base: .milliseconds(500), cap: .seconds(4), maximumAttempts: 5)

    private let baseURLs: [AuditedService: String]
    private let transport: any Transport
    private let retry: RetryWithBackoff

    /// A source. - Parameter baseURLs: the address of each service itself, not nginx's, without a slash at the end.
    public init(
        baseURLs: [AuditedService: String], transport: any Transport, sleeper: any Sleeper = ClockSleeper(),
        time: any TimeSource = SystemTime()
    ) {
        self.baseURLs = baseURLs
        self.transport = transport
        retry = RetryWithBackoff(schedule: Self.schedule, sleeper: sleeper, time: time)
    }

    public func page<Entry: AuditEntry>(
        of kind: Entry.Type, after cursor: String?, limit: Int
    ) async throws(AuditError) -> AuditPage<Entry> {
        var query = "limit=\(limit)"
        if let cursor { query += "&cursor=\(Self.escape(cursor))" }
        return try await get(kind, query)
    }

    public func entries<Entry: AuditEntry>(
        of kind: Entry.Type, ids: [String], keys: [String]
    ) async throws(AuditError) -> AuditPage<Entry> {
        let query = ids.map { "id=\(Self.escape($0))" } + keys.map { "key=\(Self.escape($0))" }
        return try await get(kind, query.joined(separator: "&"))
    }

    private func get<Entry: AuditEntry>(
        _ kind: Entry.Type, _ query: String
    ) async throws(AuditError) -> AuditPage<Entry> {
        let url = baseURLs[Entry.service, default: ""] + Entry.path
        do {
            return try await retry { _ in try await attempt(kind, url, query) }
        } catch let error as AuditError {
            throw error
        } catch let error as RetriesExhausted {
            guard let last = error.last as? AuditError else { throw Self.failure(Entry.service, url, "\(error)") }
            throw last
        } catch {
            throw Self.failure(Entry.service, url, "\(error)")
        }
    }

    private func attempt<Entry: AuditEntry>(
        _ kind: Entry.Type, _ url: String, _ query: String
    ) async throws(AuditError) -> AuditPage<Entry> {
        let request = ServiceRequest(
            method: "GET", url: "\(url)?\(query)", headers: [], body: [], timeout: Self.timeout)
        let response: ServiceResponse
        do {
            response = try await transport.send(request)
        } catch {
            throw Self.failure(Entry.service, url, Self.reason(error), mayPass: true)
        }
        switch response.status {
        case 200: break
        case 404:
            throw Self.failure(
                Entry.service, url,
                """
                there is no such route (404). Give the address of the service itself: nginx does not let audits through. \
                Is it the right service, and of this version?
                """)
        default:
            throw Self.failure(Entry.service, url, "it answered \(response.status)", mayPass: response.status >= 500)
        }
        do {
            return try AuditPage<Entry>(json: try JSONParser.parse(response.body))
        } catch {
            throw Self.failure(Entry.service, url, "its answer makes no sense to this version of the audit: \(error)")
        }
    }

    private static func failure(
        _ service: AuditedService, _ url: String, _ reason: String, mayPass: Bool = false
    ) -> AuditError {
        AuditError(service, url: url, reason: reason, mayPass: mayPass)
    }

    private static func reason(_ error: TransportError) -> String {
        switch error {
        case .notSent(let reason), .connectionLost(let reason): reason
        case .queueFull: "too many requests are waiting"
        case .timedOut, .notSentInTime: "no answer within \(timeout.wholeMilliseconds / 1000) s"
        case .notHTTP: "what answers there is no HTTP server"
        case .responseTooLarge: "its answer is too large"
        }
    }

    /// A value of a query: everything but unreserved characters is escaped (RFC 3986, section 2.3).
    static func escape(_ text: String) -> String {
        var escaped: [UInt8] = []
        let digits = Array("0123456789ABCDEF".utf8)
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                escaped.append(byte)
            default: escaped += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: escaped, as: UTF8.self)
    }
}
