import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import Testing

@testable import ReferenceBackend

/// `Prefer: wait` (part 2 of the contract): requests that the backend holds until something has changed.
@Suite struct LongPollRoutesTests {
    private static let path = "/api/agent/tasks"

    @Test func aRequestIsHeldUntilThereIsATask() async throws {
        try await withBackend { backend, client, tag in
            async let answer = client.get(Self.path, headers: wait(tag, 60))
            try await eventually("it waits") { backend.service.waitingAgents == 1 }
            try await addTask("one", to: backend)
            let held = try await answer
            #expect(held.status == 200)
            #expect(held.response.header("Preference-Applied") == "wait=60")
            #expect(held.json["data"].text.contains("\"one\""))
            #expect(backend.service.waitingAgents == 0)
        }
    }

    @Test func withoutAChangeItIsAnsweredWhenItsTimeIsOver() async throws {
        try await withBackend { _, client, tag in
            let start = ContinuousClock.now
            let answer = try await client.get(Self.path, headers: wait(tag, 2))
            #expect(answer.status == 304)
            #expect(answer.response.header("Preference-Applied") == "wait=2")
            #expect(answer.response.header("ETag") == tag)
            #expect(start.duration(to: .now) >= .milliseconds(1800))
        }
    }

    @Test func whatTheAgentDoesNotKnowYetIsToldAtOnce() async throws {
        try await withBackend { _, client, tag in
            for headers in [["Prefer": "wait=3600"], ["Prefer": "wait=3600", "If-None-Match": "\"other\""]] {
                let answer = try await client.get(Self.path, headers: headers)
                #expect(answer.status == 200)
                #expect(answer.response.header("Preference-Applied") == "wait=3600")
                #expect(answer.response.header("ETag") == tag)
            }
        }
    }

    @Test(arguments: [
        nil, "respond-async", "wait=0", "wait=x", "wait", ";", ";;wait=5", ",", "=", "=5", "wait=", "wait=-1",
        "wait=99999999999999999999",
    ])
    func whoAsksForNoWaitGetsNone(_ preference: String?) async throws {
        try await withBackend { _, client, tag in
            var headers = ["If-None-Match": tag]
            headers["Prefer"] = preference
            let answer = try await client.get(Self.path, headers: headers)
            #expect(answer.status == 304)
            #expect(answer.response.header("Preference-Applied") == nil)
        }
    }

    @Test func aSecondWaitOfOneAgentEndsTheFirst() async throws {
        try await withBackend { backend, client, tag in
            async let first = client.get(Self.path, headers: wait(tag, 60))
            try await eventually("it waits") { backend.service.waitingAgents == 1 }
            async let second = client.get(Self.path, headers: wait(tag, 60))
            #expect(try await first.status == 304)
            try await addTask("one", to: backend)
            #expect(try await second.status == 200)
        }
    }

    /// Its plugins, its name and the end of its login as well.
    @Test func whateverConcernsTheAgentEndsItsWait() async throws {
        try await withBackend { backend, client, tag in
            let id = QuickstartSeed.agentID
            let changes: [@Sendable () async throws -> Void] = [
                { _ = try await backend.service.updateAgent(id, AgentChange(name: .set("other"))) },
                { _ = try await backend.service.unassign(QuickstartSeed.pluginID, from: id) },
                { _ = try await backend.service.assign(QuickstartSeed.pluginID, to: id) },
                { try await addTask("one", to: backend) },
                { _ = try await backend.service.updateTask("one", TaskChange(isEnabled: .set(false))) },
                { _ = try await backend.service.updateTask("one", TaskChange(isEnabled: .set(true))) },
                { try await backend.service.deleteTask("one") },
            ]
            for change in changes {
                let known = try await client.get(Self.path).response.header("ETag") ?? ""
                async let answer = client.get(Self.path, headers: wait(known, 60))
                try await eventually("it waits") { backend.service.waitingAgents == 1 }
                try await change()
                #expect(try await answer.status == 200)
            }
        }
    }

    /// What comes while the request is on its way is told too, whichever of the two is first.
    @Test func noTaskIsMissed() async throws {
        try await withBackend { backend, client, tag in
            var tag = tag
            for number in 0..<100 {
                let headers = wait(tag, 60)
                async let answer = client.get(Self.path, headers: headers)
                try await addTask("task-\(number)", to: backend)
                let held = try await answer
                #expect(held.status == 200)
                #expect(held.json["data"].text.contains("\"task-\(number)\""))
                tag = held.response.header("ETag") ?? ""
            }
        }
    }

