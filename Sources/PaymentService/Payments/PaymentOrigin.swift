import Correlation

/// The request by which a payment was made. What the worker does later is found by it: in the logs by the request's id, in the
/// traces by a link.
struct PaymentOrigin: Hashable, Sendable {
    /// Its `X-Request-ID` (NX-04).
    let requestID: String
    /// Its span; nil when traces are not recorded.
    let trace: TraceContext?
}
