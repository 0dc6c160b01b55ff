import AgentModel
import ArgumentParser
import CommandOutput
import Foundation
import PluginStore

struct PluginShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show one plugin and what it provides.",
        discussion: """
            For a sandboxed plugin it shows what the plugin requests, what it may do as the host is configured now, and
            what was refused.

            EXAMPLE
              runbook-agent plugin show 9ab56426-f429-4c4b-9755-40c92449f0be
            """)

    @OptionGroup var plugin: PluginIDArgument
    @OptionGroup var configurationOptions: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let id = try plugin.parsed()
        let configuration = try configurationOptions.load()
        let plugins = try await StoredPlugins.holding(id, configuration)
        // A plugin that isn't there at all is an error; one that is damaged is shown with what is wrong.
        let document = try plugins.store.document(id)
        let entry = plugins.entry(id)
        let view = View(
            id: id.rawValue, name: document.name, version: document.version, description: document.description,
            hash: document.hash.lowercased(), bytes: document.script.utf8.count, state: entry.state,
            problem: entry.problem, isolation: entry.confinement.isolation, sandbox: entry.confinement.sandbox,
            commands: document.commands.mapValues(\.function))
        if output.json {
            print(try ListRenderer.json(view))
        } else {
            view.printForPeople()
        }
    }

    private struct View: Encodable {
        let id: String
        let name: String
        let version: PluginVersion?
        let description: String?
        let hash: String
        let bytes: Int
        let state: String
        let problem: String?
        let isolation: String
        /// Null where its code runs in the agent's process.
        let sandbox: PluginConfinement.Sandbox?
        let commands: [String: String]

        func printForPeople() {
            let lines = [
                ("id", id), ("name", name), ("version", version?.description ?? ""),
                ("description", description ?? ""), ("sha512", hash), ("size", "\(bytes) bytes"),
                ("isolation", isolation), ("state", problem.map { "\(state): \($0)" } ?? state),
            ]
            for (label, text) in lines where !text.isEmpty {
                print("\(label.padding(toLength: 12, withPad: " ", startingAt: 0)) \(Terminal.sanitized(text))")
            }
            if let sandbox { print(sandbox.text) }
            print("commands")
            for (name, function) in commands.sorted(by: { $0.key < $1.key }) {
                print("  \(Terminal.sanitized(name))  →  \(Terminal.sanitized(function))()")
            }
        }
    }
}
