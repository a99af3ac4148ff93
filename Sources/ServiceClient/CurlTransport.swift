import CCurl
import Foundation
import Resilience
import Synchronization

/// HTTP through libcurl's multi interface: one thread, many transfers at once, connections kept and used again.
///
/// Redirects are refused (they come back as the response they are), proxies from the environment are ignored, and bodies
/// are capped. libcurl sends a request once more by itself when a kept connection turns out to have been closed before
/// any byte of an answer; that is safe because every command carries the id that makes it idempotent.
///
/// A cancelled task does not abort its transfer: what was sent may have its effect, so the answer is still awaited,
/// within the request's time-out.
public final class CurlTransport: Transport {
    /// The largest response body taken, in bytes. The answers to a whole batch fit in it, however many lines each has:
    /// a batch whose answers were refused would be repeated for ever.
    public static let maximumResponseBytes = 2 << 20
    /// Connections to one service; transfers beyond that wait inside libcurl.
    public static let maximumConnections = 64

    private let loop: CurlLoop
    private let noticesReplays: Bool

    /// Starts the thread.
    ///
    /// - Parameters:
    ///   - userAgent: names this service to the others.
    ///   - noticesReplays: whether responses are looked through for `Idempotent-Replayed`, which no service needs to know.
    public init(userAgent: String, noticesReplays: Bool = false) {
        self.noticesReplays = noticesReplays
        loop = CurlLoop(userAgent: userAgent)
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
    private let inbox = Mutex(Inbox())

    init(userAgent: String) {
        self.userAgent = userAgent
        // Thread-safe since 7.84 and idempotent.
        curl_global_init(Int(CURL_GLOBAL_DEFAULT))
        handle = curl_multi_init()
        _ = ccurl_multi_set_long(handle, CURLMOPT_MAX_HOST_CONNECTIONS, CurlTransport.maximumConnections)
        // Idle connections to all services together; with fewer than are in use, every other call would connect anew.
        _ = ccurl_multi_set_long(handle, CURLMOPT_MAXCONNECTS, 8 * CurlTransport.maximumConnections)
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
        while true {
            let (submitted, isStopped) = inbox.withLock { inbox in
                defer { inbox.transfers = [] }
                return (inbox.transfers, inbox.isStopped)
            }
            if isStopped {
                submitted.forEach { $0.complete(.failure(.notSent("the client is closed"))) }
                break
            }
            for transfer in submitted {
                guard let easy = idle.popLast() ?? curl_easy_init() else {
                    transfer.complete(.failure(.notSent("libcurl has no handle to give")))
                    continue
                }
                active[easy] = transfer
                transfer.prepare(easy, userAgent: userAgent)
                curl_multi_add_handle(handle, easy)
            }
            var running: Int32 = 0
            curl_multi_perform(handle, &running)
            var result = CURLE_OK
            while let easy = ccurl_next_finished(handle, &result) {
                curl_multi_remove_handle(handle, easy)
                let transfer = active.removeValue(forKey: easy)
                transfer?.finish(easy, result)
                curl_easy_reset(easy)
                idle.append(easy)
            }
            curl_multi_poll(handle, nil, 0, 1000, nil)
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

/// One request on its way.
///
/// Unchecked: handed from the caller to the thread of `CurlLoop` through its inbox, and used by that thread alone from
/// then on.
private final class CurlTransfer: @unchecked Sendable {
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
    }

    func complete(_ result: Result<ServiceResponse, TransportError>) {
        curl_slist_free_all(headerList)
        headerList = nil
        completion(result)
    }

    func prepare(_ easy: UnsafeMutableRawPointer, userAgent: String) {
        for header in request.headers {
            headerList = curl_slist_append(headerList, "\(header.name): \(header.value)")
        }
        // Without this libcurl asks for permission to send larger bodies and waits for it.
        headerList = curl_slist_append(headerList, "Expect:")
        _ = ccurl_set_string(easy, CURLOPT_URL, request.url)
        _ = ccurl_set_string(easy, CURLOPT_USERAGENT, userAgent)
        _ = ccurl_set_string(easy, CURLOPT_PROXY, "")
        _ = ccurl_set_string(easy, CURLOPT_PROTOCOLS_STR, "http,https")
        _ = ccurl_set_long(easy, CURLOPT_NOSIGNAL, 1)
        _ = ccurl_set_long(easy, CURLOPT_FOLLOWLOCATION, 0)
        _ = ccurl_set_long(easy, CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        _ = ccurl_set_long(easy, CURLOPT_TIMEOUT_MS, max(1, Int(request.timeout.wholeMilliseconds)))
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
