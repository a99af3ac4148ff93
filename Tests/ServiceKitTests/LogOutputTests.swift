import NIOEmbedded
import Synchronization
import Testing

@testable import ServiceKit

@Suite("Log output")
struct LogOutputTests {
    private final class Writes: Sendable {
        private let all = Mutex<[String]>([])
        var value: [String] { all.withLock { $0 } }

        func add(_ bytes: ArraySlice<UInt8>) -> Int {
            all.withLock { $0.append(String(decoding: bytes, as: UTF8.self)) }
            return bytes.count
        }
    }

    private let writes = Writes()
    private let loop = EmbeddedEventLoop()

    private func output(gathers: Bool = true) -> LogOutput {
        let output = LogOutput(write: writes.add)
        if gathers { output.gather(on: loop) }
        return output
    }

    private func append(_ line: String, isUrgent: Bool = false, to output: LogOutput) {
        output.append(Array("\(line)\n".utf8), isUrgent: isUrgent)
    }

    @Test("on a full disk lines are lost, but never half of one: its end is written before the next (INV-18)")
    func fullDisk() {
        let room = Mutex(0)
        let disk = Mutex("")
        let output = LogOutput { bytes in
            let count = room.withLock { room in
                let count = min(room, bytes.count)
                room -= count
                return count
            }
            disk.withLock { $0 += String(decoding: bytes.prefix(count), as: UTF8.self) }
            return count
        }
        func append(_ line: String, room more: Int) {
            room.withLock { $0 += more }
            output.append(Array("\(line)\n".utf8), isUrgent: true)
        }
        append("whole", room: 8)
        append("torn line", room: 0)
        append("lost", room: 3)
        append("lost as well", room: 0)
        append("after", room: 100)
        #expect(disk.withLock { $0 } == "whole\ntorn line\nafter\n")
    }

    @Test("without a loop each line is written at once")
    func atOnce() {
        let output = output(gathers: false)
        append("a", to: output)
        append("b", to: output)
        #expect(writes.value == ["a\n", "b\n"])
    }

    @Test("the lines of one turn are written together, in their order, when the turn ends")
    func oneTurn() {
        let output = output()
        append("a", to: output)
        append("b", to: output)
        #expect(writes.value.isEmpty)
        loop.run()
        append("c", to: output)
        loop.run()
        #expect(writes.value == ["a\nb\n", "c\n"])
    }

    @Test("after the last words of a process nothing is written, not even what others had begun to tell")
    func lastWords() {
        let output = output()
        append("a", to: output)
        append("last", isUrgent: true, to: output)
        append("b", to: output)
        output.end()
        append("c", isUrgent: true, to: output)
        loop.run()
        output.flush()
        #expect(writes.value == ["a\nlast\n"])
    }

    @Test("an urgent line is written at once, after those that were gathered before it")
    func urgent() {
        let output = output()
        append("a", to: output)
        append("b", isUrgent: true, to: output)
        #expect(writes.value == ["a\nb\n"])
        loop.run()
        append("c", to: output)
        loop.run()
        #expect(writes.value == ["a\nb\n", "c\n"])
    }

    @Test("what is gathered is bounded")
    func bounded() {
        let output = output()
        let line = String(repeating: "x", count: LogOutput.maximumGathered / 2)
        append(line, to: output)
        #expect(writes.value.isEmpty)
        append(line, to: output)
        #expect(writes.value.count == 1)
    }

    @Test("a flush writes what is gathered, once")
    func flush() {
        let output = output()
        append("a", to: output)
        output.flush()
        output.flush()
        loop.run()
        #expect(writes.value == ["a\n"])
    }
}
