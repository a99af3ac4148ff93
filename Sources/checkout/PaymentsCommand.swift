import ArgumentParser
import OperatorTools
import ServiceKit
import StrictJSON

/// Payments through providers, for those who keep them running.
struct PaymentsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "payments",
        abstract: "See payments through providers, and have their provider asked at once: list, show, settle.",
        discussion: """
            A payment is open while its provider has not said what became of it. Payment asks again by itself, for as long as it \
            takes; settle asks now.

            \(exitCodes)
            """,
        subcommands: [List.self, Show.self, Settle.self])

    enum State: String, CaseIterable, ExpressibleByArgument {
        case open, succeeded, failed, canceled
        case partiallyRefunded = "partially_refunded"
        case refunded
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List payments by state, age and user; those that have no end yet, without flags.",
            discussion: exitCodes)
        @OptionGroup var target: ChargesCommand.Target
        @OptionGroup var options: ListOptions
        @Option(help: "Which payments.") var state = State.open
        @Option(help: ArgumentHelp("Only this user's.", valueName: "user")) var user: String?

        func run() async throws {
            try await reporting {
                let page = try await options.page(
                    of: "/payments", "payments", from: target.client(), state: state.rawValue, user: user)
                try show(page, asJSON: options.json) { RecordText.payments($0, now: now) }
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show one payment with all that became of it.", discussion: exitCodes)
        @OptionGroup var target: ChargesCommand.Target
        @Argument(help: "The payment's id.", transform: recordID) var payment: String
        @Flag(help: "Print the service's JSON on one line instead of text.") var json = false

        func run() async throws {
            try await reporting {
                let found = try await target.client().get("/payments/\(OperatorClient.escape(payment))")
                try show(found, asJSON: json) { RecordText.payment($0, now: now) }
            }
        }
    }

    struct Settle: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Have the provider asked now about a payment.",
            discussion: """
                It is asked under the payment's own id, so that nothing is paid twice. What it answers is shown a moment later.

                \(exitCodes)
                """)
        @OptionGroup var target: ChargesCommand.Target
        @OptionGroup var actor: ActorOptions
        @Argument(help: "The payment's id.", transform: recordID) var payment: String

        func run() async throws {
            let members = try actor.members(plan: nil)
            try await reporting {
                let path = "/payments/\(OperatorClient.escape(payment))/settle"
                let found = try await target.client().post(path, members)
                try show(found, asJSON: actor.json) { RecordText.payment($0, now: now) }
            }
        }
    }
}
