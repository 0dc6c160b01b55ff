import Agent
import AgentModel
import ArgumentParser
import RunJournal

struct OutboxRetryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retry", abstract: "Retry dead letters.",
        discussion: """
            Makes them pending, due at once and ahead of other results of their tasks. A running agent notices within
            5 seconds; otherwise they are sent when an agent runs. Results that are already pending are left alone.

            EXAMPLE
              runbook-agent outbox retry --all
            """)

    @Argument(help: ArgumentHelp("Run ids, or the ends of them; \"outbox list\" has them.", valueName: "run id"))
    var runs: [RunArgument] = []

    @Flag(name: .long, help: "All dead letters.")
    var all = false

    @OptionGroup var configurationOptions: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    mutating func validate() throws {
        guard all != !runs.isEmpty else { throw ValidationError("give either ids of runs or --all") }
    }

    func run() async throws {
        try await OutboxChange(configurationOptions, output).perform { journal in
            let chosen =
                all
                ? try await journal.reader.outbox(.deadLetter, limit: .max).map(\.runID)
                : try await RunArgument.resolve(runs, in: journal.reader)
            let states = try await OutboxChange.states(of: chosen, in: journal)
            let dead = chosen.filter { if case .deadLetter? = states[$0] { true } else { false } }
            try await journal.retryDeadLetters(dead)
            return chosen.map { id in
                OutboxChange.Row(run: id, change: dead.contains(id) ? .retried : .alreadyPending)
            }
        }
    }
}
