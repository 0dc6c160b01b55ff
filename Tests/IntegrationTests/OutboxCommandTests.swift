import AgentModel
import AgentTestSupport
import Foundation
import Testing

/// `history` and `outbox` over what a real agent left, and beside it.
@Suite struct OutboxCommandTests {
    private static let loud = """
        class Plugin:
            def fail(self):
                print("\\x1b[31mred")
                raise ValueError("no \\x1b[1mgood")
        """
    private static let unknown = "019ab1c2-7d3e-7f00-8a52-0c4b6f1e2d3a"

    private let folder: TemporaryFolder
    private let backend: ScriptedBackend

    init() throws {
        folder = try TemporaryFolder()
        backend = try ScriptedBackend()
        try """
        [agent]
        server_url = \(backend.server.url)
        auth = False
        poll_interval = 86400
        """.write(toFile: folder.path("config.ini"), atomically: true, encoding: .utf8)
    }

    private func refuse(_ taskID: String) {
        backend.server.route("/api/agent/task/\(taskID)", .json(#"{"message": "never"}"#, status: 422))
    }

    private func accept(_ taskID: String) {
        backend.server.route("/api/agent/task/\(taskID)", .json("{}", status: 201))
    }

    private func run(_ arguments: String...) async throws -> AgentProcess.Output {
        try await AgentProcess.run(arguments, directory: folder.path)
    }

    /// The ids of runs in the outbox.
    private func outbox() async throws -> [String] {
        try await run("outbox", "list", "--json").jsonLines().compactMap { $0["run_id"] as? String }
    }

    @Test func aDeadLetterIsSentAgainByTheRunningAgentWhenAPersonAsks() async throws {
        refuse("good")
        let daemon = try await AgentProcess.run(["run"], directory: folder.path) { process in
            defer { kill(process, SIGTERM) }
            let dead = try await poll(["outbox", "list", "--state", "dead-letter"], in: folder.path) { $0.count == 1 }
            #expect((dead[0]["reason"] as? String)?.contains("422") == true)
            accept("good")
            let retry = try await run("outbox", "retry", "--all", "--json")
            #expect(retry.status == 0, "\(retry.stderr)")
            #expect(try retry.jsonLines().map { $0["change"] as? String } == ["retried"])
            #expect(retry.stderr.contains("process \(process)") && retry.stderr.contains("notices"))
            try await poll(["outbox", "list"], in: folder.path) { $0.isEmpty }
        }
        #expect(daemon.status == 0, "\(daemon.stderr)")
        let sent = backend.server.requests.filter { $0.target == "/api/agent/task/good" }
        #expect(sent.count == 2)
        #expect(Set(sent.map { $0.header("Idempotency-Key") }).count == 1)
        let history = try await run("history", "--task", "good", "--json").jsonLines()
        #expect(history.map { $0.at("delivery.state") as? String } == ["delivered"])
    }

    @Test func withoutAnAgentTheNextOneSendsWhatWasRetriedAndNotWhatWasDiscarded() async throws {
        backend.addTask(#"{"id": "other", "command": "good-plugin.hello", "cron": null, "arguments": "{}"}"#)
        refuse("good")
        refuse("other")
        #expect(try await run("run", "--once").status == 1)
        let status = try await run("status", "--json").jsonLines()
        #expect(status.first?.at("outbox.dead_letters") as? Int == 2)

        let rows = try await run("outbox", "list", "--json").jsonLines()
        #expect(rows.map { $0["state"] as? String } == ["dead-letter", "dead-letter"])
        let ids = Dictionary(
            uniqueKeysWithValues: rows.map { ($0["task_id"] as? String ?? "", $0["run_id"] as? String ?? "") })
        let good = try #require(ids["good"])
        let other = try #require(ids["other"])

        let discarded = try await run("outbox", "discard", other)
        #expect(discarded.status == 0)
        #expect(discarded.stdout.contains(other.suffix(8)) && discarded.stdout.contains("discarded"))
        #expect(discarded.stderr.contains("no agent is running"))
        let again = try await run("outbox", "discard", other)
        #expect(again.status == 1)
        #expect(again.stderr.contains("journal.not_in_outbox") && again.stderr.contains("was discarded at"))

        // All or nothing.
        let mixed = try await run("outbox", "retry", good, Self.unknown)
        #expect(mixed.status == 1)
        #expect(mixed.stderr.contains("journal.unknown_run") && mixed.stderr.contains(Self.unknown))
        #expect(
            try await run("outbox", "list", "--json").jsonLines().map { $0["state"] as? String } == ["dead-letter"])

        #expect(try await run("outbox", "retry", good.uppercased()).status == 0)
        let pending = try await run("outbox", "retry", good, "--json")
        #expect(try pending.jsonLines().map { $0["change"] as? String } == ["already-pending"])
        accept("good")
        accept("other")
        #expect(try await run("run", "--once").status == 0)
        #expect(try await outbox().isEmpty)
        #expect(try backend.results(of: "good").count == 2)
        #expect(try backend.results(of: "other").count == 1)
        let none = try await run("outbox", "retry", "--all")
        #expect(none.status == 0 && none.stderr.contains("no dead letters"))
    }

    @Test func historyIsFilteredAndShownWhole() async throws {
        backend.addPlugin("loud", script: Self.loud, functions: ["fail"])
        backend.addTask(#"{"id": "bad", "command": "loud.fail", "cron": null, "arguments": "{}"}"#)
        backend.addTask(#"{"id": "unknown", "command": "nobody.knows", "cron": null, "arguments": "{}"}"#)
        #expect(try await run("run", "--once").status == 1)

        #expect(try await run("history", "--json").jsonLines().count == 3)
        #expect(try await run("history", "--limit", "2", "--json").jsonLines().count == 2)
        #expect(try await run("history", "--status", "running", "--json").jsonLines().isEmpty)
        let failed = try await run("history", "--status", "failed", "--json").jsonLines()
        #expect(failed.map { $0["task_id"] as? String } == ["bad"])
        #expect(failed.map { $0["code"] as? String } == ["plugin.exception"])
        let table = try await run("history")
        #expect(table.stdout.hasPrefix("RUN") && table.stdout.contains("rejected"))
        #expect(!table.stdout.contains("\u{1B}"))

        let id = try #require(failed.first?["run_id"] as? String)
        let shown = try await run("history", "show", id)
        #expect(shown.status == 0, "\(shown.stderr)")
        #expect(shown.stdout.contains("line 4, in fail") && shown.stdout.contains("red"))
        #expect(!shown.stdout.contains("\u{1B}"))
        let json = try await run("history", "show", id, "--json").jsonLines()
        #expect(json.first?["stdout"] as? String == "\u{1B}[31mred\n")
        #expect((json.first?.at("error.traceback") as? String)?.contains("in fail") == true)
        #expect(json.first?.at("delivery.state") as? String == "delivered")

        // Lists fit 100 columns and name runs by the end of their ids, which every command takes.
        #expect(table.stdout.split(separator: "\n").allSatisfy { $0.count <= 100 }, "\(table.stdout)")
        #expect(table.stdout.contains(id.suffix(8)) && !table.stdout.contains(id))
        #expect(try await run("history", "show", String(id.suffix(8))).stdout == shown.stdout)
        #expect(shown.stdout.contains("ValueError: no") && shown.stdout.contains("(line 4, in fail)"))
        let everything = try await run("history", "--json").jsonLines().compactMap { $0["run_id"] as? String }
        #expect(everything.count == 3)
        #expect(try await run("history", "show", "abc").status == 2, "four characters are the least")

        let missing = try await run("history", "show", Self.unknown)
        #expect(missing.status == 1 && missing.stderr.contains("journal.unknown_run"))
    }

    @Test func allDeadLettersAreDiscardedAtOnce() async throws {
        backend.addTask(#"{"id": "other", "command": "good-plugin.hello", "cron": null, "arguments": "{}"}"#)
        refuse("good")
        refuse("other")
        #expect(try await run("run", "--once").status == 1)
        let discarded = try await run("outbox", "discard", "--all", "--json")
        #expect(discarded.status == 0, "\(discarded.stderr)")
        #expect(try discarded.jsonLines().map { $0["change"] as? String } == ["discarded", "discarded"])
        #expect(try await outbox().isEmpty)
        #expect(try await run("outbox", "discard", "--all").stderr.contains("no dead letters"))
    }
}
