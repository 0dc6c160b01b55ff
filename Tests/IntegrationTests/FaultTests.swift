// More than 400 lines: the list of faults is one table.

import Agent
import AgentModel
import AgentTestSupport
import Foundation
import InMemoryLogging
import Logging
import Synchronization
import Testing

/// The fault list: what was broken, and what the agent did.
@Suite struct FaultTests {
    @Test(arguments: Fault.betweenTwoLives)
    func betweenTwoLives(_ fault: Fault) async throws { try await fault.play(FaultScene()) }

    @Test(arguments: Fault.ofASecondAgent)
    func aSecondAgent(_ fault: Fault) async throws { try await fault.play(FaultScene()) }

    @Test(arguments: Fault.underTheRunningAgent)
    func underTheRunningAgent(_ fault: Fault) async throws { try await fault.play(FaultScene()) }

    @Test(
        .enabled(if: TemporaryMount.isPossible, "only root may mount a file system of its own"),
        arguments: Fault.ofTheDisk)
    func theDisk(_ fault: Fault) async throws { try await fault.play(FaultScene()) }

    @Test(arguments: Fault.ofTheBackend)
    func theBackend(_ fault: Fault) async throws { try await fault.play(FaultScene()) }
}

/// One entry of the list.
struct Fault: Sendable, CustomTestStringConvertible {
    let broken: String
    let agentDid: String
    /// Breaks it, and checks that the agent did so.
    let play: @Sendable (FaultScene) async throws -> Void

    var testDescription: String { "\(broken): the agent \(agentDid)" }

    init(_ broken: String, _ agentDid: String, play: @escaping @Sendable (FaultScene) async throws -> Void) {
        self.broken = broken
        self.agentDid = agentDid
        self.play = play
    }
}

/// A backend with a plugin whose runs leave a line in a file each, and a folder for an agent.
final class FaultScene: Sendable {
    let backend: ScriptedBackend
    let folder: TemporaryFolder
    private let disks = Mutex<[TemporaryMount]>([])

    private static let script = """
        import os
        class Plugin:
            def add(self, file):
                with open(file, "a") as lines: lines.write("ran\\n")
                return "added"
            def read(self, file):
                for name in os.listdir(file):
                    with open(os.path.join(file, name), "rb") as opened: opened.read()
                return "read"
        """

    init() throws {
        backend = try ScriptedBackend()
        backend.addPlugin("adder", script: Self.script, functions: ["add", "read"])
        folder = try TemporaryFolder()
    }

    var state: String { folder.path("state") }

    /// Keeps a file system mounted for as long as the scene.
    func keep(_ disk: TemporaryMount) { disks.withLock { $0.append(disk) } }

    func addTask(_ id: String, command: String = "adder.add", file: String? = nil) {
        let arguments = JSONValue.object(["file": .string(file ?? folder.path(id))]).text
        backend.addTask(#"{"id": "\#(id)", "command": "\#(command)", "cron": null, "arguments": \#(arguments)}"#)
    }

    /// How often the task of an id ran.
    func runs(of id: String) -> Int {
        (try? String(contentsOfFile: folder.path(id), encoding: .utf8))?.split(separator: "\n").count ?? 0
    }

    func data(of id: String) throws -> [String?] { try backend.results(of: id).map(\.data) }

    /// A whole life of an agent.
    @discardableResult
    func live() async throws -> AgentRuntime.OnceReport {
        try await TestAgent.once(serverURL: backend.server.url, folder: folder).report
    }

    func start(_ settings: [String: String] = [:]) async throws -> TestAgent {
        try await TestAgent.start(serverURL: backend.server.url, folder: folder, settings: settings)
    }

    /// Does something while an agent runs what it is given, then closes the agent.
    func whileRunning(_ agent: TestAgent, _ body: () async throws -> Void) async throws {
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await agent.runtime.dispatcher.run() }
                try await body()
                group.cancelAll()
            }
        } catch {
            await agent.runtime.close()
            throw error
        }
        await agent.runtime.close()
    }

    func synchronize(_ agent: TestAgent) async {
        await agent.runtime.synchronizer.synchronize()
        await agent.runtime.dispatcher.idle()
    }

    /// An agent as a process, until it ends.
    func process(
        state: String? = nil, body: (pid_t) async throws -> Void = { _ in }
    ) async throws -> AgentProcess.Output {
        let settings = [
            "server_url=\(backend.server.url)", "auth=no", "plugin_directory=\(folder.path("plugins"))",
            "state_directory=\(state ?? self.state)", "poll_interval=1",
        ]
        return try await AgentProcess.run(["run"] + settings.flatMap { ["--set", $0] }, body: body)
    }
}

