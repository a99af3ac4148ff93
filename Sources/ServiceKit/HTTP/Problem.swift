import Correlation
import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTPTypes
import StrictJSON

/// The kinds of problem that the services answer with; the raw value is the slug in `type` and the `code`.
public enum ProblemKind: String, Sendable, CaseIterable {
    case invalidJSON = "invalid-json"
    case invalidParameter = "invalid-parameter"
    case userIDInvalid = "user-id-invalid"
    case idempotencyKeyMissing = "idempotency-key-missing"
    case idempotencyKeyInvalid = "idempotency-key-invalid"
    case badRequest = "bad-request"
    case webhookSignatureInvalid = "webhook-signature-invalid"
    case paymentDeclined = "payment-declined"
    case notFound = "not-found"
    case itemNotFound = "item-not-found"
    case orderNotFound = "order-not-found"
    case reservationNotFound = "reservation-not-found"
    case chargeNotFound = "charge-not-found"
    case accountNotFound = "account-not-found"
    case paymentNotFound = "payment-not-found"
    case methodNotAllowed = "method-not-allowed"
    case requestTimeout = "request-timeout"
    case requestInProgress = "request-in-progress"
    case insufficientStock = "insufficient-stock"
    case orderStateConflict = "order-state-conflict"
    case orderWithdrawn = "order-withdrawn"
    case planOutdated = "plan-outdated"
    case sagaUnderWay = "saga-under-way"
    case reservationStateConflict = "reservation-state-conflict"
    case chargeStateConflict = "charge-state-conflict"
    case refundExceedsCharge = "refund-exceeds-charge"
    case paymentStateConflict = "payment-state-conflict"
    case accountExists = "account-exists"
    case balanceLimitExceeded = "balance-limit-exceeded"
    case paymentCanceled = "payment-canceled"
    case payloadTooLarge = "payload-too-large"
    /// Answered by nginx alone, as are `tooManyRequests`, `headerFieldsTooLarge` and `serviceUnavailable`.
    case uriTooLong = "uri-too-long"
    case unsupportedMediaType = "unsupported-media-type"
    case idempotencyKeyReused = "idempotency-key-reused"
    case validationFailed = "validation-failed"
    case refundExceedsPayment = "refund-exceeds-payment"
    case tooManyRequests = "too-many-requests"
    case headerFieldsTooLarge = "header-fields-too-large"
    case internalError = "internal-error"
    case badGateway = "bad-gateway"
    case storeUnavailable = "store-unavailable"
    case draining = "draining"
    case overloaded = "overloaded"
    case serviceUnavailable = "service-unavailable"
    case deadlineExceeded = "deadline-exceeded"
    case providerUnavailable = "provider-unavailable"
    case checkoutUnavailable = "checkout-unavailable"
    case ledgerCheckRunning = "ledger-check-running"
    case outcomeUnknown = "outcome-unknown"
    case gatewayTimeout = "gateway-timeout"

    /// The HTTP status.
    public var status: HTTPResponse.Status {
        switch self {
        case .invalidJSON, .invalidParameter, .userIDInvalid, .idempotencyKeyMissing, .idempotencyKeyInvalid,
            .badRequest:
            .badRequest
        case .webhookSignatureInvalid: .unauthorized
        case .paymentDeclined: HTTPResponse.Status(code: 402, reasonPhrase: "Payment Required")
        case .notFound, .itemNotFound, .orderNotFound, .reservationNotFound, .chargeNotFound, .accountNotFound,
            .paymentNotFound:
            .notFound
        case .methodNotAllowed: .methodNotAllowed
        case .requestTimeout: .requestTimeout
        case .requestInProgress, .insufficientStock, .orderStateConflict, .orderWithdrawn, .planOutdated, .sagaUnderWay,
            .reservationStateConflict, .chargeStateConflict, .refundExceedsCharge, .paymentStateConflict,
            .accountExists,
            .balanceLimitExceeded, .paymentCanceled:
            .conflict
        case .payloadTooLarge: .contentTooLarge
        case .uriTooLong: .uriTooLong
        case .unsupportedMediaType: .unsupportedMediaType
        case .idempotencyKeyReused, .validationFailed, .refundExceedsPayment: .unprocessableContent
        case .tooManyRequests: .tooManyRequests
        case .headerFieldsTooLarge: .requestHeaderFieldsTooLarge
        case .internalError: .internalServerError
        case .badGateway: .badGateway
        case .storeUnavailable, .draining, .overloaded, .serviceUnavailable, .deadlineExceeded, .providerUnavailable,
            .checkoutUnavailable, .ledgerCheckRunning:
            .serviceUnavailable
        case .outcomeUnknown, .gatewayTimeout: .gatewayTimeout
        }
    }

