import AgentModel
import ArgumentParser
import Diagnostics

struct ApplyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply", abstract: "Make the backend have the plugins and tasks of a folder's files.",
        discussion: """
            The folder's .yaml and .json files have "plugins" and "tasks", each under a key of its own:

              plugins:
                disk:
                  script: disk.py
                  commands: {usage: disk_usage}
                  on: {teams: [house]}
              tasks:
                hourly-usage:
                  command: disk.usage
                  cron: "0 * * * *"
                  arguments: {path: /var}
                  on: {hosts: [kitchen]}

            "on" takes hosts, teams, or all: true. What is made is called managed.KEY…, and nothing else is touched. What
            is to change is shown first; applying the same twice changes nothing.

            EXAMPLE
              runbook apply ./fleet --dry-run --prune
            """)

    @Argument(help: "The folder.")
    var folder: String

    @Flag(name: .long, help: "Only show what would change.")
    var dryRun = false

    @Flag(name: .long, help: "Take away what was applied before and is in no file any more.")
    var prune = false

    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
        let manifest = try Manifest.load(from: folder, mayBeEmpty: prune)
        let client = try connection.connect()
        let plan = try Plan(
            manifest,
            present: Plan.Present(
                agents: try await client.all("agents"), plugins: try await client.all("plugins"),
                tasks: try await client.all("tasks")),
            prunes: prune)
        for step in plan.steps { print(step.line.withoutControlCharacters) }
        if plan.steps.isEmpty { print("nothing to change") }
        if dryRun { return }
        for step in plan.steps { try await carryOut(step, client) }
    }

    private func carryOut(_ step: Plan.Step, _ client: AdministrationClient) async throws {
        func segment(_ text: String) -> String { AdministrationClient.segment(text) }
        switch step {
        case .publish(let id, let key, let plugin):
            var body: [String: JSONValue] = [
                "id": .string(id), "name": .string(plugin.name ?? key), "script": .string(plugin.source),
                "commands": .object(plugin.commands.mapValues { .string($0) }),
            ]
            if let version = plugin.version { body["version"] = .string(version.description) }
            if let description = plugin.description { body["description"] = .string(description) }
            try await client.post("plugins", .object(body))
        case .assign(let plugin, let agent):
            try await client.put("agents/\(segment(agent.id))/plugins/\(segment(plugin))")
        case .create(let id, let agent, let task, let command):
            var body: [String: JSONValue] = [
                "id": .string(id), "agent": .string(agent.id), "command": .string(command),
                "arguments": .string((task.arguments ?? [:]).text), "enabled": .bool(task.enabled ?? true),
            ]
            if let cron = task.cron { body["cron"] = .string(cron) }
            try await client.post("tasks", .object(body))
        case .update(let id, let changes): try await client.patch("tasks/\(segment(id))", .object(changes))
        case .deleteTask(let id): try await client.delete("tasks/\(segment(id))")
        case .unassign(let plugin, let agent):
            try await client.delete("agents/\(segment(agent.id))/plugins/\(segment(plugin))")
        case .deletePlugin(let id): try await client.delete("plugins/\(segment(id))")
        }
    }
}
