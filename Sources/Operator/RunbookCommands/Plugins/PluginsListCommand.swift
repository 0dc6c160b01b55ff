import ArgumentParser
import CommandOutput

struct PluginsListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the published plugins, the oldest first.",
        discussion: """
            EXAMPLE
              runbook plugins list
            """)

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try output.renderer.print(try await connection.connect().all("plugins", as: Document<PluginRow>.self))
    }
}
