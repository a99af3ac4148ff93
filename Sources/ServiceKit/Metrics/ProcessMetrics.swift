import CoreMetrics
import Foundation
import Prometheus

/// What the system knows of this process, read when it is asked for. Nothing where there is no `/proc`.
struct ProcessMetrics: Sendable {
    private let cpu, resident, virtual, openFiles, maximumFiles, threads, start: Meter

    init(_ factory: any MetricsFactory) {
        func meter(_ name: String) -> Meter { Meter(label: name, dimensions: [], factory: factory) }
        cpu = meter("process_cpu_seconds_total")
        resident = meter("process_resident_memory_bytes")
        virtual = meter("process_virtual_memory_bytes")
        openFiles = meter("process_open_fds")
        maximumFiles = meter("process_max_fds")
        threads = meter("process_threads")
        start = meter("process_start_time_seconds")
        Meter(
            label: "checkout_build_info", dimensions: [("version", checkoutVersion)], factory: factory
        ).set(1)
    }

    func read() {
        guard let fields = Self.statistics(), let booted = Self.bootTime() else { return }
        let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
        func number(_ field: Int) -> Double { Double(fields[field - Self.firstField]) ?? 0 }
        cpu.set((number(14) + number(15)) / ticks)
        threads.set(number(20))
        start.set(booted + number(22) / ticks)
        virtual.set(number(23))
        resident.set(number(24) * Double(sysconf(Int32(_SC_PAGESIZE))))
        if let open = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
            openFiles.set(open.count)
        }
        maximumFiles.set(Double(sysconf(Int32(_SC_OPEN_MAX))))
    }

    /// The fields after the process's name, which may itself have blanks and brackets in it.
    private static let firstField = 3

    /// The fields of `/proc/self/stat` from the third on (proc(5)).
    private static func statistics() -> [Substring]? {
        guard let text = try? String(contentsOfFile: "/proc/self/stat", encoding: .utf8),
            let end = text.lastIndex(of: ")")
        else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        return fields.count > 24 - firstField ? fields : nil
    }

    private static func bootTime() -> Double? {
        guard let text = try? String(contentsOfFile: "/proc/stat", encoding: .utf8) else { return nil }
        let line = text.split(separator: "\n").first { $0.hasPrefix("btime ") }
        return line.flatMap { Double($0.dropFirst("btime ".count)) }
    }
}
