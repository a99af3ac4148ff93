import ArgumentParser
import Foundation
import OperatorTools
import Resilience
import ServiceClient
import ServiceKit
import StrictJSON

/// What every list takes.
struct ListOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("Only records that are at least this old: 90, 90s, 5m, 2h or 1d.", valueName: "age"),
        transform: age)
    var olderThan: Int?

    @Option(help: ArgumentHelp("At most so many records, 1 to 100.", valueName: "number"))
    var limit = 20

    @Option(help: ArgumentHelp("Go on after the page before, whose last line names it.", valueName: "cursor"))
    var cursor: String?

    @Flag(help: "Print the service's JSON on one line instead of text.")
    var json = false

    /// A page with at least one entry, or the last: a service searches only so far for one page.
    func page(
        of path: String, _ name: String, from client: OperatorClient, state: String, user: String?
    ) async throws -> JSONValue {
        var cursor = cursor
        while true {
            let page = try await client.get(
                path,
                query: [
                    ("state", state), ("user", user), ("olderThan", olderThan.map(String.init)),
                    ("limit", String(limit)), ("cursor", cursor),
                ])
            guard page.elements(name).isEmpty, let next = page.text("nextCursor") else { return page }
            cursor = next
        }
    }
}

/// Who acts, and why: it is kept with the record.
struct ActorOptions: ParsableArguments {
    @Option(name: .customLong("as"), help: ArgumentHelp("Who you are; kept with the record.", valueName: "name"))
    var name: String = ProcessInfo.processInfo.environment["USER"] ?? "unknown"

    @Option(help: ArgumentHelp("Why you do it; kept with the record. Needed to do anything.", valueName: "text"))
    var reason: String?

    @Flag(help: "Print the service's JSON on one line instead of text.")
    var json = false

    func members(plan: String?) throws -> [(String, String?)] {
        guard let reason, !reason.isEmpty else { throw ValidationError("say why: --reason 'the provider is back'") }
        return [("operator", name), ("reason", reason), ("plan", plan)]
    }

    /// The flags that say the same again, for the command that a dry run prints.
    var flags: String {
        "--as \(Self.quoted(name)) --reason \(reason.map(Self.quoted) ?? "'...'")"
    }

    private static func quoted(_ text: String) -> String { "'\(text.replacing("'", with: "'\\''"))'" }
}

/// An age in seconds. - Throws: `ValidationError`.
func age(_ text: String) throws -> Int {
    let units: [Character: Int] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
    let unit = text.last.flatMap { units[$0] }
    let number = Int(unit == nil ? text[...] : text.dropLast())
    guard let number, number >= 0, case let (age, overflow) = number.multipliedReportingOverflow(by: unit ?? 1),
        !overflow, age <= 31_536_000
    else { throw ValidationError("it must be a number of seconds, or one with s, m, h or d, up to a year") }
    return age
}

/// The services' clock is not asked for: ages are told by this machine's.
var now: Timestamp { SystemTime().now }

func operatorClient(_ url: String) -> OperatorClient {
    OperatorClient(url, transport: CurlTransport(userAgent: "checkout-tools/\(checkoutVersion)"))
}
