import ServiceClient
import StrictJSON

extension ServiceRequest {
    /// The name of the machine in the address.
    var host: String {
        String(url.dropFirst("http://".count).prefix { $0 != "/" })
    }

    /// The route.
    var path: String {
        String(url.dropFirst("http://".count).drop { $0 != "/" })
    }

    /// The value of a header.
    func header(_ name: String) -> String? {
        headers.first { $0.name == name }?.value
    }

    /// The same request with another body or key.
    func with(body: [UInt8]? = nil, headers: [Header]? = nil, timeout: Duration? = nil) -> ServiceRequest {
        ServiceRequest(
            method: method, url: url, headers: headers ?? self.headers, body: body ?? self.body,
            timeout: timeout ?? self.timeout)
    }

    /// The same request with another text in the place of a part of its body.
    func replacing(_ part: String, with other: String) -> ServiceRequest {
        let text = String(decoding: body, as: UTF8.self)
        return with(body: Array(text.replacing(part, with: other).utf8))
    }

    /// What it asks for, for the trace: without what differs from run to run and means nothing.
    var summary: String {
        guard let json = try? JSONParser.parse(body).tree else { return "no JSON" }
        guard let commands = json["commands"], case .array(let elements) = commands else { return json.brief }
        return elements.map { "\($0["path"]?.brief ?? "?") \($0["body"]?.brief ?? "?")" }.joined(separator: " & ")
    }
}

extension ServiceResponse {
    /// A problem document as our services and nginx write them.
    static func problem(_ status: Int, _ code: String) -> ServiceResponse {
        let body = JSONWriter.bytes { json in
            json.object { json in
                json.string("type", "/problems/\(code)")
                json.string("title", code)
                json.integer("status", status)
                json.string("detail", "Made by the simulation.")
                json.string("instance", "/")
                json.string("code", code)
                json.bool("retryable", true)
                json.string("requestId", "simulated")
            }
        }
        return ServiceResponse(status: status, body: body, retryAfter: .seconds(1))
    }

    /// The `code` of a problem document.
    var code: String? {
        guard status != 200, case .string(let code)? = (try? JSONParser.parse(body).tree)?["code"] else { return nil }
        return code
    }

    /// What it says, for the trace.
    var summary: String {
        guard let json = try? JSONParser.parse(body).tree else { return "\(status), no JSON" }
        if let code { return "\(status) \(code)" }
        guard let answers = json["answers"], case .array(let elements) = answers else {
            return "\(status) \(json["status"]?.brief ?? "?")"
        }
        let each = elements.map { element in
            "\(element["status"]?.brief ?? "alone") \((element["body"]?["code"] ?? element["body"]?["status"])?.brief ?? "")"
        }
        return "\(status) \(each.joined(separator: " & "))"
    }
}

extension JSONValue {
    /// A member of an object.
    subscript(name: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name == name }?.value
    }

    /// A short form for people.
    var brief: String {
        switch self {
        case .string(let text): text
        case .number(let text): text
        case .object(let members): "{\(members.map { "\($0.name):\($0.value.brief)" }.joined(separator: ","))}"
        case .array(let elements): "[\(elements.map(\.brief).joined(separator: ","))]"
        case .bool(let value): "\(value)"
        case .null: "null"
        }
    }
}
