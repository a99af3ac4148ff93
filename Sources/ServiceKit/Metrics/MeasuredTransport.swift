import CoreMetrics
import Resilience
import ServiceClient
import Synchronization

/// A transport that times its requests to one service.
public final class MeasuredTransport: Transport {
    private let transport: any Transport
    private let target: String
    private let baseURL: String
    private let factory: any MetricsFactory
    private let time: any TimeSource
    private let route: @Sendable (String) -> String
    private let timers = Mutex<[Key: CoreMetrics.Timer]>([:])

    private struct Key: Hashable {
        let method: String
        let path: String
        let status: Int
        let error: String
    }

    /// A transport around another.
    ///
    /// - Parameters:
    ///   - target: the service's name.
    ///   - baseURL: its address. Paths after it are ours and have no ids in them, so that they may be labels.
    ///   - route: the label of a path; needed where a path has an id in it.
    public init(
        _ transport: any Transport, to target: String, at baseURL: String, metrics: any MetricsFactory,
        time: any TimeSource, route: @escaping @Sendable (String) -> String = { $0 }
    ) {
        self.transport = transport
        self.target = target
        self.baseURL = baseURL
        self.factory = metrics
        self.time = time
        self.route = route
    }

    public func send(_ request: ServiceRequest) async throws(TransportError) -> ServiceResponse {
        let start = time.uptime
        do throws(TransportError) {
            let response = try await transport.send(request)
            record(request, status: response.status, error: "", since: start)
            return response
        } catch {
            record(request, status: 0, error: error.label, since: start)
            throw error
        }
    }

    private func record(_ request: ServiceRequest, status: Int, error: String, since start: Duration) {
        let path = route(String(request.url.dropFirst(baseURL.count)))
        let key = Key(method: request.method, path: path, status: status, error: error)
        let timer = timers.withLock { timers in
            if let known = timers[key] { return known }
            let made = CoreMetrics.Timer(
                label: "http_client_request_duration_seconds",
                dimensions: [
                    ("http_request_method", key.method), ("server_address", target), ("http_route", key.path),
                    ("http_response_status_code", status == 0 ? "" : String(status)), ("error_type", error),
                ], factory: factory)
            timers[key] = made
            return made
        }
        timer.recordNanoseconds((time.uptime - start).wholeNanoseconds)
    }
}
