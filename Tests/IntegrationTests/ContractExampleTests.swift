import Agent
import AgentModel
import AgentTestSupport
import Diagnostics
import Foundation
import ReferenceBackend
import Testing

/// The contract's own example, against the live backend.
@Suite struct ContractExampleTests {
    private static let plugin = "9ab56426-f429-4c4b-9755-40c92449f0be"
    private static let greet = "9ab581cf-546d-405a-afaf-474cc631ed5c"
    private static let square = "9ab582f7-9e64-4fad-b6b9-369633776ae4"

    private static let seed = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Examples/quickstart")

    @Test func greetRunsOnceAndSquareAtTheFullMinute() async throws {
        try await LiveBackend.withLiveBackend(seed: Self.seed) { backend in
            let folder = try TemporaryFolder()
            let clock = ManualClock("2026-11-23T21:07:30Z")
            let agent = try await TestAgent.start(serverURL: backend.url, folder: folder, clock: clock)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await agent.runtime.dispatcher.run() }
                group.addTask { try await agent.runtime.reporter.run() }
                group.addTask { try await agent.runtime.scheduler.run() }
                #expect(await agent.runtime.synchronizer.synchronize())

                let greeted = try #require(try await backend.waitForRuns(ofTask: Self.greet).first)
                #expect(greeted.result.data == "Hello from the Test Plugin!\n")
                #expect(greeted.result.stdout == "Hello from the Test Plugin!\n")
                #expect(greeted.result.status == .succeeded)
                #expect(greeted.result.isolation == "in-process")

                #expect(try await backend.runs(ofTask: Self.square).isEmpty)
                clock.advance(by: 30)
                let squared = try #require(try await backend.waitForRuns(ofTask: Self.square).first)
                #expect(squared.result.data == "The square of 2 is 4\n")
                #expect(squared.result.scheduledFor == RFC3339.date(from: "2026-11-23T21:08:00Z"))

                clock.advance(by: 60)
                #expect(try await backend.waitForRuns(ofTask: Self.square, count: 2).count == 2)
                await agent.runtime.synchronizer.synchronize()
                group.cancelAll()
            }
            await agent.runtime.close()
            #expect(try await backend.runs(ofTask: Self.greet).count == 1)
            let files = try FileManager.default.contentsOfDirectory(atPath: folder.path("plugins")).sorted()
            #expect(files.contains("\(Self.plugin).json") && files.contains("\(Self.plugin).py"))
        }
    }

    @Test func anotherLifeOfTheAgentDoesNotRunAOneOffAgain() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        // A backend of part 1 that goes on listing the task for ever.
        for _ in 0..<3 { try await TestAgent.once(serverURL: backend.server.url, folder: folder) }
        #expect(try backend.results(of: "good").count == 1)
    }

    @Test func minimalResultsHoldNothingBesideData() async throws {
        let backend = try ScriptedBackend()
        try await TestAgent.once(
            serverURL: backend.server.url, folder: TemporaryFolder(), settings: ["result_format": "minimal"])
        let body = try #require(backend.server.requests.last { $0.method == "POST" }?.body)
        #expect(String(decoding: body, as: UTF8.self) == #"{"data":"hello"}"#)
    }

    @Test func aScheduleWithAFireTimeSinceTheLastOnceRunsOnce() async throws {
        let backend = try ScriptedBackend()
        backend.addTask(#"{"id": "bad", "command": "good-plugin.hello", "cron": "0 * * * *", "arguments": "{}"}"#)
        let folder = try TemporaryFolder()
        for (time, runs) in [
            ("2026-11-23T21:07:30Z", 0), ("2026-11-23T21:59:59Z", 0), ("2026-11-23T22:00:01Z", 1),
            ("2026-11-23T22:00:02Z", 1), ("2026-11-24T05:30:00Z", 2),
        ] {
            let agent = try await TestAgent.start(
                serverURL: backend.server.url, folder: folder, clock: ManualClock(time), missedRuns: .once)
            _ = try await agent.runtime.runOnce()
            await agent.runtime.close()
            #expect(try backend.results(of: "bad").count == runs, "at \(time)")
        }
    }

    @Test func twoVersionsOfAPluginKeepTheirOwnState() async throws {
        try await LiveBackend.withLiveBackend { backend in
            let script = """
                count = 0
                class Plugin:
                    def bump(self):
                        global count
                        count += 1
                        return f"VERSION {count}"
                """
            var commands: [String] = []
            for version in ["one", "two"] {
                let plugin = try await backend.addPlugin(
                    script: script.replacing("VERSION", with: version), functions: ["bump": "bump"])
                commands += plugin.commands.keys
            }
            for (index, command) in (commands + commands).enumerated() {
                try await backend.addTask(id: "t\(index)", command: command)
            }
            try await TestAgent.once(serverURL: backend.url, folder: TemporaryFolder())
            var results: [String?] = []
            for index in 0..<4 { results += try await backend.runs(ofTask: "t\(index)").map(\.result.data) }
            #expect(Set(results) == ["one 1", "two 1", "one 2", "two 2"])
        }
    }
}
