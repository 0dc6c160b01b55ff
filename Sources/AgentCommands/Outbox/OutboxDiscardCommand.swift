import Agent
import AgentModel
import ArgumentParser
import RunJournal

struct OutboxDiscardCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "discard", abstract: "Take results out of the outbox without delivering them.",
        discussion: """
            For good: the backend never gets them. The runs stay in the history, as "discarded". Nothing is asked
            before. A running agent notices; what it is sending at that moment may still arrive.

            EXAMPLE
              runbook-agent outbox discard 019ab1c2-7d3e-7f00-8a52-0c4b6f1e2d3a
            """)

    @Argument(help: ArgumentHelp("Ids of runs; \"outbox list\" has them.", valueName: "run id"))
    var runs: [RunArgument]

    @OptionGroup var configurationOptions: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    mutating func validate() throws {
        guard !runs.isEmpty else { throw ValidationError("give the ids of runs") }
    }

    func run() async throws {
        try await OutboxChange(configurationOptions, output).perform { journal in
            let chosen = OutboxChange.unique(runs)
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
