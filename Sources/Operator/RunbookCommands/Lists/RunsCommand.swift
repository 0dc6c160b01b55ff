import AgentModel
import ArgumentParser
import CommandOutput
import Foundation

struct RunsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "runs", abstract: "Look at what was run.",
        discussion: """
            EXAMPLE
              runbook runs list --agent kitchen --status failed
            """,
        subcommands: [List.self, Running.self, Show.self, Delete.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "List runs, the newest first.",
            discussion: """
                EXAMPLE
                  runbook runs list --limit 20
                """)

        @Option(name: .long, help: "Only those of this host.")
        var agent: String?

        @Option(name: .long, help: "Only those of this task.")
        var task: String?

        @Option(name: .long, help: "Only those that ended so, such as failed.")
        var status: String?

        @Option(name: .long, help: "How many at most.")
        var limit = 50

        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: OutputOptions

        func validate() throws {
            guard limit > 0 else { throw ValidationError("--limit is a number above 0") }
        }

        func run() async throws {
            let client = try connection.connect()
            var query: [String: String] = [:]
            if let agent { query["agent"] = try await client.agent(agent).content.id }
            if let task { query["task"] = task }
            if let status { query["status"] = status }
            try output.renderer.print(
                try await client.all("runs", query, atMost: limit, as: Document<RunRow>.self))
        }
    }

    struct Running: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "running", abstract: "List runs that are under way for more than a second, the oldest first.",
            discussion: """
                EXAMPLE
                  runbook runs running
                """)

        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let client = try connection.connect()
            let running: [Document<RunningRow>] = try client.value(try await client.get("running"))
            try output.renderer.print(running)
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show", abstract: "Show a run whole.",
            discussion: """
                EXAMPLE
                  runbook runs show 9ab57c4e-57de-4a3c-9a1b-5f4a30e2c1aa
                """)

        @Argument(help: "The backend's id of the run.")
        var run: String

        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let client = try connection.connect()
            let found: Document<RunRow> = try client.value(
                try await client.get("runs/\(AdministrationClient.segment(run))"))
            if output.json { return print(try ListRenderer.json(found.raw)) }
            let (fields, run) = (Fields(), found.content)
            fields.print("id", run.id)
            fields.print("run", run.runID)
            fields.print("agent", run.agentID)
            fields.print("task", run.taskID)
            fields.print("command", run.command)
            fields.print("status", run.status)
            fields.print("started", run.startedAt)
            fields.print("duration", run.durationMilliseconds.map { String(format: "%.1f ms", $0) })
            fields.print("error", run.error.map { "\($0.sentence) [\($0.code)]" })
            fields.printBlock("traceback", run.error?.traceback)
            fields.printBlock("stdout", run.stdout)
            fields.printBlock("stderr", run.stderr)
            fields.printBlock("result", run.data)
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "delete", abstract: "Delete a run. A one-off task that it was of stays done.",
            discussion: """
                EXAMPLE
                  runbook runs delete 9ab57c4e-57de-4a3c-9a1b-5f4a30e2c1aa
                """)

        @Argument(help: "The backend's id of the run.")
        var run: String

        @OptionGroup var connection: ConnectionOptions

        func run() async throws {
            try await connection.connect().delete("runs/\(AdministrationClient.segment(run))")
        }
    }
}
