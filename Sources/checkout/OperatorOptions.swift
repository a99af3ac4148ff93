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

    func validate() throws {
        guard (1...100).contains(limit) else { throw ValidationError("--limit must be from 1 to 100") }
        guard cursor.map({ (1...512).contains($0.utf8.count) }) ?? true else {
            throw ValidationError("--cursor must be what the page before ended with")
        }
    }

    /// A page with at least one entry, or the last: a service searches only so far for one page.
    func page(
        of path: String, _ name: String, from client: OperatorClient, state: String, user: String?
    ) async throws -> JSONNode {
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
    var name: String = ProcessInfo.processInfo.environment["USER"].flatMap { $0.isEmpty ? nil : $0 } ?? "unknown"

    @Option(help: ArgumentHelp("Why you do it; kept with the record. Needed to do anything.", valueName: "text"))
    var reason: String?

    @Flag(help: "Print the service's JSON on one line instead of text.")
    var json = false

    func validate() throws {
        guard (1...64).contains(name.unicodeScalars.count), Self.saysSomething(name) else {
            throw ValidationError("--as must be your name, of up to 64 characters")
        }
        guard reason.map({ (1...500).contains($0.unicodeScalars.count) && Self.saysSomething($0) }) ?? true else {
            throw ValidationError("--reason must say why, in up to 500 characters")
        }
    }

    /// Blanks and dots are no name, and no reason.
    private static func saysSomething(_ text: String) -> Bool { text.contains { $0.isLetter || $0.isNumber } }

    /// Prints what an action would move, and the command that does it; or carries a plan out, and says so.
    ///
    /// - Parameters:
    ///   - kind: the kind of record, as commands and the service's paths name it: `sagas`.
    ///   - plan: the plan to carry out; nil for a dry run.
    ///   - query: what the service is asked for a plan with.
    ///   - address: the flag that says where the service is, and its value, if one was given.
    ///   - tell: what to say of the service's answer.
    func act(
        _ action: String, on kind: String, _ id: String, commit plan: String?, query: [(String, String?)] = [],
        at address: (flag: String, url: String?), client: () throws -> OperatorClient, tell: (JSONNode) -> String
    ) async throws {
        let members = try plan.map { try self.members(plan: $0) }
        try await reporting {
            let client = try client()
            let path = "/\(kind)/\(OperatorClient.escape(id))"
            guard let members else {
                let plan = try await client.get("\(path)/plan", query: query)
                let commit = self.commit("\(kind) \(action)", id, plan: plan.text("plan") ?? "", at: address)
                return try show(plan, asJSON: json) { RecordText.plan($0, commit: commit) }
            }
            try show(try await client.post("\(path)/\(action)", members), asJSON: json, tell)
        }
    }

    func members(plan: String?) throws -> [(String, String?)] {
        guard let reason else { throw ValidationError("say why: --reason 'the provider is back'") }
        return [("operator", name), ("reason", reason), ("plan", plan)]
    }

    /// The command that carries a plan out, as it is to be typed; nil while nobody has said why.
    ///
    /// - Parameters:
    ///   - words: what comes before the flags, without the id: `sagas retry`.
    ///   - address: as for `act`.
    private func commit(_ words: String, _ id: String, plan: String, at address: (flag: String, url: String?))
        -> String?
    {
        guard let reason else { return nil }
        let place = address.url.map { " \(address.flag) \(Self.quoted($0))" } ?? ""
        let who = "--as \(Self.quoted(name)) --reason \(Self.quoted(reason))"
        return "checkout \(words) \(Self.quoted(id)) --commit \(Self.quoted(plan))\(place) \(who)"
    }

    /// A word for a shell.
    private static func quoted(_ text: String) -> String {
        let isPlain =
            !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                    UInt8(ascii: ":"), UInt8(ascii: "/"):
                    true
                default: false
                }
            }
        return isPlain ? text : "'\(text.replacing("'", with: "'\\''"))'"
    }
}

/// The id of a record. - Throws: `ValidationError` for one that no record can have.
func recordID(_ text: String) throws -> String {
    guard (1...128).contains(text.unicodeScalars.count) else { throw ValidationError("the id must not be empty") }
    return text
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
