import CCurl
import Foundation
import Resilience
import Synchronization

/// HTTP through libcurl's multi interface: one thread, many transfers at once, connections kept and used again.
///
/// Redirects are refused (they come back as the response they are), proxies from the environment are ignored, and bodies
/// are capped. libcurl sends a request once more by itself when a kept connection turns out to have been closed before
/// any byte of an answer. That is safe where an answer to the second copy is never taken for one to the first; any other request has a
/// connection of its own (`ServiceRequest.isSentOnce`).
///
/// A cancelled task does not abort its transfer: what was sent may have its effect, so the answer is still awaited,
/// within the request's time-out.
public final class CurlTransport: Transport {
    /// The largest response body taken, in bytes. The answers to a whole batch fit in it, however many lines each has:
    /// a batch whose answers were refused would be repeated for ever.
    public static let maximumResponseBytes = 2 << 20
    /// Connections to one service; transfers beyond that wait for a place, within their time-out.
    public static let maximumConnections = 64
    /// Transfers that wait beyond this are refused as not sent.
    static let maximumWaiting = 16_384
    /// How long an address is taken to be that of a name, as nginx does: a service that is started anew may have another.
    static let nameLifeSeconds = 5

    private let loop: CurlLoop
    private let noticesReplays: Bool

    /// Starts the thread.
    ///
    /// - Parameters:
    ///   - userAgent: names this service to the others.
    ///   - noticesReplays: whether responses are looked through for `Idempotent-Replayed`, which no service needs to know.
    ///   - maximumConnections: to one service.
    public init(
        userAgent: String, noticesReplays: Bool = false, maximumConnections: Int = CurlTransport.maximumConnections
    ) {
        self.noticesReplays = noticesReplays
        loop = CurlLoop(userAgent: userAgent, maximumConnections: maximumConnections)
        let loop = loop
        let thread = Thread { loop.run() }
        thread.name = "curl"
        thread.start()
    }

    deinit { loop.stop() }

    public func send(_ request: ServiceRequest) async throws(TransportError) -> ServiceResponse {
        let result = await withCheckedContinuation { continuation in
            loop.submit(
                CurlTransfer(request: request, noticesReplays: noticesReplays) { continuation.resume(returning: $0) })
        }
        return try result.get()
    }
}

/// The thread that owns the multi handle.
///
/// Unchecked: the handles of libcurl are pointers that Swift cannot reason about. The multi handle is used by `run`'s
/// thread alone, but for `curl_multi_wakeup`, which libcurl documents as callable from any thread.
private final class CurlLoop: @unchecked Sendable {
    private struct Inbox {
        var transfers: [CurlTransfer] = []
        var isStopped = false
    }

    private let handle: UnsafeMutableRawPointer?
    private let userAgent: String
    private let maximumConnections: Int
    private let inbox = Mutex(Inbox())

    init(userAgent: String, maximumConnections: Int) {
        self.userAgent = userAgent
        self.maximumConnections = maximumConnections
        // Thread-safe since 7.84 and idempotent.
        curl_global_init(Int(CURL_GLOBAL_DEFAULT))
        handle = curl_multi_init()
        // How many are in use is bounded by `Places`: what waits inside libcurl for a connection is not held to its time-out.
        // Idle connections to all services together; with fewer than are in use, every other call would connect anew.
        _ = ccurl_multi_set_long(handle, CURLMOPT_MAXCONNECTS, 8 * maximumConnections)
    }

    func submit(_ transfer: CurlTransfer) {
        let (isStopped, isFirst) = inbox.withLock { inbox in
            if inbox.isStopped { return (true, false) }
            inbox.transfers.append(transfer)
            return (false, inbox.transfers.count == 1)
        }
        if isStopped {
            transfer.complete(.failure(.notSent("the client is closed")))
        } else if isFirst {
            curl_multi_wakeup(handle)
        }
    }

    func stop() {
        // Inside the lock: the thread frees the handle only after it has seen the flag.
        inbox.withLock { inbox in
            inbox.isStopped = true
            curl_multi_wakeup(handle)
        }
    }

