import ArgumentParser
import OperatorTools
import ServiceKit
import StrictJSON

/// Checkouts, for those who keep them running.
struct SagasCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sagas",
        abstract: "See and steer checkouts: list, show, retry, compensate, park.",
        discussion: """
            A saga is one checkout on its way: reserve, charge, complete, or back. Almost all end within milliseconds; one \
            that cannot end waits, is tried again, and after some rounds is parked.

            Retry, compensate and park without --commit are dry runs: they print the calls that would be made and the goods \
            and money that would move, and a plan. With --commit PLAN they do it, unless the checkout has moved since.

            \(exitCodes)
            """,
        subcommands: [List.self, Show.self, Retry.self, Compensate.self, Park.self])

    /// Where Order is.
    struct Target: ParsableArguments {
        @Option(
            help: ArgumentHelp(
                "Address of Order's port for operators (ORDER_OPERATOR_URL; default http://127.0.0.1:3141).",
                valueName: "url"),
            transform: url)
        var order: String?

        func client() throws -> OperatorClient { operatorClient(try address(order, "ORDER_OPERATOR_URL", 3141)) }
    }

    enum State: String, CaseIterable, ExpressibleByArgument {
        case unfinished, underWay = "under_way", waiting, parked, completed, failed
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List checkouts by state, age and user; the unfinished ones, oldest first, without flags.",
            discussion: exitCodes)
        @OptionGroup var target: Target
        @OptionGroup var options: ListOptions
        @Option(help: "Which checkouts.") var state = State.unfinished
        @Option(help: ArgumentHelp("Only this user's.", valueName: "user")) var user: String?

        func run() async throws {
            try await reporting {
                let page = try await options.page(
                    of: "/sagas", "sagas", from: target.client(), state: state.rawValue, user: user)
                try show(page, asJSON: options.json) { RecordText.sagas($0, now: now) }
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Show one checkout with its whole history: each call, each failed attempt, each operator's action.",
            discussion: exitCodes)
        @OptionGroup var target: Target
        @Argument(help: "The order's id.", transform: recordID) var order: String
        @Flag(help: "Print the service's JSON on one line instead of text.") var json = false

        func run() async throws {
            try await reporting {
                let saga = try await target.client().get("/sagas/\(OperatorClient.escape(order))")
                try show(saga, asJSON: json) { RecordText.saga($0, now: now) }
            }
        }
    }

    /// A dry run, or its plan carried out.
    struct Action: ParsableArguments {
        @OptionGroup var target: Target
        @OptionGroup var actor: ActorOptions
        @Argument(help: "The order's id.", transform: recordID) var order: String
        @Option(help: ArgumentHelp("Carry this plan out, which a dry run has printed.", valueName: "plan"))
        var commit: String?

        func run(_ action: String) async throws {
            try await actor.act(
                action, on: "sagas", order, commit: commit, query: [("action", action)], at: ("--order", target.order),
                client: target.client
            ) { done in
                let state = done.text("state") == "parked" ? "parked" : "taken up at once"
                return "Done: the order is \(state). `checkout sagas show \(order)` tells what becomes of it."
            }
        }
    }

    struct Retry: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Try again now what a checkout waits for.",
            discussion: "What it does is what would be tried by itself, later.\n\n\(exitCodes)")
        @OptionGroup var action: Action

        func run() async throws { try await action.run("retry") }
    }

    struct Compensate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a checkout back: the goods into the stock, the money to the customer.",
            discussion: """
                The goods are released first, then the charge is refunded, or canceled for ever if it took nothing. If the goods \
                have left already, the order goes forward instead; but if it is on its way back already (releasing), the money goes back all \
                the same, and the goods stay gone: read the dry run. The customer is told that the shop has \
                withdrawn the order, also when they ask again under the same key: to order again they need a new one.

                \(exitCodes)
                """)
        @OptionGroup var action: Action

        func run() async throws { try await action.run("compensate") }
    }

    struct Park: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put a checkout aside: nothing is tried until somebody retries or compensates it.",
            discussion: "Money that was taken for it stays where it is meanwhile, and the alarms go on.\n\n\(exitCodes)"
        )
        @OptionGroup var action: Action

        func run() async throws { try await action.run("park") }
    }
}
