import ArgumentParser
import Audit
import AuditAPI
import Resilience
import ServiceClient
import ServiceKit

/// The operator's audit.
struct AuditCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Compare the three services, and print every order, reservation and charge that does not match.",
        discussion: """
            Reads all records of the three services and changes nothing. It may run while checkouts are made: what \
            changed within the grace is left out, and whatever looks wrong is read a second time before it is told. \
            It can take minutes when there are millions of orders.

            Give the addresses of the services themselves. nginx does not let an audit through, and neither should \
            anything else that the public can reach.

            Each finding names the invariant that is broken (INV-1 to INV-8, INV-11), the records, and what it means for \
            money or goods. What a client does with Stock or Payment directly, without Order, is counted and is no \
            finding.

            Exit codes: 0 everything matches; 1 there are findings; 64 a flag is wrong; 69 a service cannot be read; \
            74 the output cannot be written; 78 an environment variable is wrong.
            """)

    @OptionGroup var addresses: ServiceAddresses

    @Option(
        help: ArgumentHelp(
            """
            Address of the mock provider, to compare the providers' books with Payment's ledger too. Without it they are not \
            read.
            """, valueName: "url"),
        transform: url)
    var providerUrl: String?

    @Option(
        help: ArgumentHelp(
            """
            How old a change must be to count. The default is the time for a checkout (CHECKOUT_TIMEOUT_SECONDS, \
            30) and 30 more; at a quiet moment, 0 judges everything.
            """, valueName: "seconds"),
        transform: seconds)
    var grace: Duration?

    @Option(
        help: ArgumentHelp(
            "How long Order remembers a key (IDEMPOTENCY_TTL_SECONDS; default 86400).", valueName: "seconds"),
        transform: seconds)
    var keyLife: Duration?

    @Flag(help: "Print one JSON object instead of text.")
    var json = false

    /// A service cannot be read: EX_UNAVAILABLE of sysexits.h.
    private static let unavailable = ArgumentParser.ExitCode(69)
    /// A setting cannot be used, as for the services: EX_CONFIG.
    private static let badConfiguration = ArgumentParser.ExitCode(ServiceKit.ExitCode.configuration.rawValue)
    /// How long a checkout that has passed its time may need to end, on top of that.
    private static let margin = Duration.seconds(30)

    func run() async throws {
        let report: AuditReport
        do {
            let source = HTTPAuditSource(
                baseURLs: try baseURLs(), transport: CurlTransport(userAgent: "checkout-audit/\(checkoutVersion)"))
            var run = AuditRun(source, rules: try rules(), readsProvider: providerUrl != nil)
            report = try await run.run()
        } catch let error as ConfigurationError {
            throw ended(error.description, Self.badConfiguration)
        } catch let error as AuditError {
            throw ended(error.description, Self.unavailable)
        }
        try show(json ? String(decoding: report.json, as: UTF8.self) : report.text)
        if !report.isClean { throw ArgumentParser.ExitCode.failure }
    }

    private func baseURLs() throws -> [AuditedService: String] {
        let services = try addresses.resolved()
        var urls: [AuditedService: String] = [
            .order: services.order, .stock: services.stock, .payment: services.payment,
        ]
        urls[.provider] = providerUrl
        return urls
    }

    private func rules() throws(ConfigurationError) -> AuditRules {
        let settings = Settings(flags: [:])
        let checkoutTime = try settings.seconds("CHECKOUT_TIMEOUT_SECONDS", default: 30, in: 0.1...600)
        let keyTime = try settings.seconds("IDEMPOTENCY_TTL_SECONDS", default: 86_400, in: 0.1...31_536_000)
        return AuditRules(grace: grace ?? checkoutTime + Self.margin, keyLife: keyLife ?? keyTime)
    }
}