// MARK: Between two lives

extension Fault {
    static let betweenTwoLives = [
        damage("the journal is cut to half") { path in
            let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? 0
            truncate(path, size / 2)
        },
        damage("the journal is emptied") { truncate($0, 0) },
        damage("the journal is overwritten with garbage") { path in
            try Data((0..<50_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }).write(to: URL(filePath: path))
        },
        damage("the journal's header is overwritten") { path in
            let file = try FileHandle(forUpdating: URL(filePath: path))
            try file.write(contentsOf: Data(repeating: 0x41, count: 100))
            try file.close()
        },
        refusal("the state directory is a file", code: "journal.io") { scene in
            try Data().write(to: URL(filePath: scene.state))
        },
    ]

    private static func damage(_ broken: String, change: @escaping @Sendable (_ journal: String) throws -> Void)
        -> Fault
    {
        Fault(
            broken,
            "set it aside by name, said of what it may have forgotten that it may have run, and ran that no second time"
        ) { scene in
            scene.addTask("ran")
            try await scene.live()
            let journal = scene.state + "/journal.sqlite"
            try change(journal)
            let damaged = try Data(contentsOf: URL(filePath: journal))

            let agent = try await TestAgent.start(
                serverURL: scene.backend.server.url, folder: scene.folder, missedRuns: .once)
            let report = try await agent.runtime.runOnce()
            await agent.runtime.close()
            #expect(report.isGood)
            let entry = try #require(agent.log.entries.first { $0.metadata["code"] == "journal.corrupt" })
            #expect(entry.level == .critical)
            let setAside = try #require(entry.metadata["set_aside"].map { "\($0)" })
            #expect(try Data(contentsOf: URL(filePath: setAside)) == damaged, "it is kept as it was found")
            #expect(scene.runs(of: "ran") == 1)
            #expect(try scene.data(of: "ran").first == "added")
            // The backend lists it still: it is remembered, or reported as one that may have run.
            let later = try scene.backend.results(of: "ran").dropFirst()
            #expect(later.count <= 1)
            #expect(later.allSatisfy { $0.status == .interrupted && $0.error?.code == "run.may_have_run" })
            #expect(agent.loggedCodes.contains("run.may_have_run"))

            // What comes after that runs.
            scene.addTask("next")
            #expect(try await scene.live().isGood)
            #expect(try scene.data(of: "next") == ["added"])
            #expect(scene.runs(of: "ran") == 1)
        }
    }

    /// A state directory that no agent can work on.
    fileprivate static func refusal(
        _ broken: String, code: String, prepare: @escaping @Sendable (FaultScene) throws -> Void
    ) -> Fault {
        Fault(broken, "refused to start with \(code), and asked the backend for nothing it could not remember") {
            scene in
            try prepare(scene)
            let output = try await scene.process()
            #expect(output.status == 1)
            #expect(output.stderr.contains(code), "\(output.stderr)")
            #expect(output.stderr.contains(scene.state), "\(output.stderr)")
            #expect(scene.backend.server.requests.isEmpty)
        }
    }
}

// MARK: A second agent

extension Fault {
    static let ofASecondAgent = [
        secondAgent("a second agent is started on the state directory", namesTheFirst: true) { _, _ in },
        secondAgent("a plugin has opened and closed every file of the state directory", namesTheFirst: true) {
            scene, agent in
            scene.addTask("reading", command: "adder.read", file: scene.state)
            await scene.synchronize(agent)
            await agent.runtime.reporter.deliverDue()
            let read = try scene.data(of: "reading")
            #expect(read == ["read"])
        },
        secondAgent("state/lock is deleted", namesTheFirst: false) { scene, _ in
            try FileManager.default.removeItem(atPath: scene.state + "/lock")
        },
    ]

