import Hummingbird
import Idempotency
import StrictJSON

extension Response {
    /// A JSON answer.
    public static func json(_ body: [UInt8], status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status,
            headers: [.contentType: "application/json", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: body))
        )
    }

    /// A JSON answer.
    public static func json(
        status: HTTPResponse.Status = .ok, _ write: (inout JSONWriter) -> Void
    ) -> Response {
        json(JSONWriter.bytes(write), status: status)
    }

    /// A command was taken on, now or before.
    static func accepted(_ body: [UInt8], location: String, isReplay: Bool) -> Response {
        var response = isReplay ? replay(StoredResponse(status: 202, body: body)) : json(body, status: .accepted)
        response.headers[.location] = location
        return response
    }

    /// The answer kept for a key, to the byte, marked as given before (IK-11).
    public static func replay(_ stored: StoredResponse) -> Response {
        var response = json(stored.body, status: HTTPResponse.Status(code: stored.status))
        response.headers[.idempotentReplayed] = "true"
        return response
    }
}
