import ServiceClient
import Synchronization

/// Answers each request with the next of its results and keeps the requests.
public final class ScriptedTransport: Transport {
    private let state: Mutex<(results: [Result<ServiceResponse, TransportError>], requests: [ServiceRequest])>

    /// A transport that has these answers and then no connection.
    public init(_ results: Result<ServiceResponse, TransportError>...) {
        state = Mutex((results, []))
    }

    /// What was sent, in order.
    public var requests: [ServiceRequest] { state.withLock { $0.requests } }

    public func send(_ request: ServiceRequest) async throws(TransportError) -> ServiceResponse {
        let result = state.withLock { state in
            state.requests.append(request)
            return state.results.isEmpty ? .failure(.notSent("the script has ended")) : state.results.removeFirst()
        }
        return try result.get()
    }
}

extension ServiceRequest {
    /// The values of a header, whatever the case of its name.
    public func values(_ name: String) -> [String] {
        headers.filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
    }
}