    /// Whoever holds a token that was revoked hears of no task any more, also with a request that was there before.
    @Test func aLoginThatEndsEndsItsWait() async throws {
        try await LiveBackend.withLiveBackend(authentication: .device) { backend in
            let device = try DeviceClient(backend)
            let token = try await device.logIn().access
            let id = try #require(try await backend.service.agents().elements.first?.id)
            let headers = ["Authorization": "Bearer \(token)"]
            let known = try await device.http.get(Self.path, headers: headers)
            let tag = try #require(known.response.header("ETag"))
            let waiting = headers.merging(wait(tag, 3600)) { $1 }
            async let answer = device.http.get(Self.path, headers: waiting)
            try await eventually("it waits") { backend.service.waitingAgents == 1 }
            try await backend.service.revokeTokens(ofAgent: id)
            #expect(try await answer.status == 401)
        }
    }

    /// Agents beyond that poll, instead of being turned away for want of a connection.
    @Test func soManyWaitThatConnectionsAreLeftForTheOthers() async throws {
        var limits = ServerLimits()
        limits.maximumConnections = 4
        let loopback = try AddressRange("127.0.0.1")
        try await LiveBackend.withLiveBackend(limits: limits, trustedProxies: [loopback]) { backend in
            let client = try TestClient(backend)
            @Sendable func headers(_ number: Int) async throws -> [String: String] {
                let address = ["X-Forwarded-For": "192.0.2.\(number)"]
                let tag = try #require(try await client.get(Self.path, headers: address).response.header("ETag"))
                return address.merging(wait(tag, 60)) { $1 }
            }
            try await withThrowingTaskGroup(of: TestClient.Answer.self) { group in
                for number in 1...3 {
                    let headers = try await headers(number)
                    group.addTask { try await client.get(Self.path, headers: headers) }
                    try await eventually("\(number) wait") { backend.service.waitingAgents == number }
                }
                let fourth = try await client.get(Self.path, headers: try await headers(4))
                #expect(fourth.status == 304)
                #expect(fourth.response.header("Preference-Applied") == nil)
                for agent in try await backend.service.agents().elements {
                    _ = try await backend.service.updateAgent(agent.id, AgentChange(name: .set("other")))
                }
                for try await answer in group { #expect(answer.status == 200) }
            }
        }
    }

    /// Its time may be over before it has begun.
    @Test func theShortestWaitEnds() async {
        let waits = AgentWaits()
        for _ in 0..<2000 {
            let end = await waits.wait(for: "a", since: waits.mark(for: "a"), atMost: .nanoseconds(1))
            guard case .timedOut = end else {
                Issue.record("it ended otherwise: \(end)")
                return
            }
        }
        #expect(waits.count == 0)
    }

    @Test func aBackendThatStopsAnswersWhatWaits() async throws {
        let folder = try TemporaryFolder()
        let process = try BackendProcess([
            "serve", "--init", "--auth", "none", "--listen", "127.0.0.1:0", "--data", folder.path("data"), "--seed",
            QuickstartSeed.folder.path,
        ])
        let line = try #require(await process.lines.first { $0.hasPrefix("runbook-backend listens on ") })
        let url = try HTTPURL(String(line.split(separator: " ").last ?? "") + Self.path)
        let client = try HTTPClient()
        let tag = try #require(try await client.send(HTTPRequest(url: url)).header("ETag"))
        let headers = wait(tag, 60).map { HTTPHeader(name: $0.key, value: $0.value) }
        async let answer = client.send(HTTPRequest(url: url, headers: headers))
        // It is on its way at least; where it comes too late it is refused, and the test says so.
        try await Task.sleep(for: .seconds(1))
        process.signal(SIGTERM)
        let ended = try await answer
        #expect(ended.status == 304)
        #expect(ended.header("Connection") == "close")
        #expect(try await process.exitStatus() == 0)
    }

    private func wait(_ tag: String, _ seconds: Int) -> [String: String] {
        ["If-None-Match": tag, "Prefer": "wait=\(seconds)"]
    }

    private func withBackend(
        _ body: (LiveBackend, TestClient, _ tag: String) async throws -> Void
    ) async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            let tag = try #require(try await client.get(Self.path).response.header("ETag"))
            try await body(backend, client, tag)
        }
    }
}

private func addTask(_ id: String, to backend: LiveBackend) async throws {
    _ = try await backend.service.createTask(
        NewTask(id: id, agentID: QuickstartSeed.agentID, command: "\(QuickstartSeed.pluginID).greet"))
}
