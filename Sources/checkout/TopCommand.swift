import ArgumentParser
import Foundation
import OperatorTools
import Resilience
import ServiceClient
import ServiceKit
import StrictJSON

/// The services at work, on a terminal.
struct TopCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Watch the three services at work: throughput, latency, sagas, money in limbo, breakers, stores.",
        discussion: """
            Reads the services' own /metrics again and again. q quits. Works over ssh; without a terminal, or with --once, one \
            frame is printed.

            Exit codes: 0; 1 with --once when a service does not answer, a breaker of Order is not closed, a checkout is parked, payments \
            wait for a provider that is left alone or for more than a minute, or the ledger is out of balance; 64 a flag is wrong; 69 no \
            service answers; 74 the output cannot be written; 78 an environment variable is wrong.
            """)

    @OptionGroup var addresses: ServiceAddresses

    @Option(help: ArgumentHelp("Seconds between two readings, 0.2 to 60.", valueName: "seconds"))
    var interval = 2.0

    @Flag(help: "Print one frame and end.")
    var once = false

    @Flag(help: "Print one JSON object a reading instead of a screen.")
    var json = false

    func validate() throws {
        guard (0.2...60).contains(interval) else { throw ValidationError("--interval must be from 0.2 to 60") }
    }

    func run() async throws {
        let services = try addresses.resolved()
        let sampler = Sampler(urls: [
            "order": services.order, "stock": services.stock, "payment": services.payment,
        ])
        var before = await sampler.sample()
        if once || !json && !Terminal.isInteractive {
            try await Task.sleep(for: .seconds(interval))
            let after = await sampler.sample()
            guard !after.services.isEmpty else { throw Self.nobodyAnswers }
            let reading = TopReading(from: before, to: after)
            if json {
                try show(reading.json)
            } else {
                let view = TopView(width: Terminal.size.width, height: 100, hasColour: Terminal.hasColour())
                try show(view.lines(reading, title: title).joined(separator: "\n"))
            }
            if reading.isTroubled { throw ArgumentParser.ExitCode.failure }
            return
        }
        guard !json else {
            while true {
                try await Task.sleep(for: .seconds(interval))
                let after = await sampler.sample()
                guard !after.services.isEmpty else { throw Self.nobodyAnswers }
                try show(TopReading(from: before, to: after).json)
                before = after
            }
        }
        await watch(sampler, from: before)
    }

    private static var nobodyAnswers: ArgumentParser.ExitCode {
        ended("no service answers", ArgumentParser.ExitCode(69))
    }

    private var title: String { "checkout top   \(now)   every \(interval) s   q quits" }

    private func watch(_ sampler: Sampler, from first: TopSample) async {
        let screen = Terminal.Screen()
        let signals = screen.handleSignals()
        defer {
            screen.close()
            signals.forEach { $0.cancel() }
        }
        var before = first
        var reading = TopReading(from: first, to: first)
        var due = SystemTime().uptime + .seconds(interval)
        while true {
            let (width, height) = Terminal.size
            screen.draw(
                TopView(width: width, height: height, hasColour: Terminal.hasColour()).lines(reading, title: title))
            // Drawn four times a second, so that another size of the window shows at once.
            if let key = screen.key(within: 250), key == UInt8(ascii: "q") || key == UInt8(ascii: "Q") { return }
            guard SystemTime().uptime >= due else { continue }
            due = SystemTime().uptime + .seconds(interval)
            let after = await sampler.sample()
            reading = TopReading(from: before, to: after)
            before = after
        }
    }
}

/// Reads the metrics of all services at once.
private struct Sampler: Sendable {
    let urls: [String: String]
    private let transport = CurlTransport(userAgent: "checkout-top/\(checkoutVersion)")

    init(urls: [String: String]) {
        self.urls = urls
    }

    func sample() async -> TopSample {
        let answers = await withTaskGroup { group in
            for (name, url) in urls {
                group.addTask {
                    async let metrics = get("\(url)/metrics")
                    async let ready = get("\(url)/health/ready")
                    return await (name, metrics, ready)
                }
            }
            var answers: [(String, ServiceResponse?, ServiceResponse?)] = []
            for await answer in group { answers.append(answer) }
            return answers
        }
        var (services, unready): ([String: MetricsText], [String: String]) = ([:], [:])
        for (name, metrics, ready) in answers {
            guard let metrics, metrics.status == 200 else { continue }
            services[name] = MetricsText(String(decoding: metrics.body, as: UTF8.self))
            guard ready?.status != 200 else { continue }
            let said = ready.flatMap { try? JSONParser.parse($0.body) }?.member("status")?.string
            unready[name] = said ?? "unready"
        }
        return TopSample(at: SystemTime().uptime, services: services, unready: unready)
    }

    private func get(_ url: String) async -> ServiceResponse? {
        try? await transport.send(
            ServiceRequest(method: "GET", url: url, headers: [], body: [], timeout: .seconds(2)))
    }
}
