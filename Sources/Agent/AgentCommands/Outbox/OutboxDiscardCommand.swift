import Agent
import AgentModel
import ArgumentParser
import RunJournal

struct OutboxDiscardCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "discard", abstract: "Discard results instead of delivering them.",
        discussion: """
            The backend never gets these results. The runs stay in the history as "discarded". There is no
            confirmation. A running agent notices; a result that it is sending at that moment may still arrive.

            --all discards every dead letter. Pending results are discarded by id only.

            EXAMPLE
              runbook-agent outbox discard 6f1e2d3a
            """)

    @Argument(help: ArgumentHelp("Run ids, or the ends of them; \"outbox list\" has them.", valueName: "run id"))
    var runs: [RunArgument] = []

    @Flag(name: .long, help: "All dead letters.")
    var all = false

    @OptionGroup var configurationOptions: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    mutating func validate() throws {
        guard all != !runs.isEmpty else { throw ValidationError("give either ids of runs (run id) or --all") }
    }

    func run() async throws {
        try await OutboxChange(configurationOptions, output).perform { journal in
            let chosen =
                all
                ? try await journal.reader.outbox(.deadLetter, limit: .max).map(\.runID)
                : try await RunArgument.resolve(runs, in: journal.reader)
            _ = try await OutboxChange.states(of: chosen, in: journal)
            try await journal.discard(chosen)
            let states = try await journal.reader.deliveryStates(of: chosen)
            return chosen.map { id in
                if case .delivered? = states[id] { return OutboxChange.Row(run: id, change: .deliveredMeanwhile) }
                return OutboxChange.Row(run: id, change: .discarded)
            }
        }
    }
}
