import AuditAPI
import Resilience
import ServiceClient
import StrictJSON

/// Why a tool could not do what it was asked for.
package enum ToolError: Error, Equatable, CustomStringConvertible {
    /// No answer, or none that makes sense: exit code 69.
    case unreachable(url: String, reason: String)
    /// The service said no, with its problem: exit code 1.
    case refused(code: String, detail: String)
    /// What was asked for makes no sense: exit code 64.
    case usage(String)

    package var description: String {
        switch self {
        case .unreachable(let url, let reason): "\(url) cannot be used: \(reason)"
        case .refused(let code, let detail): "\(code): \(detail)"
        case .usage(let reason): reason
        }
    }

    /// How the process ends (sysexits.h for the last two).
    package var exitCode: Int32 {
        switch self {
        case .refused: 1
        case .usage: 64
        case .unreachable: 69
        }
    }
}

/// Asks a service's routes for operators.
package struct OperatorClient: Sendable {
    /// For one request. Settling a charge waits for its provider.
    static let timeout = Duration.seconds(30)

    private let baseURL: String
    private let transport: any Transport

    package init(_ baseURL: String, transport: any Transport) {
        self.baseURL = baseURL
        self.transport = transport
    }

    /// - Throws: `ToolError`.
    package func get(_ path: String, query: [(String, String?)] = []) async throws(ToolError) -> JSONNode {
        let given = query.compactMap { name, value in value.map { "\(name)=\(Self.escape($0))" } }
        return try await send("GET", path + (given.isEmpty ? "" : "?" + given.joined(separator: "&")), body: [])
    }

    /// - Throws: `ToolError`.
    package func post(_ path: String, _ members: [(String, String?)]) async throws(ToolError) -> JSONNode {
        let body = JSONWriter.bytes { json in
            json.object { json in
                for case (let name, let value?) in members { json.string(escaping: name, value) }
            }
        }
        return try await send("POST", path, body: body)
    }

    /// - Throws: `ToolError`.
    package func post(_ path: String, body: [UInt8]) async throws(ToolError) -> JSONNode {
        try await send("POST", path, body: body)
    }

    /// A part of a path, or a value of a query: everything but unreserved characters is escaped (RFC 3986, section 2.3).
    package static func escape(_ text: String) -> String {
        text.utf8.map { byte in
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                String(UnicodeScalar(byte))
            default: (byte < 16 ? "%0" : "%") + String(byte, radix: 16, uppercase: true)
            }
        }.joined()
    }

    private func send(_ method: String, _ path: String, body: [UInt8]) async throws(ToolError) -> JSONNode {
        let url = baseURL + path
        let headers = body.isEmpty ? [] : [ServiceRequest.Header("Content-Type", "application/json")]
        let request = ServiceRequest(method: method, url: url, headers: headers, body: body, timeout: Self.timeout)
        let response: ServiceResponse
        do {
            response = try await transport.send(request)
        } catch {
            throw .unreachable(url: baseURL, reason: error.words)
        }
        let answer = try? JSONParser.parse(response.body)
        guard let answer else {
            throw .unreachable(
                url: url, reason: "its answer (\(response.status)) is no JSON; is it the operator's port?")
        }
        guard (200..<300).contains(response.status) else {
            guard let code = answer.text("code"), let detail = answer.text("detail") else {
                throw .unreachable(url: url, reason: "it answered \(response.status)")
            }
            // Nobody but a service that does not have these routes says that.
            if code == "not-found" {
                throw .unreachable(
                    url: url, reason: "there is no such route; give the address of the service's port for operators")
            }
            throw .refused(code: code, detail: detail)
        }
        return answer
    }
}

extension TransportError {
    /// For a person.
    package var words: String {
        switch self {
        case .notSent(let reason), .connectionLost(let reason): reason
        case .queueFull: "too many requests are waiting"
        case .timedOut, .notSentInTime: "no answer in time"
        case .notHTTP: "what answers there is no HTTP server"
        case .responseTooLarge: "its answer is too large"
        }
    }
}
