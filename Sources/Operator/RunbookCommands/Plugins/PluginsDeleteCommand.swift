import ArgumentParser

struct PluginsDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Delete a plugin that no host has.",
        discussion: """
            EXAMPLE
              runbook plugins delete 9ab56426-f429-4c4b-9755-40c92449f0be
            """)

    @Argument(help: "The plugin's id.")
    var plugin: String

    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
        try await connection.connect().delete("plugins/\(AdministrationClient.segment(plugin))")
    }
}
