import Correlation
import Resilience
import StrictJSON

/// Several commands to one service in one request, each with its own id and its own answer: the wire form of
/// `POST /internal/batch`, written here for both sides (docs/decisions/0010).
///
/// ```
/// {"commands": [{"path": "/reserve", "key": "…", "user": "…", "requestId": "…", "traceparent": "…", "body": {…}}]}
/// {"answers": [{"status": 200, "body": {…}}, {"status": 409, "retryAfter": 1, "body": {…}}, {"alone": true}]}
/// ```
public enum CommandBatch {
    /// Where every service that takes batches takes them; not reachable through nginx.
    public static let path = "/internal/batch"
    /// The most commands of one batch.
    public static let maximumCommands = 128
    /// The largest batch, in bytes. A command is bounded by its own route's limit, half of this.
    public static let maximumBytes = 128 * 1024

    /// A command as it arrives in a batch.
    public struct Received: Sendable {
        /// The route of the command, for example `/reserve`.
        public let path: String
        /// The `Idempotency-Key`, as its header would spell it.
        public let key: String?
        /// The `X-User-ID`; empty for nobody in particular.
        public let user: String
        /// The `X-Request-ID` of the request that the command serves.
        public let requestID: String?
        /// The span that the command was sent in.
        public let traceparent: String?
        /// What its body would be.
        public let body: JSONNode
    }

    /// An answer on its way back.
    public enum Answer: Sendable {
        /// What the command's own route would have answered.
        case answered(status: Int, body: [UInt8], retryAfter: Int?)
        /// The command was not executed, because it would keep the others waiting: it is to be sent in a request of its own.
        case alone
    }

    /// The most bytes that a command takes in a batch. The names of its members, its trace and the batch around them take
    /// less than 256; of the values only a key may have characters that are escaped.
    static func maximumSize(of command: ServiceCommand) -> Int {
        256 + command.path.utf8.count + 2 * (command.key?.utf8.count ?? 0) + command.context.user.utf8.count
            + command.context.requestID.value.utf8.count + command.body.count
    }

    static func write(_ commands: some Collection<ServiceCommand>) -> [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                json.array("commands") { json in
                    for command in commands {
                        json.object { json in
                            json.string("path", command.path)
                            if let key = command.key { json.string("key", key) }
                            if !command.context.user.isEmpty { json.string("user", command.context.user) }
                            json.string("requestId", command.context.requestID.value)
                            json.string("traceparent", command.context.traceparent)
                            json.name("body")
                            json.raw(command.body)
                        }
                    }
                }
            }
        }
    }

    /// Reads a batch. - Throws: `ValidationFailure`; then nothing of it is executed.
    public static func commands(json: JSONNode) throws(ValidationFailure) -> [Received] {
        var reader = try ObjectReader(json)
        let commands = reader.elements("commands", count: 1...maximumCommands, of: "commands", command)
        try reader.finish()
        return commands ?? []
    }

    private static func command(_ json: JSONNode) throws(ValidationFailure) -> Received {
        var reader = try ObjectReader(json)
        let path = reader.string("path", length: 1...128)
        let key = reader.string("key", length: 1...512, required: false)
        let user = reader.string("user", length: 1...128, required: false)
        let requestID = reader.string("requestId", length: 1...128, required: false)
        let traceparent = reader.string("traceparent", length: 1...128, required: false)
        let body = reader.nested("body") { $0 }
        try reader.finish()
        guard let path, let body else { throw ValidationFailure("#", "is not a command") }
        return Received(
            path: path, key: key, user: user ?? "", requestID: requestID, traceparent: traceparent, body: body)
    }

    /// The body of the answer to a batch. - Parameter answers: one for each command, in the order of the commands.
    public static func write(_ answers: [Answer]) -> [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                json.array("answers") { json in
                    for answer in answers {
                        json.object { json in
                            switch answer {
                            case .alone: json.bool("alone", true)
                            case .answered(let status, let body, let retryAfter):
                                json.integer("status", status)
                                if let retryAfter { json.integer("retryAfter", retryAfter) }
                                json.name("body")
                                json.raw(body)
                            }
                        }
                    }
                }
            }
        }
    }

    /// Reads the answers to a batch; nil stands for `alone`. - Throws: `ValidationFailure`, also for another number of answers.
    static func answers(json: JSONNode, count: Int) throws(ValidationFailure) -> [ServiceAnswer?] {
        var reader = try ObjectReader(json)
        let answers = reader.elements("answers", count: count...count, of: "answers", answer)
        try reader.finish()
        return answers ?? []
    }

    private static func answer(_ json: JSONNode) throws(ValidationFailure) -> ServiceAnswer? {
        var reader = try ObjectReader(json)
        if reader.bool("alone") == true {
            try reader.finish()
            return nil
        }
        let status = reader.integer("status", in: 100...599)
        let retryAfter = reader.integer("retryAfter", in: 1...3600, required: false)
        let body = reader.nested("body") { $0 }
        try reader.finish()
        guard let status, let body else { throw ValidationFailure("#", "is not an answer") }
        return ServiceAnswer(status: Int(status), json: body, retryAfter: retryAfter.map { .seconds($0) })
    }
}
