import ArgumentParser
import OperatorTools
import ServiceKit
import StrictJSON

/// Payments through providers, for those who keep them running.
struct PaymentsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "payments",
        abstract:
            "See payments through providers, have their provider asked at once, or end them by hand: list, show, settle, moved, not-moved.",
        discussion: """
            A payment is open while its provider has not said what became of it. Payment asks again by itself, for as long as it \
            takes; settle asks now. One that comes to no end all the same is ended by what its provider's own books show: moved, or \
            not-moved.

            \(exitCodes)
            """,
        subcommands: [List.self, Show.self, Settle.self, Moved.self, NotMoved.self])

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

    struct Moved: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End an open payment whose money has moved, as its provider's own books show.",
            discussion: """
                Without --commit a dry run. The provider is not asked any more, and the payment is entered as it was made: only its own \
                books are proof.

                \(exitCodes)
                """)
        @OptionGroup var action: PlannedPaymentAction

        func run() async throws { try await action.run("moved", on: "payments") { RecordText.payment($0, now: now) } }
    }

    struct NotMoved: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End an open payment whose money has not moved, as its provider's own books show.",
            discussion: """
                Without --commit a dry run. The payment has failed then, its money is where it was before, and it is a dead letter, which can be \
                made anew. If the money moves later all the same, it is there twice: make sure that the provider takes nothing any more.

                \(exitCodes)
                """)
        @OptionGroup var action: PlannedPaymentAction

        func run() async throws {
            try await action.run("not-moved", on: "payments") { RecordText.payment($0, now: now) }
        }
    }
}

/// What an operator does with one payment by a plan: a dry run, or its plan carried out.
struct PlannedPaymentAction: ParsableArguments {
    @OptionGroup var target: ChargesCommand.Target
    @OptionGroup var actor: ActorOptions
    @Argument(help: "The payment's id.", transform: recordID) var payment: String
    @Option(help: ArgumentHelp("Carry this plan out, which a dry run has printed.", valueName: "plan"))
    var commit: String?

    /// - Parameters:
    ///   - kind: whose routes: `payments`, `dead-letters`.
    ///   - tell: what to say of the service's answer.
    func run(_ action: String, on kind: String, _ tell: (JSONNode) -> String) async throws {
        try await actor.act(
            action, on: kind, payment, commit: commit, query: [("action", action)],
            at: ("--payment", target.payment), client: target.client, tell: tell)
    }
}