    /// A summary that is the same for every problem of the kind.
    public var title: String {
        switch self {
        case .invalidJSON: "The body is not JSON"
        case .invalidParameter: "A query parameter is not valid"
        case .userIDInvalid: "The user id is not valid"
        case .idempotencyKeyMissing: "The Idempotency-Key header is missing"
        case .idempotencyKeyInvalid: "The Idempotency-Key header is not valid"
        case .badRequest: "The request is not valid"
        case .webhookSignatureInvalid: "The message is not signed as it must be"
        case .paymentDeclined: "The payment was declined"
        case .notFound: "There is nothing at this address"
        case .itemNotFound: "The item does not exist"
        case .orderNotFound: "The order does not exist"
        case .reservationNotFound: "The reservation does not exist"
        case .chargeNotFound: "The charge does not exist"
        case .accountNotFound: "The account does not exist"
        case .paymentNotFound: "The payment does not exist"
        case .methodNotAllowed: "The method is not allowed here"
        case .requestTimeout: "The request did not arrive in time"
        case .requestInProgress: "A request with this key is in progress"
        case .insufficientStock: "There is not enough stock"
        case .orderStateConflict: "The order is in another state"
        case .orderWithdrawn: "The shop has withdrawn the order"
        case .planOutdated: "The plan is out of date"
        case .sagaUnderWay: "The checkout is being driven now"
        case .reservationStateConflict: "The reservation is in another state"
        case .chargeStateConflict: "The charge is in another state"
        case .refundExceedsCharge: "The refund is more than is left of the charge"
        case .paymentStateConflict: "The payment is in another state"
        case .accountExists: "The account exists already"
        case .balanceLimitExceeded: "The account cannot hold so much"
        case .paymentCanceled: "The payment was canceled"
        case .payloadTooLarge: "The body is too large"
        case .uriTooLong: "The request line is too long"
        case .unsupportedMediaType: "The media type is not supported"
        case .idempotencyKeyReused: "The key was used for another command"
        case .validationFailed: "The command is not valid"
        case .refundExceedsPayment: "The refund is more than is left of the payment"
        case .tooManyRequests: "There are too many requests"
        case .headerFieldsTooLarge: "The headers are too large"
        case .internalError: "Something unexpected went wrong"
        case .badGateway: "A service behind this one answered nonsense"
        case .storeUnavailable: "The store cannot be written"
        case .draining: "The service is stopping"
        case .overloaded: "The service has too much to do"
        case .serviceUnavailable: "The service is not available"
        case .deadlineExceeded: "The time for this request is over"
        case .providerUnavailable: "The payment provider is not available"
        case .checkoutUnavailable: "The checkout is not available"
        case .ledgerCheckRunning: "The check of the ledger is not done yet"
        case .outcomeUnknown: "The outcome is not known yet"
        case .gatewayTimeout: "A service behind this one did not answer in time"
        }
    }

    /// After how many seconds the same request may be sent again; nil when sending it again would change nothing.
    public var retryAfterSeconds: Int? {
        switch self {
        case .requestTimeout, .requestInProgress, .sagaUnderWay, .tooManyRequests, .badGateway, .storeUnavailable,
            .draining,
            .overloaded, .serviceUnavailable, .deadlineExceeded, .providerUnavailable, .checkoutUnavailable,
            .ledgerCheckRunning, .outcomeUnknown, .gatewayTimeout:
            1
        default: nil
        }
    }
}

