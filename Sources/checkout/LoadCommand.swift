import ArgumentParser
import Audit
import AuditAPI
import Foundation
import OperatorTools
import Resilience
import ServiceClient
import ServiceKit
import StrictJSON
import Synchronization

/// Many checkouts, and whether the books balance after them.
struct LoadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load",
        abstract: "Drive checkouts, at a rate or with many clients, and check the books at the end.",
        discussion: """
            Makes real checkouts: for systems whose goods and money are made for it. The item is restocked for the run. Clients \
            ask again under the same key until they know how their checkout has ended; with --duplicates, --replays and \
            --abandon a share of them is difficult, as real ones are. At the end the services are waited for, every order that a \
            client was told is completed is looked for (the first 100000 of a run), and the services are audited.

            With --rate, checkouts begin at that rate whether or not the services keep up, and a checkout's time counts from when \
            it was to begin. Ctrl-C stops beginning; those under way end, and the books are compared. A second Ctrl-C ends at once.

            Exit codes: 0 the books balance and no promise was broken; 1 they do not, or one was, or a checkout has no outcome; 64 \
            a flag is wrong; 69 a service cannot be reached; 74 the output cannot be written; 78 an environment variable is \
            wrong.
            """)

    @Option(
        help: ArgumentHelp(
            "Where checkouts go: Order itself, or Order behind nginx (http://localhost:8080/order). Order's own by default.",
            valueName: "url"),
        transform: urlWithPath)
    var target: String?

    @OptionGroup var addresses: ServiceAddresses

    @Option(help: ArgumentHelp("How many send at once, 1 to 256.", valueName: "number")) var clients = 16
    @Option(help: ArgumentHelp("Checkouts a second; as many as the clients manage without it.", valueName: "number"))
    var rate: Double?
    @Option(help: ArgumentHelp("How many checkouts.", valueName: "number")) var count: Int?
    @Option(help: ArgumentHelp("How long, in seconds; 10 without --count.", valueName: "seconds")) var duration: Double?
    @Option(help: ArgumentHelp("What is bought.", valueName: "id")) var item: Int64 = 1
    @Option(help: ArgumentHelp("How many of it.", valueName: "number")) var quantity: Int64 = 1
    @Option(help: ArgumentHelp("The payment method; the usual one without it.", valueName: "name")) var method: String?
    @Option(help: ArgumentHelp("Share that is sent twice at once, 0 to 1.", valueName: "share")) var duplicates = 0.0
    @Option(help: ArgumentHelp("Share that is asked for again after its end, 0 to 1.", valueName: "share"))
    var replays = 0.0
    @Option(
        help: ArgumentHelp("Share of clients that leave after some milliseconds and come back.", valueName: "share"))
    var abandon = 0.0
    @Option(help: ArgumentHelp("The same seed makes the same checkouts difficult.", valueName: "number"))
    var seed: UInt64 = 1
    @Flag(inversion: .prefixedNo, help: "Compare the books of the three services at the end.") var audit = true
    @Flag(help: "Print one JSON object instead of text.") var json = false

    /// How long the services may take to end what was begun.
    private static let settleTime = Duration.seconds(120)
    /// What one restocking may add.
    private static let largestRestock: Int64 = 1_000_000

    func validate() throws {
        guard LoadSettings.clients.contains(clients) else { throw ValidationError("--clients must be from 1 to 256") }
        guard rate.map({ $0 > 0 && $0 <= 100_000 }) ?? true else {
            throw ValidationError("--rate must be more than 0, up to 100000")
        }
        guard count.map({ (1...LoadSettings.most).contains($0) }) ?? true else {
            throw ValidationError("--count must be from 1 to \(LoadSettings.most)")
        }
        guard duration.map({ $0 > 0 && $0 <= LoadSettings.longest.inSeconds }) ?? true else {
            throw ValidationError("--duration must be more than 0, up to a day")
        }
        for (name, share) in [("duplicates", duplicates), ("replays", replays), ("abandon", abandon)] {
            guard (0...1).contains(share) else { throw ValidationError("--\(name) must be from 0 to 1") }
        }
        guard (1...1_000_000).contains(quantity), item >= 1 else {
            throw ValidationError("--item must be at least 1, and --quantity from 1 to 1000000")
        }
    }

    func run() async throws {
        let services = try addresses.resolved()
        let urls: [AuditedService: String] = [
            .order: services.order, .stock: services.stock, .payment: services.payment,
        ]
        let settings = LoadSettings(
            url: (target ?? urls[.order, default: ""]) + "/checkout", clients: clients, rate: rate, count: count,
            duration: duration.map { .seconds($0) } ?? (count == nil ? .seconds(10) : nil), item: item,
            quantity: quantity, method: method, duplicates: duplicates, replays: replays, abandoned: abandon,
            name: "load-\(ProcessInfo.processInfo.processIdentifier)-\(now.milliseconds)", seed: seed)
        try await reporting { try await restock(operatorClient(urls[.stock, default: ""])) }
        let run = LoadRun(settings, transport: ManyTransports(clients))
        let interrupts = handleInterrupts(run)
        defer { interrupts.cancel() }
        let ran = await showingProgress(run, settings)
        guard audit else { return try tell(ran, nil) }
        try await settle(operatorClient(urls[.order, default: ""]))
        say("Looking for the orders that were answered as completed.")
        let report = try await reporting {
            try await run.checkAcknowledged(at: operatorClient(urls[.order, default: ""]))
        }
        say("Comparing the books of the three services.")
        try tell(report, try await books(urls))
    }

    /// Tells a person what is waited for.
    private func say(_ text: String) {
        if !json { note("\(text)\n") }
    }

    /// Puts as much on the shelf as the run can sell, or as one restocking may add.
    private func restock(_ client: OperatorClient) async throws {
        let wanted = min(
            Self.largestRestock,
            Int64(count ?? LoadSettings.most).multipliedReportingOverflow(by: quantity).partialValue)
        let available = try await client.get("/items/\(item)").integer("available") ?? 0
        guard available < wanted else { return }
        let body = JSONWriter.bytes { json in json.object { $0.integer("quantity", wanted) } }
        _ = try await client.post("/items/\(item)/restock", body: body)
    }

    /// Until its process ends: a run's end is waited for as well.
    private func handleInterrupts(_ run: LoadRun) -> any DispatchSourceSignal {
        signal(SIGINT, SIG_IGN)
        let interrupted = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
        let count = Mutex(0)
        interrupted.setEventHandler { [self] in
            let isFirst = count.withLock { count in
                count += 1
                return count == 1
            }
            guard isFirst else {
                say("\nEnded. What was begun goes on by itself; nothing was compared.")
                Foundation.exit(EXIT_FAILURE)
            }
            run.stop()
            say("\nNo checkout begins any more; those under way are waited for. Ctrl-C once more ends at once.")
        }
        interrupted.resume()
        return interrupted
    }

    private func showingProgress(_ run: LoadRun, _ settings: LoadSettings) async -> LoadReport {
        guard isatty(STDERR_FILENO) == 1, !json else { return await run.run() }
        let bar = Task {
            while !Task.isCancelled {
                let report = run.report
                let share =
                    settings.count.map { Double(report.ended) / Double($0) }
                    ?? settings.duration.map { report.seconds / $0.inSeconds }
                let line = ProgressBar.line(share, report, width: Terminal.size.width - 1)
                note("\r\u{1B}[K\(line)")
                try? await Task.sleep(for: .milliseconds(200))
            }
            note("\r\u{1B}[K")
        }
        let report = await run.run()
        bar.cancel()
        await bar.value
        return report
    }

    /// Waits until nothing is pending any more, or for as long as the services may take.
    private func settle(_ client: OperatorClient) async throws {
        let end = SystemTime().uptime + Self.settleTime
        try await reporting {
            var told = false
            while case let pending = try await client.get("/audit/totals")["orders"]?.integer("pending") ?? 0,
                pending > 0,
                SystemTime().uptime < end
            {
                if !told {
                    say(
                        "Waiting for \(pending) checkouts that are pending, for \(Int(Self.settleTime.inSeconds)) s at the most."
                    )
                }
                told = true
                try await Task.sleep(for: .milliseconds(200))
            }
        }
    }

    /// The audit of a quiet moment.
    private func books(_ urls: [AuditedService: String]) async throws -> AuditReport {
        do {
            let source = HTTPAuditSource(
                baseURLs: urls, transport: CurlTransport(userAgent: "checkout-load/\(checkoutVersion)"))
            var run = AuditRun(source, rules: AuditRules(grace: .zero, keyLife: .seconds(86_400)))
            return try await run.run()
        } catch {
            throw ended(error.description, ArgumentParser.ExitCode(69))
        }
    }

    private func tell(_ report: LoadReport, _ books: AuditReport?) throws {
        if json {
            var members: [JSONValue.Member] = [.init("load", report.json)]
            if let books, let audit = try? JSONParser.parse(books.json).tree { members.append(.init("audit", audit)) }
            try show(.object(members))
        } else {
            try show(report.text)
            if let books { try show("\n\(books.text)") }
        }
        guard report.violationCount == 0, report.unanswered == 0, books?.isClean ?? true else {
            throw ArgumentParser.ExitCode.failure
        }
    }
}

/// As many connections as there are clients: one transport has up to 64.
private struct ManyTransports: Transport {
    private let transports: [CurlTransport]

    init(_ clients: Int) {
        let count = (2 * clients + CurlTransport.maximumConnections - 1) / CurlTransport.maximumConnections
        transports = (0..<count).map { _ in
            CurlTransport(userAgent: "checkout-load/\(checkoutVersion)", noticesReplays: true)
        }
    }

    func send(_ request: ServiceRequest) async throws(TransportError) -> ServiceResponse {
        let index = Int.random(in: transports.indices)
        return try await transports[index].send(request)
    }
}
