import AgentModel
import ArgumentParser
import CommandOutput
import Diagnostics
import Foundation

struct LogsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs", abstract: "Show what a run printed, and its result.",
        discussion: """
            RUN is the id of a run or of a task, whose last run is shown. With --follow it is shown while it comes.

            EXIT CODES
              0 the run succeeded, 1 it failed, 3 it has no result

            EXAMPLE
              runbook logs 01JD3ZKQ --follow
            """)

    @Argument(help: "The id of a run or a task.")
    var run: String

    @Flag(name: .long, help: "Go on until the run ends.")
    var follow = false

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let client = try connection.connect()
        let printer = OutputPrinter(isSilent: output.json)
        if let found = try await storedRun(client) {
            if output.json { return print(try ListRenderer.json(found.raw)) }
            let run = found.content
            for (stream, text) in [(OutputChunk.Stream.stdout, run.stdout), (.stderr, run.stderr)] {
                if let text, !text.isEmpty {
                    printer.show(OutputChunk(stream: stream, offset: 0, bytes: Data(text.utf8)))
                }
            }
            printer.showEnd(of: run)
            if !run.isSucceeded { throw ExitCode.failure }
            return
        }
        let task = try await taskID(client)
        let ended = try await RunFollower(client: client, taskID: task).follow(
            atMost: follow ? .seconds(86_400) : .zero
        ) { printer.show($0) }
        guard let run = ended.run else {
            Screen.writeError(
                ended.state == "running" ? "the run is under way" : "the host hasn't begun the run")
            throw ExitCode.noResult
        }
        if output.json { print(try ListRenderer.json(ended.rawRun ?? .null)) } else { printer.showEnd(of: run) }
        if !run.isSucceeded { throw ExitCode.failure }
    }

    /// By the backend's id of it, or the agent's.
    private func storedRun(_ client: AdministrationClient) async throws -> Document<RunRow>? {
        do {
            return try client.value(try await client.get("runs/\(AdministrationClient.segment(run))"))
        } catch ClientError.refused("run.not_found", _) {
            let runs = try await client.all("runs", ["run_id": run], atMost: 1, as: RunRow.self)
            guard let found = runs.first else { return nil }
            return try client.value(try await client.get("runs/\(AdministrationClient.segment(found.id))"))
        }
    }

    private func taskID(_ client: AdministrationClient) async throws -> String {
        let running: [RunningRow] = try client.value(try await client.get("running"))
        return running.first { $0.runID == run }?.taskID ?? run
    }
}
