import Agent
import AgentModel
import AgentTestSupport
import Foundation
import InMemoryLogging
import Logging
import Testing

/// The fault list: what was broken, and what the agent did.
@Suite struct FaultTests {
    // MARK: Before the start

    /// Something done to a state directory that has a journal, between two lives of the agent.
    struct Damage: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let change: @Sendable (_ journal: String) throws -> Void
    }

    static let damages = [
        Damage(testDescription: "the journal is cut to half") { path in
            let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? 0
            truncate(path, size / 2)
        },
        Damage(testDescription: "the journal is emptied") { truncate($0, 0) },
        Damage(testDescription: "the journal is overwritten with garbage") { path in
            try Data((0..<50_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }).write(to: URL(filePath: path))
        },
        Damage(testDescription: "the journal's header is overwritten") { path in
            let file = try FileHandle(forUpdating: URL(filePath: path))
            try file.write(contentsOf: Data(repeating: 0x41, count: 100))
            try file.close()
        },
    ]

    @Test(arguments: damages)
    func aDamagedJournalIsSetAsideByNameAndTheAgentGoesOn(_ damage: Damage) async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        try await TestAgent.once(serverURL: backend.server.url, folder: folder)
        let journal = folder.path("state/journal.sqlite")
        try damage.change(journal)
        let damaged = try Data(contentsOf: URL(filePath: journal))

        backend.addTask(#"{"id": "next", "command": "good-plugin.hello", "cron": null, "arguments": "{}"}"#)
        let agent = try await TestAgent.start(serverURL: backend.server.url, folder: folder, missedRuns: .once)
        let report = try await agent.runtime.runOnce()
        await agent.runtime.close()
        #expect(report.isGood)
        #expect(try backend.results(of: "next").map(\.data) == ["hello"])
        let entry = try #require(agent.log.entries.first { $0.metadata["code"] == "journal.corrupt" })
        #expect(entry.level == .critical)
        let setAside = try #require(entry.metadata["set_aside"].map { "\($0)" })
        #expect(try Data(contentsOf: URL(filePath: setAside)) == damaged, "it is kept as it was found")
    }

    /// A state directory that no agent can work on.
    struct Refusal: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let code: String
        let prepare: @Sendable (_ folder: TemporaryFolder) throws -> String
    }

    static let refusals = [
        Refusal(testDescription: "the state directory is on a read-only file system", code: "journal.read_only") { _ in
            "/proc/sys/kernel/runbook-agent-state"
        },
        Refusal(testDescription: "the state directory is a file", code: "journal.io") { folder in
            try Data().write(to: URL(filePath: folder.path("file")))
            return folder.path("file")
        },
    ]

    @Test(arguments: refusals)
    func anUnusableStateDirectoryEndsTheStartWithAReason(_ refusal: Refusal) async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        let directory = try refusal.prepare(folder)
        let output = try await AgentProcess.run([
            "run", "--set", "server_url=\(backend.server.url)", "--set", "auth=no", "--set",
            "plugin_directory=\(folder.path("plugins"))", "--set", "state_directory=\(directory)",
        ])
        #expect(output.status == 1)
        #expect(
            output.stderr.contains(refusal.code)
                || output.stderr.contains("journal.io") && refusal.code != "journal.io",
            "\(output.stderr)")
        #expect(output.stderr.contains(directory), "\(output.stderr)")
        #expect(backend.server.requests.isEmpty, "nothing is asked for that could not be remembered")
    }

    @Test func aSecondAgentOnTheStateDirectoryIsRefusedAndToldOfTheFirst() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        let first = try await TestAgent.start(serverURL: backend.server.url, folder: folder)
        let output = try await AgentProcess.run([
            "run", "--set", "server_url=\(backend.server.url)", "--set", "auth=no", "--set",
            "plugin_directory=\(folder.path("plugins"))", "--set", "state_directory=\(folder.path("state"))",
        ])
        #expect(output.status == 1)
        #expect(output.stderr.contains("journal.locked"), "\(output.stderr)")
        #expect(output.stderr.contains("process \(getpid())"), "\(output.stderr)")
        #expect(backend.server.requests.isEmpty)
        await first.runtime.close()
    }

    // MARK: Under the running agent

    private static let adding = """
        class Plugin:
            def add(self, file):
                with open(file, "a") as lines: lines.write("ran\\n")
                return "added"
        """

    private static func task(_ id: String, _ file: String) -> String {
        let arguments = JSONValue.object(["file": .string(file)]).text
        return #"{"id": "\#(id)", "command": "adder.add", "cron": null, "arguments": \#(arguments)}"#
    }

    private static func lines(of file: String) -> Int {
        (try? String(contentsOfFile: file, encoding: .utf8))?.split(separator: "\n").count ?? 0
    }

    @Test func aDeletedStateDirectoryStartsNothingMoreAndLosesNoResult() async throws {
        let backend = try ScriptedBackend()
        backend.addPlugin("adder", script: Self.adding, functions: ["add"])
        let folder = try TemporaryFolder()
        let agent = try await TestAgent.start(serverURL: backend.server.url, folder: folder)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await agent.runtime.dispatcher.run() }
            backend.addTask(Self.task("before", folder.path("before")))
            await agent.runtime.synchronizer.synchronize()
            await agent.runtime.dispatcher.idle()
            try? FileManager.default.removeItem(atPath: folder.path("state"))
            backend.addTask(Self.task("after", folder.path("after")))
            await agent.runtime.synchronizer.synchronize()
            await agent.waitForCode("journal.removed")
            await agent.runtime.reporter.deliverDue()
            group.cancelAll()
        }
        #expect(Self.lines(of: folder.path("after")) == 0, "no run begins that would be forgotten")
        #expect(try backend.results(of: "before").map(\.data) == ["added"], "what ran is delivered")
        #expect(try backend.results(of: "after").isEmpty)
        await agent.runtime.close()

        // A new life of the agent makes a new journal, and what had not begun runs.
        backend.removeTask("before")
        backend.removeTask("good")
        try await TestAgent.once(serverURL: backend.server.url, folder: folder)
        #expect(Self.lines(of: folder.path("after")) == 1)
        #expect(try backend.results(of: "after").map(\.data) == ["added"])
    }

    @Test func aDeletedPluginDirectoryIsMadeAnewAndThePluginFetchedAgain() async throws {
        let backend = try ScriptedBackend()
        backend.addPlugin("adder", script: Self.adding, functions: ["add"])
        let folder = try TemporaryFolder()
        let agent = try await TestAgent.start(serverURL: backend.server.url, folder: folder)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await agent.runtime.dispatcher.run() }
            await agent.runtime.synchronizer.synchronize()
            try? FileManager.default.removeItem(atPath: folder.path("plugins"))
            for id in ["during", "after"] {
                backend.addTask(Self.task(id, folder.path(id)))
                await agent.runtime.synchronizer.synchronize()
                await agent.runtime.dispatcher.idle()
                await agent.runtime.synchronizer.synchronize()
                await agent.runtime.dispatcher.idle()
                await agent.runtime.reporter.deliverDue()
            }
            group.cancelAll()
        }
        await agent.runtime.close()
        // Code whose file is gone is not what was verified: the run waits until it has been fetched again.
        #expect(agent.loggedCodes.contains("plugin.file_changed"))
        #expect(try backend.results(of: "during").map(\.data) == ["added"])
        #expect(Self.lines(of: folder.path("during")) == 1)
        #expect(try backend.results(of: "after").map(\.data) == ["added"])
        #expect(FileManager.default.fileExists(atPath: folder.path("plugins/adder.py")))
    }

    @Test(
        .enabled(if: TemporaryMount.isPossible, "only root may mount a file system that can be filled"),
        .timeLimit(.minutes(2)))
    func aFullDiskHoldsRunsBackUntilThereIsRoom() async throws {
        let backend = try ScriptedBackend()
        backend.addPlugin("adder", script: Self.adding, functions: ["add"])
        let folder = try TemporaryFolder()
        let disk = try TemporaryMount(kibibytes: 2048)
        let agent = try await TestAgent.start(
            serverURL: backend.server.url, folder: folder, settings: ["state_directory": disk.path + "/state"])
        let filling = try disk.fill()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await agent.runtime.dispatcher.run() }
            backend.addTask(Self.task("one", folder.path("one")))
            await agent.runtime.synchronizer.synchronize()
            await agent.waitForCode("journal.disk_full")
            #expect(Self.lines(of: folder.path("one")) == 0, "no run begins that could not be written down")
            try FileManager.default.removeItem(atPath: filling)
            group.addTask { try await agent.runtime.reporter.run() }
            // Tried again by itself, after a second at first.
            while try backend.results(of: "one").isEmpty || backend.results(of: "good").isEmpty { await Task.yield() }
            group.cancelAll()
        }
        await agent.runtime.close()
        #expect(Self.lines(of: folder.path("one")) == 1)
        #expect(try backend.results(of: "one").map(\.data) == ["added"])
        #expect(try backend.results(of: "good").map(\.data) == ["hello"])
    }

    // MARK: The backend

    @Test func aBackendThatIsGoneForAWholeLifeGetsEverythingWhenItIsBack() async throws {
        let backend = try ScriptedBackend()
        backend.addPlugin("adder", script: Self.adding, functions: ["add"])
        let folder = try TemporaryFolder()
        for number in 0..<50 { backend.addTask(Self.task("t\(number)", folder.path("lines"))) }
        // It answers questions, and no result gets through.
        let refused = ScriptedServer.Answer.close
        for number in 0..<50 { backend.server.route("/api/agent/task/t\(number)", refused) }
        var report = try await TestAgent.once(serverURL: backend.server.url, folder: folder).report
        // The good task's result may have to wait behind the others: one probe at a time goes to a backend in trouble.
        #expect(50...51 ~= report.undelivered)
        // A life without any backend.
        let before = report.undelivered
        report = try await TestAgent.once(serverURL: "http://127.0.0.1:9", folder: folder).report
        #expect(!report.isSynchronized && report.undelivered == before)

        for number in 0..<50 { backend.server.route("/api/agent/task/t\(number)", .json("{}", status: 201)) }
        // A later day, so that every next attempt is due.
        let clock = ManualClock("2099-01-01T00:00:00Z")
        let agent = try await TestAgent.start(
            serverURL: backend.server.url, folder: folder, clock: clock, missedRuns: .once)
        report = try await agent.runtime.runOnce()
        await agent.runtime.close()
        #expect(report.undelivered == 0)
        #expect(Self.lines(of: folder.path("lines")) == 50, "nothing ran twice")
    }
}
