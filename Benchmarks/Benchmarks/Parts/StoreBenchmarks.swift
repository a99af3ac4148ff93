import Benchmark
import Foundation
import NIOPosix
import ServiceKit
import Storage

/// What a durable transaction costs, alone and in a group: in a file, synchronised before it is answered.
func storeBenchmarks() {
    let directory = TemporaryDirectory()
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let loop = group.next()
    let executor = EventLoopTaskExecutor(loop)
    let table = Migration("parts", "CREATE TABLE parts (number INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT")
    guard let store = try? SQLiteStore(path: directory.path + "/parts.sqlite", migrations: [table], loop: loop) else {
        fatalError("there is no store in \(directory.path)")
    }
    let text = SQLValue.text(String(repeating: "x", count: 400))

    @Sendable func insert() async throws {
        try await store.transaction { transaction in
            _ = try transaction.run("INSERT INTO parts (text) VALUES (?)", [text])
        }
    }
    Benchmark("Store: one transaction, alone") { benchmark in
        try await withTaskExecutorPreference(executor) {
            for _ in benchmark.scaledIterations { try await insert() }
        }
    }
    for count in [20, 64] {
        Benchmark("Store: \(count) transactions that arrive together") { benchmark in
            try await withTaskExecutorPreference(executor) {
                for _ in benchmark.scaledIterations {
                    try await withThrowingTaskGroup { tasks in
                        for _ in 0..<count { tasks.addTask { try await insert() } }
                        try await tasks.waitForAll()
                    }
                }
            }
        }
    }
    Benchmark("Store: read one row by its key") { benchmark in
        try await withTaskExecutorPreference(executor) {
            for _ in benchmark.scaledIterations {
                let found = try await store.transaction { transaction in
                    try transaction.first("SELECT text FROM parts WHERE number = ?", [1]) { $0.text(0) }
                }
                blackHole(found)
            }
        }
    }
}

/// A directory of its own, removed when the process ends by itself.
final class TemporaryDirectory: Sendable {
    let path: String

    init() {
        let url = FileManager.default.temporaryDirectory.appending(path: "checkout-parts-\(UUID())")
        path = url.path
        do {
            try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        } catch {
            fatalError("\(path) cannot be made: \(error)")
        }
        Self.remove(path)
    }

    private static func remove(_ path: String) {
        paths.append(path)
        guard paths.count == 1 else { return }
        atexit { TemporaryDirectory.paths.forEach { try? FileManager.default.removeItem(atPath: $0) } }
    }

    // Set while the benchmarks are declared, by one thread, and read when it ends.
    nonisolated(unsafe) private static var paths: [String] = []
}
