import Resilience
import ServiceClient
import TestSupport
import Testing

/// On real sockets, because what is at stake is which failure of a socket means what (hazard 34).
@Suite("libcurl transport")
struct CurlTransportTests {
    private let transport = CurlTransport(userAgent: "unit-test")

    private func request(
        _ url: String, method: String = "POST", headers: [ServiceRequest.Header] = [], body: String = "{}",
        timeout: Duration = .seconds(10), isSentOnce: Bool = false
    ) -> ServiceRequest {
        ServiceRequest(
            method: method, url: url, headers: headers, body: Array(body.utf8), timeout: timeout, isSentOnce: isSentOnce
        )
    }

    private func failure(_ request: ServiceRequest) async throws -> TransportError {
        try await #require(throws: TransportError.self) { try await transport.send(request) }
    }

    // MARK: Responses

    @Test("status and body of a response come back")
    func response() async throws {
        let server = try await LoopbackServer(.response("200 OK", body: #"{"a":"é"}"#))
        let response = try await transport.send(request(server.url))
        #expect(response == ServiceResponse(status: 200, body: Array(#"{"a":"é"}"#.utf8)))
    }

    @Test("a response of any status is a response", arguments: ["204 No Content", "404 Not Found", "503 Busy"])
    func statuses(line: String) async throws {
        let server = try await LoopbackServer(.response(line, body: ""))
        let response = try await transport.send(request(server.url))
        #expect(line.hasPrefix("\(response.status) "))
        #expect(response.body.isEmpty)
    }

    @Test("a chunked body comes back whole")
    func chunked() async throws {
        let server = try await LoopbackServer(
            .bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"))
        #expect(try await transport.send(request(server.url)).body == Array("abcde".utf8))
    }

    @Test(
        "the wait that a response asks for comes back, at most an hour",
        arguments: [("1", 1), ("30", 30), ("3600", 3600), ("86400", 3600)])
    func retryAfter(header: String, seconds: Int) async throws {
        let server = try await LoopbackServer(.response("503 Busy", body: "", headers: "Retry-After: \(header)\r\n"))
        #expect(try await transport.send(request(server.url)).retryAfter == .seconds(seconds))
    }

    @Test("a redirect is a response and is not followed (hazard 66)")
    func redirect() async throws {
        let target = try await LoopbackServer(.response("200 OK", body: "there"))
        let server = try await LoopbackServer(
            .response("307 Temporary Redirect", body: "", headers: "Location: \(target.url)/\r\n"))
        #expect(try await transport.send(request(server.url)).status == 307)
        #expect(server.requests.count == 1)
        #expect(target.connections == 0)
    }

    // MARK: Places

    @Test("a request that waits for a place longer than its time-out was not sent, and says nothing of the service")
    func noPlace() async throws {
        let silent = try await LoopbackServer(.silence)
        let other = try await LoopbackServer(.response("200 OK", body: ""))
        let transport = CurlTransport(userAgent: "unit-test", maximumConnections: 2)
        func send(_ url: String, timeout: Duration) -> Task<ServiceResponse?, Never> {
            let request = request(url, timeout: timeout)
            return Task { try? await transport.send(request) }
        }
        let first = [send(silent.url + "/a", timeout: .seconds(600)), send(silent.url + "/b", timeout: .seconds(600))]
        try await eventually { silent.requests.count == 2 }
        let error = try await #require(throws: TransportError.self) {
            try await transport.send(request(silent.url + "/c?d=/", timeout: .milliseconds(50)))
        }
        #expect(error == .notSentInTime)
        #expect(silent.requests.count == 2)
        // Another service has places of its own.
        #expect(await send(other.url, timeout: .seconds(60)).value?.status == 200)
        withExtendedLifetime(first) {}
    }

    @Test("a request that waits for a place is sent when one is free")
    func placeLater() async throws {
        let server = try await LoopbackServer(.response("200 OK", body: "x"))
        let transport = CurlTransport(userAgent: "unit-test", maximumConnections: 2)
        let statuses = await withTaskGroup { group in
            for number in 0..<50 {
                let request = request("\(server.url)/\(number)")
                group.addTask { try? await transport.send(request).status }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(statuses.count == 50 && statuses.allSatisfy { $0 == 200 })
        #expect(server.connections <= 2)
    }

    // MARK: Requests

    @Test("method, path, headers and body arrive as given, and nothing waits for permission to send")
    func sent() async throws {
        let server = try await LoopbackServer(.response("200 OK", body: ""))
        let body = String(repeating: "x", count: 20_000)
        _ = try await transport.send(
            request(
                server.url + "/reserve", headers: [.init("Idempotency-Key", "key-1"), .init("X-User-ID", "ada")],
                body: body))
        let text = try #require(server.requests.first)
        #expect(text.hasPrefix("POST /reserve HTTP/1.1\r\n"))
        #expect(text.contains("\r\nIdempotency-Key: key-1\r\n"))
        #expect(text.contains("\r\nX-User-ID: ada\r\n"))
        #expect(text.contains("\r\nUser-Agent: unit-test\r\n"))
        #expect(text.contains("\r\nContent-Length: 20000\r\n"))
        #expect(!text.lowercased().contains("\r\nexpect:"))
        #expect(text.hasSuffix("\r\n\r\n\(body)"))
    }

    @Test(
        "a service is told for how long it is waited for from when the request is sent, and not from when it was made (OP-06)"
    )
    func timeLeft() async throws {
        let server = try await LoopbackServer(.response("200 OK", body: ""))
        let made = ServiceRequest.Header(ServiceRequest.timeoutHeader, "60000")
        _ = try await transport.send(request(server.url, headers: [made], timeout: .seconds(50)))
        let line = try #require(server.requests.first?.split(separator: "\r\n").first { $0.hasPrefix(made.name) })
        let left = try #require(Int(line.drop { $0 != " " }.dropFirst()))
        #expect((1...50_000).contains(left))
    }

    @Test("a post without a body says so")
    func emptyBody() async throws {
        let server = try await LoopbackServer(.response("200 OK", body: ""))
        _ = try await transport.send(request(server.url, body: ""))
        let text = try #require(server.requests.first)
        #expect(text.contains("\r\nContent-Length: 0\r\n"))
        #expect(text.hasSuffix("\r\n\r\n"))
    }

    @Test("a get sends no body")
    func get() async throws {
        let server = try await LoopbackServer(.response("200 OK", body: "{}"))
        let response = try await transport.send(request(server.url + "/health", method: "GET", body: ""))
        #expect(response.status == 200)
        let text = try #require(server.requests.first)
        #expect(text.hasPrefix("GET /health HTTP/1.1\r\n"))
        #expect(!text.lowercased().contains("content-length"))
    }

    @Test("requests one after the other use one connection, whatever the method before was")
    func reuse() async throws {
        let server = try await LoopbackServer(.response("200 OK", body: "{}"))
        for index in 0..<10 {
            let method = index.isMultiple(of: 3) ? "GET" : "POST"
            let body = method == "GET" ? "" : #"{"index":\#(index)}"#
            _ = try await transport.send(request(server.url, method: method, body: body))
        }
        #expect(server.connections == 1)
        #expect(
            server.requests.map { $0.prefix { $0 != " " } } == [
                "GET", "POST", "POST", "GET", "POST", "POST", "GET", "POST", "POST", "GET",
            ])
    }

    @Test("requests at once are all answered, each with its own response")
    func concurrent() async throws {
        let server = try await LoopbackServer(.response("200 OK", body: "{}"))
        let statuses = try await withThrowingTaskGroup { group in
            for index in 0..<100 {
                let request = request(server.url + "/\(index)")
                group.addTask { try await transport.send(request).status }
            }
            return try await group.reduce(into: [Int]()) { $0.append($1) }
        }
        #expect(statuses == Array(repeating: 200, count: 100))
        #expect(Set(server.requests.compactMap { $0.split(separator: " ").dropFirst().first }).count == 100)
        #expect(server.connections <= CurlTransport.maximumConnections)
    }

    @Test("a kept connection that was closed meanwhile is replaced by a new one")
    func closedWhileIdle() async throws {
        let server = try await LoopbackServer(.bytesAndClose("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
        for _ in 0..<3 { #expect(try await transport.send(request(server.url)).status == 200) }
        #expect(server.requests.count == 3)
    }

    @Test("a cancelled task still learns what became of its request")
    func cancelled() async throws {
        let server = try await LoopbackServer(.response("200 OK", body: "{}"))
        let request = request(server.url)
        let task = Task { [transport] in
            withUnsafeCurrentTask { $0?.cancel() }
            return try await transport.send(request)
        }
        #expect(try await task.value.status == 200)
    }

    // MARK: Failures

    @Test("a connection that is refused means that nothing was sent")
    func refused() async throws {
        // Port 1 is reserved, and no program of a usual machine listens there.
        guard case .notSent = try await failure(request("http://127.0.0.1:1")) else {
            Issue.record("the request counts as sent")
            return
        }
    }

    @Test("a refused connection counts as not sent also after the same transport has sent another request")
    func refusedAfterSuccess() async throws {
        let server = try await LoopbackServer(.response("200 OK", body: "{}"))
        _ = try await transport.send(request(server.url))
        guard case .notSent = try await failure(request("http://127.0.0.1:1")) else {
            Issue.record("the request counts as sent")
            return
        }
    }

    @Test(
        "an address that cannot be called means that nothing was sent",
        arguments: ["", "http://", "ftp://127.0.0.1/", "file:///etc/passwd", "gopher://127.0.0.1:1/"])
    func badAddress(url: String) async throws {
        guard case .notSent = try await failure(request(url)) else {
            Issue.record("the request counts as sent")
            return
        }
    }

    @Test(
        "a connection that is closed before the response is complete is lost: the request may have run",
        arguments: [
            "", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"a\":",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        ])
    func closedInside(bytes: String) async throws {
        let server = try await LoopbackServer(.bytesAndClose(bytes))
        guard case .connectionLost = try await failure(request(server.url)) else {
            Issue.record("the connection does not count as lost")
            return
        }
    }

    @Test("a request that is lost on a kept connection, and cannot be repeated on a new one, may have run (hazard 12)")
    func lostOnKeptConnection() async throws {
        let server = try await LoopbackServer(.response("200 OK", body: "{}"), .bytesAndClose(""))
        _ = try await transport.send(request(server.url))
        try await server.stopListening()
        guard case .connectionLost = try await failure(request(server.url)) else {
            Issue.record("the connection does not count as lost")
            return
        }
        #expect(server.requests.count == 2)
    }

    @Test("a request that is to be sent once has a connection of its own, which nobody uses after it")
    func ownConnection() async throws {
        let server = try await LoopbackServer(.response("200 OK", body: "{}"))
        for isSentOnce in [true, false, true, false] {
            _ = try await transport.send(request(server.url, isSentOnce: isSentOnce))
        }
        #expect(server.connections == 3)
    }

    @Test(
        "a request is sent again when its kept connection breaks before an answer, unless it is to be sent once (hazard 12)"
    )
    func sentOnce() async throws {
        for isSentOnce in [false, true] {
            let server = try await LoopbackServer(
                .response("200 OK", body: "{}"), .bytesAndClose(""), .response("429 Too Many Requests", body: "{}"))
            _ = try await transport.send(request(server.url))
            let second = request(server.url, isSentOnce: isSentOnce)
            if isSentOnce {
                guard case .connectionLost = try await failure(second) else {
                    Issue.record("another answer was taken for that to the request")
                    return
                }
            } else {
                #expect(try await transport.send(second).status == 429)
            }
            #expect(server.requests.count == (isSentOnce ? 2 : 3))
        }
    }

    @Test(
        "what is no HTTP may come from a service that did the work",
        arguments: [
            "garbage and more of it\r\n\r\n", "HTTP/3.7 200 OK\r\n\r\n", "\u{15}\u{3}\u{1}\u{0}\u{2}\u{2}\u{A}",
        ])
    func notHTTP(bytes: String) async throws {
        let server = try await LoopbackServer(.bytesAndClose(bytes))
        #expect(try await failure(request(server.url)) == .notHTTP)
    }

    @Test("a response up to the limit is taken and one that is larger is refused")
    func tooLarge() async throws {
        let limit = CurlTransport.maximumResponseBytes
        let server = try await LoopbackServer(
            .response("200 OK", body: String(repeating: "x", count: limit)),
            .response("200 OK", body: String(repeating: "x", count: limit + 1)))
        #expect(try await transport.send(request(server.url)).body.count == limit)
        #expect(try await failure(request(server.url)) == .responseTooLarge)
    }

    @Test("a response without an end is cut off at the limit")
    func endless() async throws {
        let count = CurlTransport.maximumResponseBytes / 65_536 + 1
        let chunk = "10000\r\n" + String(repeating: "x", count: 65_536) + "\r\n"
        let server = try await LoopbackServer(
            .bytes(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + String(repeating: chunk, count: count)))
        #expect(try await failure(request(server.url)) == .responseTooLarge)
    }

    @Test("no answer in time to a request that was sent is a time-out: it may have run")
    func timedOut() async throws {
        let server = try await LoopbackServer(.silence)
        #expect(try await failure(request(server.url, timeout: .milliseconds(50))) == .timedOut)
    }

    @Test("a time-out of one request does not harm the next")
    func afterTimeout() async throws {
        let server = try await LoopbackServer(.silence, .response("200 OK", body: "{}"))
        #expect(try await failure(request(server.url, timeout: .milliseconds(50))) == .timedOut)
        #expect(try await transport.send(request(server.url)).status == 200)
    }
}