    func run() {
        var active: [UnsafeMutableRawPointer: CurlTransfer] = [:]
        var idle: [UnsafeMutableRawPointer] = []
        var places = Places(maximum: maximumConnections)
        while true {
            let (submitted, isStopped) = inbox.withLock { inbox in
                defer { inbox.transfers = [] }
                return (inbox.transfers, inbox.isStopped)
            }
            if isStopped {
                (places.waiting + submitted).forEach { $0.complete(.failure(.notSent("the client is closed"))) }
                break
            }
            let now = ContinuousClock.now
            for transfer in places.admit(submitted, at: now) {
                guard let easy = idle.popLast() ?? curl_easy_init() else {
                    places.leave(transfer)
                    transfer.complete(.failure(.notSent("libcurl has no handle to give")))
                    continue
                }
                active[easy] = transfer
                transfer.prepare(easy, userAgent: userAgent, at: now)
                curl_multi_add_handle(handle, easy)
            }
            var running: Int32 = 0
            curl_multi_perform(handle, &running)
            var result = CURLE_OK
            while let easy = ccurl_next_finished(handle, &result) {
                curl_multi_remove_handle(handle, easy)
                if let transfer = active.removeValue(forKey: easy) {
                    places.leave(transfer)
                    transfer.finish(easy, result)
                }
                curl_easy_reset(easy)
                idle.append(easy)
            }
            curl_multi_poll(handle, nil, 0, places.longestPause(from: .now), nil)
        }
        for (easy, transfer) in active {
            curl_multi_remove_handle(handle, easy)
            transfer.complete(.failure(.connectionLost("the client is closed")))
            curl_easy_cleanup(easy)
        }
        idle.forEach { curl_easy_cleanup($0) }
        curl_multi_cleanup(handle)
    }
}

/// Bounds the transfers to each service that are under way at once. Those beyond wait here, in their order and no longer than half of
/// their time-outs: that they were not sent says nothing of the service.
private struct Places {
    let maximum: Int
    private(set) var waiting: [CurlTransfer] = []
    private var taken: [Substring: Int] = [:]
    /// Whether somebody has left since the waiting were looked at.
    private var isToBeLookedAt = false

    init(maximum: Int) {
        self.maximum = maximum
    }

    /// Takes further transfers on. - Returns: those that have a place now; they must `leave` it.
    mutating func admit(_ submitted: [CurlTransfer], at now: ContinuousClock.Instant) -> [CurlTransfer] {
        let room = max(0, CurlTransport.maximumWaiting - waiting.count)
        for transfer in submitted.dropFirst(room) { transfer.complete(.failure(.queueFull)) }
        isToBeLookedAt = false
        var admitted: [CurlTransfer] = []
        var staying: [CurlTransfer] = []
        for transfer in waiting + submitted.prefix(room) {
            if transfer.latestStart <= now {
                transfer.complete(.failure(.notSentInTime))
            } else if taken[transfer.origin, default: 0] < maximum {
                taken[transfer.origin, default: 0] += 1
                admitted.append(transfer)
            } else {
                staying.append(transfer)
            }
        }
        waiting = staying
        return admitted
    }

    mutating func leave(_ transfer: CurlTransfer) {
        taken[transfer.origin, default: 1] -= 1
        if taken[transfer.origin] == 0 { taken[transfer.origin] = nil }
        isToBeLookedAt = true
    }

    /// How long nobody needs to look after those who wait, in milliseconds.
    func longestPause(from now: ContinuousClock.Instant) -> Int32 {
        guard let first = waiting.map(\.latestStart).min() else { return 1000 }
        return isToBeLookedAt ? 0 : Int32(max(1, min(1000, (first - now).wholeMilliseconds + 1)))
    }
}

/// One request on its way.
///
/// Unchecked: handed from the caller to the thread of `CurlLoop` through its inbox, and used by that thread alone from
/// then on.
private final class CurlTransfer: @unchecked Sendable {
    /// The part of the address that says which service it is.
    let origin: Substring
    /// When the time is over, waiting for a place included.
    let deadline: ContinuousClock.Instant
    /// Not begun any later: with less than half of its time left, the service might well act and its answer not be waited for.
    let latestStart: ContinuousClock.Instant
    private let request: ServiceRequest
    private let noticesReplays: Bool
    private let completion: @Sendable (Result<ServiceResponse, TransportError>) -> Void
    private var headerList: UnsafeMutablePointer<curl_slist>?
    private var body: [UInt8] = []
    private var isTooLarge = false

    init(
        request: ServiceRequest, noticesReplays: Bool,
        completion: @escaping @Sendable (Result<ServiceResponse, TransportError>) -> Void
    ) {
        self.request = request
        self.noticesReplays = noticesReplays
        self.completion = completion
        origin = Self.origin(of: request.url)
        deadline = .now + request.timeout
        latestStart = deadline - request.timeout / 2
    }

    /// All before the path.
    private static func origin(of url: String) -> Substring {
        let slash = UInt8(ascii: "/")
        guard let scheme = url.utf8.firstIndex(of: slash) else { return url[...] }
        let host = url.utf8[scheme...].drop { $0 == slash }
        return url[..<(host.firstIndex(of: slash) ?? url.endIndex)]
    }

    func complete(_ result: Result<ServiceResponse, TransportError>) {
        curl_slist_free_all(headerList)
        headerList = nil
        completion(result)
    }