    private static func secondAgent(
        _ broken: String, namesTheFirst: Bool,
        prepare: @escaping @Sendable (FaultScene, TestAgent) async throws -> Void
    ) -> Fault {
        Fault(broken, "that came second was refused and reported nothing, and the first one went on") { scene in
            let first = try await scene.start()
            try await scene.whileRunning(first) {
                try await prepare(scene, first)
                let asked = scene.backend.server.requests.count
                let output = try await scene.process()
                #expect(output.status == 1)
                #expect(output.stderr.contains("journal.locked"), "\(output.stderr)")
                #expect(output.stderr.contains("process \(getpid())") == namesTheFirst, "\(output.stderr)")
                #expect(scene.backend.server.requests.count == asked)
                scene.addTask("after")
                await scene.synchronize(first)
                await first.runtime.reporter.deliverDue()
            }
            #expect(try scene.data(of: "after") == ["added"])
        }
    }
}

// MARK: Under the running agent

extension Fault {
    static let underTheRunningAgent = [
        Fault("the state directory is deleted", "started nothing more and delivered what had run") { scene in
            let agent = try await scene.start()
            try await scene.whileRunning(agent) {
                scene.addTask("before")
                await scene.synchronize(agent)
                try FileManager.default.removeItem(atPath: scene.state)
                scene.addTask("after")
                await agent.runtime.synchronizer.synchronize()
                await agent.waitForCode("journal.removed")
                await agent.runtime.reporter.deliverDue()
            }
            #expect(scene.runs(of: "after") == 0, "no run begins that would be forgotten")
            #expect(try scene.data(of: "before") == ["added"])
            #expect(try scene.data(of: "after").isEmpty)

            // A new life of the agent makes a new journal, and what had not begun runs.
            scene.backend.removeTask("before")
            scene.backend.removeTask("good")
            try await scene.live()
            #expect(scene.runs(of: "after") == 1)
            #expect(try scene.data(of: "after") == ["added"])
        },
        Fault(
            "the state directory of a daemon is deleted",
            "delivered what had run, and ended with status 70 for its supervisor to start it again"
        ) { scene in
            scene.addTask("before")
            let output = try await scene.process { process in
                await scene.backend.server.request(to: "/api/agent/task/before")
                try FileManager.default.removeItem(atPath: scene.state)
                scene.addTask("after")
                do {
                    try await eventually("the agent ends") { hasEnded(process) }
                } catch {
                    kill(process, SIGKILL)
                    throw error
                }
            }
            #expect(output.status == 70, "\(output.stderr)")
            #expect(output.stderr.contains("journal.removed"), "\(output.stderr)")
            #expect(scene.runs(of: "before") == 1)
            #expect(scene.runs(of: "after") == 0)
        },
        Fault("the plugin directory is deleted", "made it anew, and ran nothing before it was verified again") {
            scene in
            let agent = try await scene.start()
            try await scene.whileRunning(agent) {
                await agent.runtime.synchronizer.synchronize()
                try FileManager.default.removeItem(atPath: scene.folder.path("plugins"))
                for id in ["during", "after"] {
                    scene.addTask(id)
                    await scene.synchronize(agent)
                    await scene.synchronize(agent)
                    await agent.runtime.reporter.deliverDue()
                }
            }
            // Code whose file is gone is not what was verified: the run waits until it has been fetched again.
            #expect(agent.loggedCodes.contains("plugin.file_changed"))
            #expect(try scene.data(of: "during") == ["added"])
            #expect(scene.runs(of: "during") == 1)
            #expect(try scene.data(of: "after") == ["added"])
            #expect(FileManager.default.fileExists(atPath: scene.folder.path("plugins/adder.py")))
        },
    ]

