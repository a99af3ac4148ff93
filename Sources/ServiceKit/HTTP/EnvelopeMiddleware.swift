import Correlation
import HTTPTypes
import Hummingbird
import Logging
import Resilience
import ServiceClient
import Tracing

/// The outermost layer of every request: reads the head's ids, turns whatever is thrown into a problem document, names the
/// request in the response, and writes the log line.
struct EnvelopeMiddleware: RouterMiddleware {
    /// The longest time that a caller may claim for a request (OP-06).
    static let longestDeadline = Duration.seconds(120)

    let routes: RouteCatalogue
    let drain: DrainState
    let time: any TimeSource
    let logs: RequestLogs
    var traces: Traces?

    func handle(
        _ request: Request,
        context: ServiceContext,
        next: @concurrent (Request, ServiceContext) async throws -> Response
    ) async throws -> Response {
        let start = time.uptime
        var context = context
        context.requestID =
            request.headers.only(.requestID).flatMap { Correlation.RequestID($0) } ?? Correlation.RequestID()
        context.trace = TraceContext(continuing: request.headers.only(.traceparent), sampler: traces?.sampler)
        let span = traces.flatMap { ServerSpan($0, request, as: context.trace) }

        let log = RequestLog(logs, requestID: context.requestID, trace: context.trace)
        var response: Response
        do {
            if context.bodyIsTooLarge {
                throw Problem(.payloadTooLarge, "The body may have \(request.maximumBodyBytes) bytes at the most.")
            }
            try readHead(of: request, arrivedAt: start, into: &context)
            if let span {
                response = try await span.within { [context] in try await next(request, context) }
            } else {
                response = try await next(request, context)
            }
        } catch {
            let problem = problem(for: error, request, log)
            response = problem.response(instance: request.uri.path, requestID: context.requestID.value)
            if request.method == .head { response = response.createHeadResponse() }
        }
        response.headers[.requestID] = context.requestID.value
        let status = response.status.code
        let (route, orderID) = (Self.route(context.endpointPath), context.notes.orderID)
        log.write(
            Self.logLevel(of: request.uri.path, status), method: request.method.rawValue, route: route, status: status,
            duration: time.uptime - start, orderID: orderID)
        span?.end(route: route, status: status, requestID: context.requestID, orderID: orderID)
        return response
    }

    /// The checks that come before any route: those of the path, the user and the deadline.
    private func readHead(
        of request: Request, arrivedAt start: Duration, into context: inout ServiceContext
    ) throws {
        let path = request.uri.path
        // The router would take these for the path without the extra slash (HT-10, hazard 67).
        if path.utf8.hasEmptySegment {
            throw Problem(.notFound, "There is nothing at this address.")
        }
        if drain.isDraining, !path.hasPrefix("/health") {
            throw Problem(.draining, "The service is stopping and takes no new requests.")
        }
        let users = request.headers[values: .userID]
        if let user = users.first {
            guard users.count == 1, UserID.isValid(user) else { throw Problem.userIDInvalid }
            context.user = user
        }
        // A value that is no number, or more than a number holds, says nothing about the time left.
        if let milliseconds = request.headers.only(.requestTimeout).flatMap({ Int64($0) }) {
            guard milliseconds > 0 else {
                throw Problem(.deadlineExceeded, "No time is left for this request; nothing was executed.")
            }
            let longest = Self.longestDeadline.wholeMilliseconds
            // From when all of it was there: who sends this header sends a request in one piece.
            context.deadline = Deadline(uptime: start + .milliseconds(min(milliseconds, longest)))
        }
    }

    private func problem(for error: any Error, _ request: Request, _ log: RequestLog) -> Problem {
        guard let error = error as? HTTPError else { return Problem(error, log) }
        switch error.status.code {
        case 404:
            let allowed = routes.methods(at: request.uri.path)
            guard !allowed.isEmpty else { return Problem(.notFound, "There is nothing at this address.") }
            return Problem(
                .methodNotAllowed,
                "\(request.method.rawValue) is not allowed here; allowed: \(allowed.joined(separator: ", ")).",
                allowedMethods: allowed)
        case 400..<500: return Problem(.badRequest, error.body ?? "The request is not valid.")
        default: return Problem(error, log)
        }
    }

    /// The template of a request's route; `none` if it has none, for which the router has a word of its own.
    private static func route(_ found: String?) -> String {
        guard let found, found != "NotFound" else { return "none" }
        return found
    }

    /// Health is asked for all the time, and the commands of a batch have a line each unless it is refused as a whole.
    private static func logLevel(of path: String, _ status: Int) -> Logger.Level {
        path.hasPrefix("/health") || path == CommandBatch.path && status == 200 ? .debug : .info
    }
}

extension String.UTF8View {
    /// Whether a path ends with a slash, unless it is only that, or has two in a row. Looks at bytes: a string's characters
    /// cost more to find than the whole rest of this check.
    fileprivate var hasEmptySegment: Bool {
        let slash = UInt8(ascii: "/")
        var previous: UInt8 = 0
        for byte in self {
            if byte == slash, previous == slash { return true }
            previous = byte
        }
        return previous == slash && count > 1
    }
}