    func prepare(_ easy: UnsafeMutableRawPointer, userAgent: String, at now: ContinuousClock.Instant) {
        let left = max(1, Int((deadline - now).wholeMilliseconds))
        for header in request.headers {
            let value = header.name == ServiceRequest.timeoutHeader ? String(left) : header.value
            headerList = curl_slist_append(headerList, "\(header.name): \(value)")
        }
        // Without this libcurl asks for permission to send larger bodies and waits for it.
        headerList = curl_slist_append(headerList, "Expect:")
        _ = ccurl_set_string(easy, CURLOPT_URL, request.url)
        _ = ccurl_set_string(easy, CURLOPT_USERAGENT, userAgent)
        _ = ccurl_set_string(easy, CURLOPT_PROXY, "")
        _ = ccurl_set_string(easy, CURLOPT_PROTOCOLS_STR, "http,https")
        _ = ccurl_set_long(easy, CURLOPT_NOSIGNAL, 1)
        // A name server that does not answer would hold this thread, and with it the calls to all other services, until it does.
        _ = ccurl_set_long(easy, CURLOPT_QUICK_EXIT, 1)
        _ = ccurl_set_long(easy, CURLOPT_DNS_CACHE_TIMEOUT, CurlTransport.nameLifeSeconds)
        _ = ccurl_set_long(easy, CURLOPT_FOLLOWLOCATION, 0)
        _ = ccurl_set_long(easy, CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        _ = ccurl_set_long(easy, CURLOPT_TIMEOUT_MS, left)
        if request.isSentOnce {
            _ = ccurl_set_long(easy, CURLOPT_FRESH_CONNECT, 1)
            _ = ccurl_set_long(easy, CURLOPT_FORBID_REUSE, 1)
        }
        _ = ccurl_set_pointer(easy, CURLOPT_HTTPHEADER, headerList)
        if request.method == "POST" {
            _ = ccurl_set_long(easy, CURLOPT_POST, 1)
            _ = ccurl_set_long(easy, CURLOPT_POSTFIELDSIZE, request.body.count)
            request.body.withUnsafeBytes { bytes in
                _ = ccurl_set_pointer(
                    easy, CURLOPT_COPYPOSTFIELDS, UnsafeMutableRawPointer(mutating: bytes.baseAddress))
            }
        }
        _ = ccurl_set_pointer(easy, CURLOPT_WRITEDATA, Unmanaged.passUnretained(self).toOpaque())
        _ = ccurl_set_write_function(easy) { bytes, size, count, context in
            guard let bytes, let context else { return 0 }
            let transfer = Unmanaged<CurlTransfer>.fromOpaque(context).takeUnretainedValue()
            return transfer.receive(UnsafeRawBufferPointer(start: bytes, count: size * count))
        }
    }

    /// Takes a piece of the body; any other number than its size makes libcurl give up the transfer.
    private func receive(_ bytes: UnsafeRawBufferPointer) -> Int {
        guard body.count + bytes.count <= CurlTransport.maximumResponseBytes else {
            isTooLarge = true
            return 0
        }
        body.append(contentsOf: bytes)
        return bytes.count
    }

    func finish(_ easy: UnsafeMutableRawPointer, _ code: CURLcode) {
        guard code == CURLE_OK else { return complete(.failure(error(easy, code))) }
        var status = 0
        _ = ccurl_get_long(easy, CURLINFO_RESPONSE_CODE, &status)
        var retryAfter: curl_off_t = 0
        _ = ccurl_get_offset(easy, CURLINFO_RETRY_AFTER, &retryAfter)
        let wait: Duration? = retryAfter > 0 ? .seconds(Int64(min(retryAfter, 3600))) : nil
        let isReplay = noticesReplays && isReplay(easy)
        complete(.success(ServiceResponse(status: status, body: body, retryAfter: wait, isReplay: isReplay)))
    }

    private func isReplay(_ easy: UnsafeMutableRawPointer) -> Bool {
        var header: UnsafeMutablePointer<curl_header>?
        guard curl_easy_header(easy, "Idempotent-Replayed", 0, UInt32(CURLH_HEADER), -1, &header) == CURLHE_OK,
            let header
        else { return false }
        return String(cString: header.pointee.value) == "true"
    }

    private func error(_ easy: UnsafeMutableRawPointer, _ code: CURLcode) -> TransportError {
        let reason = String(cString: curl_easy_strerror(code))
        // Counted over every connection that libcurl tried: a request that was lost on a kept connection and could then not
        // be repeated on a new one ends with "could not connect", and yet it was sent (hazard 12).
        var bytesSent = 0
        _ = ccurl_get_long(easy, CURLINFO_REQUEST_SIZE, &bytesSent)
        if bytesSent == 0 { return .notSent(reason) }
        switch code {
        case CURLE_OPERATION_TIMEDOUT: return .timedOut
        case CURLE_WRITE_ERROR where isTooLarge: return .responseTooLarge
        case CURLE_UNSUPPORTED_PROTOCOL, CURLE_WEIRD_SERVER_REPLY: return .notHTTP
        default: return .connectionLost(reason)
        }
    }
}
