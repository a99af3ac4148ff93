import Logging
import Resilience
import StrictJSON

/// Writes each log event as one JSON object on one line, of standard output if nothing else is said (OP-03, INV-18).
public struct JSONLogHandler: LogHandler {
    public var logLevel: Logger.Level
    public var metadata: Logger.Metadata = [:]
    private let service: String
    private let time: any TimeSource
    private let write: Write

    /// Takes one line with its line feed, which is to be written at once when it is urgent.
    public typealias Write = @Sendable (_ line: [UInt8], _ isUrgent: Bool) -> Void

    /// A handler.
    ///
    /// - Parameters:
    ///   - service: the `service` member of every line.
    ///   - write: takes the lines; standard output by default.
    public init(
        service: String,
        level: Logger.Level,
        time: any TimeSource = SystemTime(),
        write: Write? = nil
    ) {
        self.service = service
        self.time = time
        self.write = write ?? LogOutput.standard.append
        logLevel = level
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        var members = event.metadata ?? [:]
        if !metadata.isEmpty { members.merge(metadata) { own, _ in own } }
        if let error = event.error { members["error"] = .string(String(describing: error)) }
        writeLine(event.level, event.message.description) { json in
            for (key, value) in members { write(Self.name(of: key, in: members), value, to: &json) }
        }
    }

    /// Writes the line of an answered request, if requests of its level are to have one.
    ///
    /// Not by way of an event: a checkout writes four such lines, and a dictionary with the hashes of eight names costs more than
    /// the rest of a line.
    func log(_ request: RequestLine, _ level: Logger.Level) {
        guard logLevel <= level else { return }
        writeLine(level, RequestLine.message) { json in
            request.writeMembers(to: &json)
            for (key, value) in metadata where !RequestLine.names.contains(key) {
                write(Self.name(of: key, in: metadata), value, to: &json)
            }
        }
    }

    private func writeLine(_ level: Logger.Level, _ message: String, _ members: (inout JSONWriter) -> Void) {
        let now = time.now
        var json = JSONWriter(capacity: 384)
        json.object { json in
            json.string("timestamp", plain: Timestamp.length, now.put)
            json.string("level", level.rawValue)
            json.string("message", message)
            json.string("service", service)
            members(&json)
        }
        json.endLine()
        write(json.bytes, level >= .warning)
    }

    /// The name under which metadata is written. That of a member which the handler writes itself gets underscores before it,
    /// until it is the name of nothing else: no member is there twice and none can be forged.
    private static func name(of key: String, in members: Logger.Metadata) -> String {
        switch key {
        case "timestamp", "level", "message", "service":
            var name = "_\(key)"
            while members[name] != nil { name = "_\(name)" }
            return name
        default: return key
        }
    }

    private func write(_ key: String, _ value: Logger.MetadataValue, to json: inout JSONWriter) {
        switch value {
        case .string(let text): json.string(escaping: key, text)
        case .stringConvertible(let number as Int): json.integer(escaping: key, Int64(number))
        case .stringConvertible(let number as Double) where (number * 1000).isFinite:
            json.number(escaping: key, String((number * 1000).rounded() / 1000))
        default: json.string(escaping: key, value.description)
        }
    }
}
