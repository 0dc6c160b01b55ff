import Agent
import AgentModel
import ArgumentParser
import CommandOutput
import RunJournal

struct PluginReleaseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "release", abstract: "Release a plugin from quarantine.",
        discussion: """
            A plugin whose code ended the agent's process three times in a row is in quarantine: it is not loaded, and
            its tasks are rejected. Correct it first; a corrected script runs without a release. A running agent
            notices at its next synchronization.

            EXAMPLE
              runbook-agent plugin release 9ab56426-f429-4c4b-9755-40c92449f0be
            """)

    @OptionGroup var plugin: PluginIDArgument
    @OptionGroup var configurationOptions: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let id = try plugin.parsed()
        let configuration = try configurationOptions.load()
        let journal = try await RunJournal.openShared(directory: configuration.stateDirectory)
        let isReleased = try await journal.release(plugin: id.rawValue)
        await journal.close()
        if output.json {
            print(try ListRenderer.json(View(plugin: id.rawValue, released: isReleased)))
        } else {
            print(isReleased ? "released \(id)" : "\(id) has taken no agent down; there is nothing to release")
        }
    }

    private struct View: Encodable {
        let plugin: String
        /// False where there was nothing to release.
        let released: Bool
    }
}
