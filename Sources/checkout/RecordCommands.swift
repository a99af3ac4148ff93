import ArgumentParser
import OperatorTools
import ServiceKit
import StrictJSON

/// Reservations, for those who keep them running.
struct ReservationsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reservations",
        abstract: "See reservations of goods, and release them by hand: list, show, release.",
        discussion: """
            A reservation sets goods aside until its order completes or releases it, or until its time is over. Releasing one by \
            hand is safe: an order that is being paid with it fails, and its money is given back.

            \(exitCodes)
            """,
        subcommands: [List.self, Show.self, Release.self])

    struct Target: ParsableArguments {
        @Option(
            help: ArgumentHelp(
                "Address of Stock's port for operators (STOCK_OPERATOR_URL; default http://127.0.0.1:3143).",
                valueName: "url"),
            transform: url)
        var stock: String?

        func client() throws -> OperatorClient { operatorClient(try address(stock, "STOCK_OPERATOR_URL", 3143)) }
    }

    enum State: String, CaseIterable, ExpressibleByArgument { case reserved, completed, canceled }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List reservations by state and age; those that hold goods, without flags.",
            discussion: exitCodes)
        @OptionGroup var target: Target
        @OptionGroup var options: ListOptions
        @Option(help: "Which reservations.") var state = State.reserved

        func run() async throws {
            try await reporting {
                let page = try await options.page(
                    of: "/reservations", "reservations", from: target.client(), state: state.rawValue, user: nil)
                try show(page, asJSON: options.json) { RecordText.reservations($0, now: now) }
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show one reservation, and what operators did to it.", discussion: exitCodes)
        @OptionGroup var target: Target
        @Argument(help: "The reservation's id.", transform: recordID) var reservation: String
        @Flag(help: "Print the service's JSON on one line instead of text.") var json = false

        func run() async throws {
            try await reporting {
                let found = try await target.client().get("/reservations/\(OperatorClient.escape(reservation))")
                try show(found, asJSON: json) { RecordText.reservation($0, now: now) }
            }
        }
    }

    struct Release: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put the goods of a reservation back into the stock.",
            discussion: "Without --commit a dry run that prints what would move, and a plan.\n\n\(exitCodes)")
        @OptionGroup var target: Target
        @OptionGroup var actor: ActorOptions
        @Argument(help: "The reservation's id.", transform: recordID) var reservation: String
        @Option(help: ArgumentHelp("Carry this plan out, which a dry run has printed.", valueName: "plan"))
        var commit: String?

        func run() async throws {
            try await actor.act(
                "release", on: "reservations", reservation, commit: commit, at: ("--stock", target.stock),
                client: target.client
            ) { _ in "Done: the goods are back." }
        }
    }
}

/// Charges, for those who keep them running.
struct ChargesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "charges",
        abstract: "See charges, and have their provider asked at once: list, show, settle.",
        discussion: """
            A charge is open while its provider has not said what became of it, or of a refund of it. Payment asks again by \
            itself, every few seconds; settle asks now.

            \(exitCodes)
            """,
        subcommands: [List.self, Show.self, Settle.self])

    struct Target: ParsableArguments {
        @Option(
            help: ArgumentHelp(
                "Address of Payment's port for operators (PAYMENT_OPERATOR_URL; default http://127.0.0.1:3142).",
                valueName: "url"),
            transform: url)
        var payment: String?

        func client() throws -> OperatorClient { operatorClient(try address(payment, "PAYMENT_OPERATOR_URL", 3142)) }
    }

    enum State: String, CaseIterable, ExpressibleByArgument { case open, succeeded, failed, canceled }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List charges by state, age and user; those that wait for their provider, without flags.",
            discussion: exitCodes)
        @OptionGroup var target: Target
        @OptionGroup var options: ListOptions
        @Option(help: "Which charges.") var state = State.open
        @Option(help: ArgumentHelp("Only this user's.", valueName: "user")) var user: String?

        func run() async throws {
            try await reporting {
                let page = try await options.page(
                    of: "/charges", "charges", from: target.client(), state: state.rawValue, user: user)
                try show(page, asJSON: options.json) { RecordText.charges($0, now: now) }
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show one charge with all that became of it.", discussion: exitCodes)
        @OptionGroup var target: Target
        @Argument(help: "The charge's id.", transform: recordID) var charge: String
        @Flag(help: "Print the service's JSON on one line instead of text.") var json = false

        func run() async throws {
            try await reporting {
                let found = try await target.client().get("/charges/\(OperatorClient.escape(charge))")
                try show(found, asJSON: json) { RecordText.charge($0, now: now) }
            }
        }
    }

    struct Settle: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ask the provider now about what is open of a charge.",
            discussion: "It asks under the charge's own id, so that nothing is charged twice.\n\n\(exitCodes)")
        @OptionGroup var target: Target
        @OptionGroup var actor: ActorOptions
        @Argument(help: "The charge's id.", transform: recordID) var charge: String

        func run() async throws {
            let members = try actor.members(plan: nil)
            try await reporting {
                let path = "/charges/\(OperatorClient.escape(charge))/settle"
                let found = try await target.client().post(path, members)
                try show(found, asJSON: actor.json) { RecordText.charge($0, now: now) }
            }
        }
    }
}
