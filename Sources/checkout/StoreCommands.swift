import ArgumentParser
import Foundation
import MockProvider
import OrderService
import PaymentService
import ServiceKit
import StockService
import Storage

/// The services that have a store, in the order in which running ones are copied: Order first, or what it knows could be newer than
/// what the others do.
enum StoredService: String, CaseIterable, ExpressibleByArgument {
    case order, payment, stock
    case mockProvider = "mock-provider"

    var definition: ServiceDefinition {
        switch self {
        case .order: OrderService.definition
        case .payment: PaymentService.definition
        case .stock: StockService.definition
        case .mockProvider: MockProvider.definition
        }
    }
}

/// Which stores, and where they are.
struct StoreOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Directory of the services' files (DATA_DIR; default ./var).", valueName: "path"))
    var dataDir: String?

    @Argument(help: "order, payment, stock, mock-provider: one or more.")
    var services: [StoredService]

    /// Each once, in the order in which they are copied.
    var inOrder: [StoredService] { StoredService.allCases.filter(services.contains) }

    func directory() throws -> String {
        do {
            return try Settings(flags: dataDir.map { ["DATA_DIR": $0] } ?? [:]).text("DATA_DIR", default: "./var")
        } catch {
            throw ended("\(error)", ArgumentParser.ExitCode(ServiceKit.ExitCode.configuration.rawValue))
        }
    }
}

private let storeExitCodes = """
    Exit codes: 0 done; 1 it cannot be done, and why is said; 64 a flag is wrong; 74 the output cannot be written; 78 an environment \
    variable is wrong.
    """

/// Does what may be refused; why is said on standard error then. - Throws: how the process ends.
private func sayingWhyNot(_ work: () throws -> Void) throws {
    do {
        try work()
    } catch let error as ArgumentParser.ExitCode {
        throw error
    } catch {
        throw ended("\(error)", .failure)
    }
}

struct BackupCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Copy stores, of services that run or do not, and read each copy again.",
        discussion: """
            Run it where the stores are, as the user that the services have. A copy is of one moment, and is on the disk when this ends; \
            those of several services are of different moments, Order's first. Nothing is written over.

            \(storeExitCodes)
            """)

    @Option(help: ArgumentHelp("Directory for the copies; made when it is missing.", valueName: "directory"))
    var to: String

    @OptionGroup var stores: StoreOptions

    func run() throws {
        let directory = try stores.directory()
        try sayingWhyNot {
            try FileManager.default.createDirectory(
                atPath: to, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            for service in stores.inOrder {
                let file = "\(service.rawValue).sqlite"
                let copy = try StoreCopy(
                    of: "\(directory)/\(file)", to: "\(to)/\(file)", service.definition.allMigrations)
                try show("\(copy.path): \(copy.bytes) bytes, sound, as of \(copy.steps) steps of its schema")
            }
        }
    }
}

struct RestoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Put copies of stores in the place of those of services that do not run.",
        discussion: """
            All copies are read, and brought to the stores' disk, before the first store is touched. What was there is kept beside the store, as <service>.sqlite.before-TIME, with \
            its log: remove it when it is not needed any more. Keep nginx stopped until the audit has been read: what customers \
            did after the copies were made is unknown to the services again (docs/operations.md, Backup and restore).

            \(storeExitCodes)
            """)

    @Option(help: ArgumentHelp("Directory with the copies, as `backup` has made it.", valueName: "directory"))
    var from: String

    @OptionGroup var stores: StoreOptions

    func run() throws {
        let directory = try stores.directory()
        try sayingWhyNot {
            let copies = try stores.inOrder.map { service in
                try StoreCopy(checking: "\(from)/\(service.rawValue).sqlite", service.definition.allMigrations)
            }
            let locks = try stores.inOrder.map { service in
                try DataDirectoryLock(directory: directory, service: service.rawValue, isToBeReplaced: true)
            }
            let time = Date.now.formatted(.iso8601.timeSeparator(.omitted).dateSeparator(.omitted))
            for (copy, lock) in zip(copies, locks) { try copy.stage(besideStoreOf: lock) }
            for (copy, lock) in zip(copies, locks) {
                let old = try StoreCopy.replaceStore(heldBy: lock, keepingOldAs: time)
                try show("\(lock.databasePath): \(copy.bytes) bytes from \(copy.path)")
                if let old { try show("  what was there is kept as \(old)") }
            }
        }
    }
}
