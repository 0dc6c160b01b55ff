import ArgumentParser

struct PluginsAssignCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "assign", abstract: "Have a host load a plugin.",
        discussion: """
            EXAMPLE
              runbook plugins assign 9ab56426-f429-4c4b-9755-40c92449f0be kitchen
            """)

    @OptionGroup var assignment: AssignmentArguments

    func run() async throws {
        try await assignment.forEach { client, path in try await client.put(path) }
    }
}