    /// Whether a child of this process has ended, which somebody else waits for.
    private static func hasEnded(_ process: pid_t) -> Bool {
        var information = siginfo_t()
        // Or it has been waited for already.
        return waitid(P_PID, id_t(process), &information, WEXITED | WNOHANG | WNOWAIT) != 0
            || information.si_signo == SIGCHLD
    }
}

// MARK: The disk

extension Fault {
    static let ofTheDisk = [
        Fault("the disk is full", "held runs back until there was room, and then did them") { scene in
            let disk = try TemporaryMount(kibibytes: 2048)
            let agent = try await scene.start(["state_directory": disk.path + "/state"])
            let filling = try disk.fill()
            try await scene.whileRunning(agent) {
                scene.addTask("one")
                await agent.runtime.synchronizer.synchronize()
                await agent.waitForCode("journal.disk_full")
                #expect(scene.runs(of: "one") == 0, "no run begins that could not be written down")
                try FileManager.default.removeItem(atPath: filling)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await agent.runtime.reporter.run() }
                    // Tried again by itself, after a second at first.
                    try await eventually("both are delivered") {
                        try !scene.data(of: "one").isEmpty && !scene.data(of: "good").isEmpty
                    }
                    group.cancelAll()
                }
            }
            #expect(scene.runs(of: "one") == 1)
            #expect(try scene.data(of: "one") == ["added"])
            #expect(try scene.data(of: "good") == ["hello"])
        },
        refusal("the disk is read-only at the start", code: "journal.read_only") { scene in
            let disk = try TemporaryMount(kibibytes: 64, at: scene.state)
            scene.keep(disk)
            try disk.makeReadOnly()
        },
        Fault(
            "the disk turns read-only under the running agent",
            "started nothing more, delivered what had run, and ran the rest in its next life"
        ) { scene in
            let disk = try await BrittleDisk()
            let state = disk.path + "/state"
            let agent = try await scene.start(["state_directory": state])
            try await scene.whileRunning(agent) {
                scene.addTask("before")
                await scene.synchronize(agent)
                try disk.fail()
                scene.addTask("after")
                await agent.runtime.synchronizer.synchronize()
                await agent.waitForCode("journal.io")
                await agent.runtime.reporter.deliverDue()
            }
            #expect(scene.runs(of: "after") == 0, "no run begins that could not be written down")
            #expect(try scene.data(of: "before") == ["added"], "what ran is delivered")
            #expect(try scene.data(of: "after").isEmpty)

            // What the disk has is what a repaired one has.
            try FileManager.default.copyItem(atPath: state, toPath: scene.state)
            try await scene.live()
            #expect(scene.runs(of: "before") == 1)
            #expect(scene.runs(of: "after") == 1)
            #expect(try scene.data(of: "after") == ["added"])
        },
    ]
}

// MARK: The backend

extension Fault {
    static let ofTheBackend = [
        Fault("the backend is gone for a whole life", "kept all results and delivered them when it was back") { scene in
            for number in 0..<50 { scene.addTask("t\(number)", file: scene.folder.path("lines")) }
            // It answers questions, and no result gets through.
            for number in 0..<50 { scene.backend.server.route("/api/agent/task/t\(number)", .close) }
            var report = try await scene.live()
            // The good task's result may have to wait behind the others: one probe at a time goes to a backend in
            // trouble.
            #expect(50...51 ~= report.undelivered)
            // A life without any backend.
            let before = report.undelivered
            report = try await TestAgent.once(serverURL: "http://127.0.0.1:9", folder: scene.folder).report
            #expect(!report.isSynchronized && report.undelivered == before)

            for number in 0..<50 { scene.backend.server.route("/api/agent/task/t\(number)", .json("{}", status: 201)) }
            // A later day, so that every next attempt is due.
            let agent = try await TestAgent.start(
                serverURL: scene.backend.server.url, folder: scene.folder, clock: ManualClock("2099-01-01T00:00:00Z"),
                missedRuns: .once)
            report = try await agent.runtime.runOnce()
            await agent.runtime.close()
            #expect(report.undelivered == 0)
            #expect(scene.runs(of: "lines") == 50, "nothing ran twice")
        }
    ]
}
