import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import Synchronization
import Testing

@testable import ReferenceBackend

/// Requests that are sent by halves, too slowly, in too large a number or from a page of another site.
@Suite struct ServerLimitsTests {
    private static let halfHead = "POST /api/agent/task/x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Le"

    private static func head(_ method: String, _ path: String, _ fields: String...) -> String {
        "\(method) \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            + fields.map { $0 + "\r\n" }.joined() + "\r\n"
    }

    @Test func halfSentHeadsAreClosedAndManyOfThemKeepNobodyOut() async throws {
        let limits = ServerLimits(maximumConnections: 20, headTimeout: 600)
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder, limits: limits) { backend in
            var flood: [RawConnection] = []
            for _ in 0..<100 {
                let connection = try RawConnection(to: backend.port)
                connection.send(Self.halfHead)
                flood.append(connection)
            }
            let client = try TestClient(backend)
            #expect(try await client.get("/healthz").status == 200)
            #expect(try await client.get("/api/agent").status == 200)
            try await eventually("those that waited longest are closed", within: .seconds(60)) {
                for connection in flood { connection.receive() }
                return flood.count { !$0.isClosed } <= 20
            }
        }
    }

    @Test func aHeadABodyAndAPauseThatTakeTooLongEndTheConnection() async throws {
        let limits = ServerLimits(headTimeout: 0.4, idleTimeout: 0.4, bodyTimeout: 0.4)
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder, limits: limits) { backend in
            let silent = try RawConnection(to: backend.port)
            let half = try RawConnection(to: backend.port)
            half.send(Self.halfHead)
            let body = try RawConnection(to: backend.port)
            body.send(
                Self.head("POST", "/api/agent/task/\(QuickstartSeed.squareTask)", "Content-Length: 1000") + "{")
            let idle = try RawConnection(to: backend.port)
            idle.send(Self.head("GET", "/healthz"))
            #expect(try await idle.status() == 200)
            for (name, connection) in [("silent", silent), ("half", half), ("body", body), ("idle", idle)] {
                try await connection.untilClosed(name)
            }
            #expect(body.received.isEmpty)
            // A byte now and then doesn't help.
            let slow = try RawConnection(to: backend.port)
            slow.send(Self.head("POST", "/api/agent/task/\(QuickstartSeed.squareTask)", "Content-Length: 100000"))
            try await eventually("the slow one is closed", within: .seconds(60)) {
                slow.send(" ")
                slow.receive()
                return slow.isClosed
            }
        }
    }

    @Test func whatIsLeftOfARequestThatWasAnsweredEarlyIsReadButNotForEver() async throws {
        let limits = ServerLimits(idleTimeout: 600, bodyTimeout: 0.4)
        try await LiveBackend.withLiveBackend(limits: limits) { backend in
            for fields in [[], ["Connection: close"]] {
                // More than the kernel's buffers hold.
                let size = 30_000_000
                let head = (["Host: 127.0.0.1", "Content-Length: \(size)"] + fields).map { $0 + "\r\n" }.joined()
                let half = try RawConnection(to: backend.port)
                half.send("POST /nowhere HTTP/1.1\r\n\(head)\r\nx")
                #expect(try await half.status() == 404)
                try await half.untilClosed("half")
                let whole = try RawConnection(to: backend.port)
                whole.send("POST /nowhere HTTP/1.1\r\n\(head)\r\n")
                var rest = Data(repeating: 0x20, count: size)
                try await eventually("all is sent", within: .seconds(60)) {
                    // The answer comes while it is being sent; a slow machine may meet the limit of time, which is right too.
                    whole.receive()
                    rest = Data(rest.dropFirst(whole.send(rest)))
                    return rest.isEmpty || whole.isClosed
                }
                #expect(try await whole.status() == 404)
            }
        }
    }

    @Test func aHalfSentBodyDoesntKeepTheServerFromStopping() async throws {
        let folder = try TemporaryFolder()
        try await BackendService.open(dataFolder: folder.url).close()
        let process = try BackendProcess([
            "serve", "--auth", "none", "--listen", "127.0.0.1:0", "--data", folder.path, "--body-timeout", "86400",
        ])
        let line = try #require(await process.lines.first { $0.hasPrefix("runbook-backend listens on ") })
        let port = try #require(line.split(separator: ":").last.flatMap { Int($0) })
        let connection = try RawConnection(to: port)
        let agent = try RawConnection(to: port)
        agent.send(Self.head("GET", "/api/agent"))
        #expect(try await agent.status() == 200)
        connection.send(Self.head("POST", "/api/agent/task/x", "Content-Length: 1000") + "{")
        // Until its head has been read, which nothing shows.
        try await Task.sleep(for: .milliseconds(300))
        process.signal(SIGTERM)
        #expect(try await process.exitStatus() == 0)
    }

    @Test func anAnswerThatNobodyTakesEndsTheConnection() async throws {
        let limits = ServerLimits(bodyTimeout: 0.4, minimumRate: 100 << 20)
        try await LiveBackend.withLiveBackend(limits: limits) { backend in
            let script = "class Plugin: pass\n#" + String(repeating: "x", count: 8_000_000)
            let plugin = try await backend.addPlugin(script: script, functions: ["f": "f"])
            let connection = try RawConnection(to: backend.port)
            connection.send(Self.head("GET", "/api/agent/plugin/\(plugin.id)"))
            // Not read for long enough; what the kernel holds comes at the end, and the rest never.
            try await eventually("the server gives up", within: .seconds(60)) {
                try await Task.sleep(for: .milliseconds(100))
                return connection.send("x") == 0
            }
            try await connection.untilClosed()
            #expect(connection.received.count < script.utf8.count)
        }
    }

    @Test func whereAllConnectionsAreAtWorkTheNextIsToldSoAndHealthIsAnswered() async throws {
        let limits = ServerLimits(maximumConnections: 3, bodyTimeout: 600)
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder, limits: limits) { backend in
            var busy: [RawConnection] = []
            try await eventually("there is no room", within: .seconds(60)) {
                // One whose head wasn't looked at yet is closed to make room, and comes again.
                for connection in busy { connection.receive() }
                busy.removeAll { $0.isClosed }
                while busy.count < 3 {
                    let connection = try RawConnection(to: backend.port)
                    connection.send(
                        Self.head("POST", "/api/agent/task/\(QuickstartSeed.squareTask)", "Content-Length: 10"))
                    busy.append(connection)
                }
                let next = try RawConnection(to: backend.port)
                next.send(Self.head("GET", "/api/agent"))
                let status = try await next.status()
                if status == 503 {
                    #expect(String(decoding: next.received, as: UTF8.self).contains("backend.busy"))
                    try await next.untilClosed()
                }
                return status == 503
            }
            let health = try RawConnection(to: backend.port)
            health.send(Self.head("GET", "/healthz"))
            #expect(try await health.status() == 200)
            busy[0].send(#"{"data":1}"#)
            #expect(try await busy[0].status() == 422)
        }
    }

    @Test func largeBodiesAreHeldBackWhereThereIsNoRoomAndSmallOnesAreNot() async throws {
        var limits = ServerLimits(bodyTimeout: 600, maximumBodies: 1_000_000)
        limits.bodyPatience = 0.5
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder, limits: limits) { backend in
            let path = "/api/agent/task/\(QuickstartSeed.squareTask)"
            let text = #"{"data": ""# + String(repeating: "x", count: 599_980) + #""}"#
            var both: [RawConnection] = []
            for _ in 0..<2 {
                let connection = try RawConnection(to: backend.port)
                connection.send(Self.head("POST", path, "Content-Length: \(text.utf8.count)") + "{")
                both.append(connection)
            }
            let client = try TestClient(backend)
            for number in 0..<20 {
                let small = try await client.send(
                    .post, path, json: ["data": "small", "run_id": .string("run-\(number)")])
                #expect(small.status == 201)
            }
            // Whichever came second finds no room, for as long as the first isn't done.
            try await eventually("one is refused", within: .seconds(60)) {
                for connection in both { connection.receive() }
                return both.contains { !$0.received.isEmpty }
            }
            let refused = try #require(both.first { !$0.received.isEmpty })
            #expect(try await refused.status() == 503)
            #expect(String(decoding: refused.received, as: UTF8.self).contains("backend.busy"))
            let served = try #require(both.first { $0.received.isEmpty })
            var rest = Data(text.utf8.dropFirst())
            try await eventually("all is sent", within: .seconds(60)) {
                rest = Data(rest.dropFirst(served.send(rest)))
                return rest.isEmpty
            }
            #expect(try await served.status() == 201)
            let large = try RawConnection(to: backend.port)
            large.send(Self.head("POST", path, "Content-Length: 100000000000"))
            #expect(try await large.status() == 413)
        }
    }

    @Test func memoryForBodiesIsBoundedSharedFairlyAndGivenInTurn() async throws {
        let budget = BodyBudget(capacity: 100, patience: .milliseconds(200))
        #expect(await budget.take(40, for: "a"))
        // Half of it is the most that one has.
        #expect(!budget.tryTake(20, for: "a"))
        #expect(await budget.take(50, for: "b"))
        #expect(!budget.tryTake(20, for: "c"))
        #expect(await !budget.take(20, for: "c"))
        let patient = BodyBudget(capacity: 100, patience: .seconds(600))
        #expect(patient.tryTake(90, for: "a"))
        async let waiting = patient.take(60, for: "b")
        try await eventually("it waits", within: .seconds(60)) { patient.waiting == 1 }
        patient.give(90, of: "a")
        #expect(await waiting)
        // What is larger than all of it goes alone.
        #expect(!patient.tryTake(200, for: "c"))
        patient.give(60, of: "b")
        #expect(patient.tryTake(200, for: "c"))
    }

    @Test func nestingIsBoundedBeforeAnythingIsDecoded() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            for depth in [400, 200_000] {
                let nested = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
                let result = try await client.send(
                    .post, "/api/agent/task/\(QuickstartSeed.squareTask)", text: #"{"data": "x", "more": \#(nested)}"#)
                #expect(result.status == 422)
                #expect(result.errorMessage.contains("nested deeper"))
                let agent = try await client.administer(
                    .patch, "/agents/\(QuickstartSeed.agentID)", text: #"{"name": \#(nested)}"#)
                #expect(agent.status == 422)
                #expect(agent.errorMessage.contains("nested deeper"))
                let task = try await client.administer(
                    .post, "/tasks",
                    json: [
                        "agent_id": .string(QuickstartSeed.agentID),
                        "command": .string("\(QuickstartSeed.pluginID).greet"),
                        "arguments": .string(#"{"a": \#(nested)}"#),
                    ])
                #expect(task.status == 422)
                #expect(task.errorField == "arguments")
            }
        }
    }

    // MARK: Who speaks

    @Test(arguments: [
        (["203.0.113.9"], "203.0.113.9"), (["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9, 10.1.2.3"], "203.0.113.9"), (["198.51.100.1", "203.0.113.9:4711"], "203.0.113.9"),
        (["[2001:db8::1]:80"], "2001:db8::1"), (["2001:db8::1"], "2001:db8::1"), (["nonsense"], "10.0.0.1"),
        (["203.0.113.9, nonsense"], "10.0.0.1"), ([], "10.0.0.1"), (["10.1.1.1"], "10.1.1.1"), ([""], "10.0.0.1"),
    ])
    func ofWhatATrustedProxyForwardsTheLastClientCounts(fields: [String], client: String) throws {
        let trusted = [try AddressRange("10.0.0.0/8")]
        #expect(ClientAddressMiddleware.client(behind: "10.0.0.1", forwardedFor: fields, trusted) == client)
        // Anybody else can write what they like.
        for peer in ["192.0.2.1", "11.0.0.1", "unknown"] {
            #expect(ClientAddressMiddleware.client(behind: peer, forwardedFor: fields, trusted) == peer)
        }
    }

    @Test(arguments: [
        ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.0", false), ("127.0.0.1", "127.0.0.1", true),
        ("127.0.0.1", "127.0.0.2", false), ("192.0.2.128/25", "192.0.2.127", false), ("0.0.0.0/0", "8.8.8.8", true),
        ("0.0.0.0/0", "2001:db8::1", false), ("fd00::/8", "fd12::1", true), ("fd00::/8", "fe80::1", false),
        ("10.0.0.0/8", "::ffff:10.0.0.1", true),
    ])
    func aRangeHoldsWhatBeginsWithItsBits(range: String, address: String, isInside: Bool) throws {
        #expect(try AddressRange(range).contains(address) == isInside)
    }

    @Test(arguments: ["", "10.0.0", "10.0.0.0/33", "::1/129", "10.0.0.0/", "/8", "proxy.example.com", "10.0.0.0/-1"])
    func whatIsNoRangeIsRefused(text: String) {
        #expect(throws: ReferenceBackendError.self) { try AddressRange(text) }
    }

    @Test func clientsBehindATrustedProxyAreCountedEachByItself() async throws {
        let login = LoginConfiguration(maximumCodesPerNetwork: 2)
        let loopback = try AddressRange("127.0.0.1")
        try await LiveBackend.withLiveBackend(
            authentication: .device, login: login, trustedProxies: [loopback]
        ) { backend in
            let client = try DeviceClient(backend)
            func ask(_ address: String) async throws -> Int {
                try await client.post(
                    "/oauth/device/code", text: "client_id=x", headers: ["X-Forwarded-For": "1.2.3.4, \(address)"]
                ).status
            }
            for _ in 0..<2 { #expect(try await ask("203.0.113.1") == 200) }
            #expect(try await ask("203.0.113.1") == 429)
            #expect(try await ask("203.0.113.2") == 200)
            let addresses = try await backend.service.deviceLogins().elements.map(\.address)
            #expect(addresses == ["203.0.113.1", "203.0.113.1", "203.0.113.2"])
        }
        try await LiveBackend.withLiveBackend(authentication: .device, login: login) { backend in
            let client = try DeviceClient(backend)
            for number in 1...3 {
                let answer = try await client.post(
                    "/oauth/device/code", text: "client_id=x", headers: ["X-Forwarded-For": "203.0.113.\(number)"])
                #expect(answer.status == (number == 3 ? 429 : 200))
            }
        }
    }

    @Test(arguments: [
        (["Content-Type": "text/plain"], 403), (["Content-Type": "application/x-www-form-urlencoded"], 403),
        (["Content-Type": "multipart/form-data; boundary=x"], 403), (["Origin": "https://evil.example"], 403),
        (["Origin": "null"], 403), (["Sec-Fetch-Site": "cross-site"], 403), (["Host": "evil.example"], 421),
        (["Host": "evil.example:8787"], 421), (["Host": "127.0.0.1.evil.example"], 421), (["Host": "localhost:1"], 201),
        (["Content-Type": "application/json; charset=utf-8"], 201), (["Host": "[::1]:8787"], 201),
        (["Host": "backend.example.com"], 201), (["Content-Type": "application/json"], 201),
    ])
    func withoutLoginAPageOfAnotherSiteCantActAsAnAgent(
        fields: [String: String], status: Int
    ) async throws {
        let login = LoginConfiguration(publicOrigin: try WebOrigin("https://backend.example.com"))
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder, login: login) { backend in
            func send(_ request: String, _ fields: [String: String], _ body: String) async throws -> RawConnection {
                let all = ["Host": "127.0.0.1", "Content-Length": "\(body.utf8.count)"].merging(fields) { $1 }
                let connection = try RawConnection(to: backend.port)
                connection.send("\(request) HTTP/1.1\r\n\(all.map { "\($0): \($1)\r\n" }.joined())\r\n\(body)")
                return connection
            }
            let json = ["Content-Type": "application/json"].merging(fields) { $1 }
            let answer = try await send(
                "POST /api/agent/task/\(QuickstartSeed.squareTask)", json, #"{"data": "x"}"#)
            #expect(try await answer.status() == status)
            if status != 201 {
                let code = status == 421 ? "request.foreign_host" : "request.foreign_site"
                #expect(String(decoding: answer.received, as: UTF8.self).contains(code))
                #expect(try await backend.service.runs().elements.isEmpty)
            }
            let read = try await send("GET /api/agent/tasks", fields, "")
            #expect(try await read.status() == (fields["Content-Type"] == nil && status != 201 ? status : 200))
        }
    }

    @Test func anAgentOfPart1NeedsNoContentType() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let connection = try RawConnection(to: backend.port)
            connection.send(
                Self.head("POST", "/api/agent/task/\(QuickstartSeed.squareTask)", "Content-Length: 13")
                    + #"{"data": "x"}"#)
            #expect(try await connection.status() == 201)
        }
    }
}
