import CoreMetrics
import Correlation
import Logging
import Resilience
import ServiceClient
import ServiceLifecycle

/// Sends the spans of a process to a collector, by OTLP over HTTP in protocol buffers, in the background.
///
/// A batch goes when it is full or has waited long enough. What the collector cannot take now (429, 502, 503, 504, no connection, no
/// answer) is tried again as the protocol says, five times at the most and within `exportTimeout`; what it refuses is dropped.
/// Everything runs on threads that serve no request. At a stop what is left is sent once, within `flushTimeout`.
public final class SpanExporter: Service {
    /// How long a stop may wait for the last spans.
    public static let flushTimeout = Duration.seconds(3)

    /// Makes the spans that this exports.
    public let tracer: OTLPTracer
    /// The same, in the traces that are chosen.
    public var traces: Traces { Traces(tracer, sampler: configuration.sampler) }

    private let configuration: OTLPConfiguration
    private let scope: (name: String, version: String)
    private let queue: SpanQueue
    private let transport: any Transport
    private let counters: SpanCounters
    private let sleeper: any Sleeper
    private let time: any TimeSource
    private let retry: RetryWithBackoff
    private let logger: Logger

    /// An exporter with the tracer that fills its queue.
    ///
    /// - Parameters:
    ///   - scope: the name and version of what makes the spans.
    ///   - transport: its own, so that a collector that hangs holds no other call up.
    public init(
        _ configuration: OTLPConfiguration, scope: (name: String, version: String), transport: any Transport,
        metrics: any MetricsFactory, sleeper: any Sleeper = ClockSleeper(), time: any TimeSource = SystemTime(),
        logger: Logger
    ) {
        self.configuration = configuration
        self.scope = scope
        self.transport = transport
        self.sleeper = sleeper
        self.time = time
        self.logger = logger
        counters = SpanCounters(metrics)
        queue = SpanQueue(
            capacity: configuration.maximumQueue, batchSize: configuration.maximumBatch, counters: counters)
        tracer = OTLPTracer(queue: queue, sampler: configuration.sampler)
        retry = RetryWithBackoff(
            schedule: BackoffSchedule(base: .seconds(1), cap: .seconds(5), jitter: .milliseconds(500)),
            sleeper: sleeper, time: time)
    }

    /// Exports until the service stops.
    public func run() async throws {
        let (ended, end) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let loop = Task(executorPreference: globalConcurrentExecutor) { await self.exportUntilCancelled() }
        try? await gracefulShutdown()
        loop.cancel()
        let flush = Task(executorPreference: globalConcurrentExecutor) {
            await loop.value
            await self.flush()
            end.yield()
        }
        // A transfer under way cannot be called back, but nobody has to wait for it.
        let clock = Task(executorPreference: globalConcurrentExecutor) {
            try? await self.sleeper.sleep(for: Self.flushTimeout)
            end.yield()
        }
        for await _ in ended { break }
        flush.cancel()
        clock.cancel()
        queue.close()
    }

    private func exportUntilCancelled() async {
        var isWell = true
        while !Task.isCancelled {
            await waitForBatch()
            repeat {
                let batch = queue.take()
                guard !batch.isEmpty, !Task.isCancelled else {
                    queue.putBack(batch)
                    break
                }
                let wasWell = isWell
                isWell = await export(batch, tellFailure: wasWell)
                if isWell, !wasWell { logger.info("spans are exported again") }
            } while queue.count >= queue.batchSize
        }
    }

    private func waitForBatch() async {
        await withTaskGroup { group in
            group.addTask { [self] in try? await sleeper.sleep(for: configuration.scheduleDelay) }
            group.addTask { [self] in await queue.batchIsDue() }
            await group.next()
            group.cancelAll()
        }
    }

    /// Sends a batch, in as many attempts as it may have. - Returns: whether the collector has taken it.
    private func export(_ batch: [FinishedSpan], tellFailure: Bool) async -> Bool {
        let body = self.body(of: batch)
        let deadline = Deadline(after: configuration.exportTimeout, on: time)
        do {
            let response = try await retry(until: deadline) { _ in try await send(body, until: deadline) }
            taken(batch, response)
            return true
        } catch is CancellationError {
            // The service stops: `flush` has the last word.
            queue.putBack(batch)
            return true
        } catch {
            lose(batch, (error as? RetriesExhausted)?.last ?? error, tell: tellFailure)
            return false
        }
    }

    /// One attempt for each batch, all within one bound: a collector that is gone does not hold the stop up.
    private func flush() async {
        let deadline = Deadline(after: Self.flushTimeout, on: time)
        var batch = queue.take()
        while !batch.isEmpty, !Task.isCancelled {
            do {
                taken(batch, try await send(body(of: batch), until: deadline))
            } catch {
                return lose(batch, error, tell: true)
            }
            batch = queue.take()
        }
        queue.putBack(batch)
    }

    private func taken(_ batch: [FinishedSpan], _ response: ServiceResponse) {
        let rejected = min(ExportReply.rejectedSpans(response.body), batch.count)
        counters.count(.rejected, rejected)
        counters.count(.exported, batch.count - rejected)
    }

    private func lose(_ batch: [FinishedSpan], _ error: any Error, tell: Bool) {
        counters.count(.exportFailed, batch.count)
        guard tell else { return }
        // Said once until it is well again. Not the headers: they may be secret.
        logger.warning(
            "spans cannot be exported and are dropped",
            metadata: ["endpoint": .string(configuration.endpoint), "error": .string("\(error)")])
    }

    private func body(of batch: [FinishedSpan]) -> [UInt8] {
        ExportRequest.write(batch, resource: configuration.resource.map { ($0.name, $0.value) }, scope: scope)
    }

    /// One attempt. - Throws: `ExportFailure`.
    private func send(_ body: [UInt8], until deadline: Deadline) async throws(ExportFailure) -> ServiceResponse {
        let remaining = deadline.remaining(on: time)
        guard remaining > .zero else { throw .unreachable(.notSentInTime) }
        let request = ServiceRequest(
            method: "POST", url: configuration.endpoint,
            headers: [.init("Content-Type", "application/x-protobuf")] + configuration.headers, body: body,
            timeout: min(configuration.timeout, remaining))
        let response: ServiceResponse
        do {
            response = try await transport.send(request)
        } catch {
            throw .unreachable(error)
        }
        guard (200..<300).contains(response.status) else {
            throw .status(response.status, retryAfter: response.retryAfter)
        }
        return response
    }
}

/// Why a batch was not taken.
enum ExportFailure: Error, Equatable, RepeatableError {
    case unreachable(TransportError)
    case status(Int, retryAfter: Duration?)

    /// As OTLP/HTTP has it: these statuses and a lost connection may be tried again, nothing else.
    var mayBeRepeated: Bool {
        switch self {
        case .unreachable(.responseTooLarge), .unreachable(.notHTTP): false
        case .unreachable: true
        case .status(let status, _): [429, 502, 503, 504].contains(status)
        }
    }

    var retryAfter: Duration? {
        switch self {
        case .unreachable: nil
        case .status(_, let retryAfter): retryAfter
        }
    }
}
