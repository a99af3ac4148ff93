import ArgumentParser
import OperatorTools
import ServiceKit
import StrictJSON

/// Payments that were given up, for those who decide what becomes of them.
struct DeadLettersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dead-letters",
        abstract: "See payments that were given up, and decide about them: list, show, retry, discard.",
        discussion: """
            A payment is given up when after the last attempt it is certain that the provider took nothing. It has failed, its money \
            is back, and its customer sees that. Retry makes it anew, once; discard lets it be.

            Both are dry runs without --commit: they print what would move, and a plan. With --commit PLAN they do it, unless \
            somebody else has decided since.

            \(exitCodes)
            """,
        subcommands: [List.self, Show.self, Retry.self, Discard.self])

    enum State: String, CaseIterable, ExpressibleByArgument { case open, retried, discarded }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List payments that were given up, by state, age and user; those to decide about, without flags.",
            discussion: exitCodes)
        @OptionGroup var target: ChargesCommand.Target
        @OptionGroup var options: ListOptions
        @Option(help: "Which ones.") var state = State.open
        @Option(help: ArgumentHelp("Only this user's.", valueName: "user")) var user: String?

        func run() async throws {
            try await reporting {
                let page = try await options.page(
                    of: "/dead-letters", "deadLetters", from: target.client(), state: state.rawValue, user: user)
                try show(page, asJSON: options.json) { RecordText.deadLetters($0, now: now) }
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show one payment that was given up, and what operators did to it.", discussion: exitCodes)
        @OptionGroup var target: ChargesCommand.Target
        @Argument(help: "The payment's id.", transform: recordID) var payment: String
        @Flag(help: "Print the service's JSON on one line instead of text.") var json = false

        func run() async throws {
            try await reporting {
                let found = try await target.client().get("/dead-letters/\(OperatorClient.escape(payment))")
                try show(found, asJSON: json) { RecordText.deadLetter($0, now: now) }
            }
        }
    }

    private static func done(_ letter: JSONNode) -> String {
        letter.text("retriedAs").map { "Done: the payment is made anew as \($0)." } ?? "Done: the payment is let be."
    }

    struct Retry: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a payment anew that was given up, once, under an id of its own.",
            discussion: """
                What goes out is set aside anew; with too little in the account the service says so, and nothing is done. Ask \
                first whether the customer has paid again: then both would be paid.

                \(exitCodes)
                """)
        @OptionGroup var action: PlannedPaymentAction

        func run() async throws { try await action.run("retry", on: "dead-letters", DeadLettersCommand.done) }
    }

    struct Discard: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let a payment be that was given up.",
            discussion: "Nothing moves. It cannot be retried then.\n\n\(exitCodes)")
        @OptionGroup var action: PlannedPaymentAction

        func run() async throws { try await action.run("discard", on: "dead-letters", DeadLettersCommand.done) }
    }
}