/// An error as the client sees it: a problem document (RFC 9457) with the members of docs/contract.md, "Errors".
public struct Problem: Error, Sendable, Equatable {
    /// What kind of problem.
    public let kind: ProblemKind
    /// What went wrong with this request, for a person. Nothing internal.
    public let detail: String
    /// Where a command is not valid.
    public let issues: [ValidationIssue]
    /// Why a payment was declined.
    public let declineCode: String?
    /// The methods allowed at this address, for `methodNotAllowed`.
    public let allowedMethods: [String]
    /// After how many seconds the same request may be sent again; nil when sending it again would change nothing.
    public let retryAfterSeconds: Int?
    /// Whether it was the outcome of the key already (IK-11).
    public let isReplay: Bool

    /// A problem. - Parameter retryAfterSeconds: by default what is usual for the kind.
    public init(
        _ kind: ProblemKind,
        _ detail: String,
        issues: [ValidationIssue] = [],
        declineCode: String? = nil,
        allowedMethods: [String] = [],
        retryAfterSeconds: Int? = nil,
        isReplay: Bool = false
    ) {
        self.kind = kind
        self.detail = detail
        self.issues = issues
        self.declineCode = declineCode
        self.allowedMethods = allowedMethods
        self.retryAfterSeconds = retryAfterSeconds ?? kind.retryAfterSeconds
        self.isReplay = isReplay
    }

    /// The problem of a command that is well-formed but wrong.
    public init(_ failure: ValidationFailure) {
        let first = failure.issues.first.map { "\($0.pointer) \($0.detail)" } ?? "The command is not valid"
        let rest = failure.issues.count > 1 ? ", and \(failure.issues.count - 1) more" : ""
        self.init(.validationFailed, "\(first)\(rest).", issues: failure.issues)
    }

    func response(instance: String, requestID: String) -> Response {
        let body = ByteBuffer(bytes: json(instance: instance, requestID: requestID))
        return Response(status: kind.status, headers: headers, body: ResponseBody(byteBuffer: body))
    }

    /// The document.
    package func json(instance: String, requestID: String) -> [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                json.string("type", "/problems/\(kind.rawValue)")
                json.string("title", kind.title)
                json.integer("status", kind.status.code)
                json.string("detail", detail)
                json.string("instance", instance)
                json.string("code", kind.rawValue)
                json.bool("retryable", retryAfterSeconds != nil)
                json.string("requestId", requestID)
                if let declineCode { json.string("declineCode", declineCode) }
                if !issues.isEmpty {
                    json.array("errors") { json in
                        for issue in issues {
                            json.object { json in
                                json.string("pointer", issue.pointer)
                                json.string("detail", issue.detail)
                            }
                        }
                    }
                }
            }
        }
    }

    /// The whole answer to a request that no route ever saw, after which the connection is closed.
    ///
    /// - Parameter request: its head, if that could be read.
    func finalParts(to request: HTTPRequest? = nil, allocator: ByteBufferAllocator) -> [HTTPResponsePart] {
        let requestID =
            request?.headerFields.only(.requestID).flatMap { Correlation.RequestID($0) } ?? Correlation.RequestID()
        let path = request?.path.map { String($0.prefix { $0 != "?" }) } ?? "/"
        let body = allocator.buffer(bytes: json(instance: path, requestID: requestID.value))
        var fields = headers
        fields[.connection] = "close"
        fields[.contentLength] = String(body.readableBytes)
        fields[.requestID] = requestID.value
        return [.head(HTTPResponse(status: kind.status, headerFields: fields)), .body(body), .end(nil)]
    }

    /// The headers that go with the document.
    var headers: HTTPFields {
        var headers: HTTPFields = [.contentType: "application/problem+json", .cacheControl: "no-store"]
        if let retryAfterSeconds { headers[.retryAfter] = String(retryAfterSeconds) }
        if isReplay { headers[.idempotentReplayed] = "true" }
        // What a 401 must name (RFC 9110, section 11.6.1).
        if kind == .webhookSignatureInvalid { headers[.wwwAuthenticate] = "Webhook-Signature" }
        if !allowedMethods.isEmpty { headers[.allow] = allowedMethods.joined(separator: ", ") }
        // The rest of a body that is too large is not worth reading.
        if kind == .payloadTooLarge { headers[.connection] = "close" }
        return headers
    }
}
