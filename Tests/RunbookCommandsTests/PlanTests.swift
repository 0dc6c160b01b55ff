import AgentModel
import AgentTestSupport
import Foundation
import Testing

@testable import RunbookCommands

@Suite struct PlanTests {
    private static let yaml = """
        plugins:
          disk:
            script: disk.py
            version: 2
            commands: {usage: disk_usage}
            on: {teams: [house]}
        tasks:
          hourly:
            command: disk.usage
            cron: "0 * * * *"
            arguments: {path: /var}
            on: {hosts: [kitchen]}
        """

    private let kitchen = AgentRow(id: "a1", name: "kitchen", teamID: "house", plugins: [], lastSeenAt: nil)
    private let attic = AgentRow(id: "a2", name: "attic", teamID: nil, plugins: ["other"], lastSeenAt: nil)

    @Test func whatIsMissingIsMade() throws {
        let plan = try plan(Self.yaml, agents: [kitchen, attic])
        guard case .publish(let id, "disk", let plugin) = plan.steps[0] else {
            Issue.record("\(plan.steps)")
            return
        }
        #expect(id.hasPrefix("managed.disk.") && plugin.source == "class Plugin: pass\n")
        #expect(plan.steps[1] == .assign(plugin: id, agent: kitchen))
        guard case .create("managed.hourly.a1", let agent, _, let command) = plan.steps[2] else {
            Issue.record("\(plan.steps)")
            return
        }
        #expect(agent == kitchen && command == "\(id).usage")
        #expect(plan.steps.count == 3)
    }

    @Test func twiceIsOnce() throws {
        let first = try plan(Self.yaml, agents: [kitchen, attic])
        let after = present(after: first, agents: [kitchen, attic])
        #expect(try plan(Self.yaml, after, prunes: true).steps == [])
    }

    /// Its commands have new names: the task is changed before the old version goes.
    @Test func aChangedScriptIsAnotherVersion() throws {
        let first = try plan(Self.yaml, agents: [kitchen, attic])
        let after = present(after: first, agents: [kitchen, attic])
        let steps = try plan(Self.yaml, after, prunes: true, script: "class Plugin: x = 1\n").steps
        let kinds = steps.map { String($0.line.prefix(8)) }
        #expect(kinds == ["+ plugin", "+ plugin", "~ task m", "- plugin", "- plugin"], "\(steps.map(\.line))")
    }

    @Test func onlyWhatIsManagedIsPruned() throws {
        let first = try plan(Self.yaml, agents: [kitchen, attic])
        var after = present(after: first, agents: [kitchen, attic])
        after.tasks.append(
            TaskRow(id: "by-hand", agentID: "a2", command: "other.x", cron: nil, arguments: "{}", isEnabled: true))
        let less = "tasks:\n  other:\n    command: other.x\n    on: {hosts: [attic]}\n"
        let kept = try plan(less, after, prunes: false).steps.map(\.line)
        #expect(kept == ["+ task managed.other.a2 on attic: other.x once"])
        let pruned = try plan(less, after, prunes: true).steps.map { String($0.line.prefix(20)) }
        #expect(pruned.contains("- task managed.hourl") && pruned.contains("- plugin managed.dis"), "\(pruned)")
        #expect(!pruned.contains { $0.contains("by-hand") || $0.contains("other on") })
    }

    @Test func whatChangedOfATaskIsChanged() throws {
        let first = try plan(Self.yaml, agents: [kitchen, attic])
        let after = present(after: first, agents: [kitchen, attic])
        let other = Self.yaml.replacing("/var", with: "/home").replacing("0 * * * *", with: "5 * * * *")
        #expect(
            try plan(other, after, prunes: true).steps == [
                .update(
                    id: "managed.hourly.a1",
                    changes: ["cron": "5 * * * *", "arguments": .string(#"{"path":"/home"}"#)])
            ])
    }

    @Test(arguments: [
        ("plugin: {}", "there is no \"plugin\" here"), ("tasks: [1]", "tasks"),
        ("plugins: {\"a b\": {script: disk.py, commands: {}}}", "is not 1 to 40"),
        ("plugins: {a: {script: gone.py, commands: {}}}", "can't be read"),
        ("plugins: {a: {commands: {}}}", "script"), ("", "it is empty"), ("plugins: {a: [", "line"),
        ("tasks: {t: {command: x.y, cron: \"99 * * * *\", on: {all: true}}}", "the task \"t\""),
    ])
    func aFaultyFileIsNamed(_ yaml: String, _ problem: String) throws {
        let error = #expect(throws: ClientError.self) { try plan(yaml, agents: [kitchen]) }
        #expect(error?.code == "client.invalid_file")
        #expect(error?.message.contains("fleet.yaml") == true || error?.message.contains("gone.py") == true)
        #expect(error?.message.contains(problem) == true, "\(error?.message ?? "")")
    }

    @Test func aCommandThatThePluginDoesNotHaveIsNamed() throws {
        let error = #expect(throws: ClientError.self) {
            try plan(Self.yaml.replacing("disk.usage", with: "disk.used"), agents: [kitchen])
        }
        #expect(error?.message.contains("has no command \"used\"") == true)
    }

    /// All that was applied goes with an empty file, and nothing with none at all.
    @Test func theLastThingCanBePruned() throws {
        let folder = try TemporaryFolder()
        #expect(throws: ClientError.self) { try Manifest.load(from: folder.path, mayBeEmpty: true) }
        try "plugins: {}".write(toFile: folder.path("fleet.yaml"), atomically: true, encoding: .utf8)
        #expect(try Manifest.load(from: folder.path, mayBeEmpty: true) == Manifest())
        #expect(throws: ClientError.self) { try Manifest.load(from: folder.path) }
    }

    @Test func anUnknownHostIsNamedWithThoseThatThereAre() throws {
        let yaml = "tasks: {t: {command: x.y, on: {hosts: [cellar]}}}"
        #expect(throws: ClientError.unknownHost("cellar", known: ["kitchen"])) { try plan(yaml, agents: [kitchen]) }
    }

    // MARK: What they need

    private func plan(
        _ yaml: String, agents: [AgentRow] = [], prunes: Bool = false, script: String = "class Plugin: pass\n"
    ) throws -> Plan {
        try plan(yaml, Plan.Present(agents: agents, plugins: [], tasks: []), prunes: prunes, script: script)
    }

    private func plan(
        _ yaml: String, _ present: Plan.Present, prunes: Bool, script: String = "class Plugin: pass\n"
    ) throws -> Plan {
        let folder = try TemporaryFolder()
        try yaml.write(toFile: folder.path("fleet.yaml"), atomically: true, encoding: .utf8)
        try script.write(toFile: folder.path("disk.py"), atomically: true, encoding: .utf8)
        return try Plan(try Manifest.load(from: folder.path), present: present, prunes: prunes)
    }

    /// What the backend has once a plan was carried out.
    private func present(after plan: Plan, agents: [AgentRow]) -> Plan.Present {
        var present = Plan.Present(agents: agents, plugins: [], tasks: [])
        for step in plan.steps {
            switch step {
            case .publish(let id, let key, let plugin):
                let names = plugin.commands.keys.map { "\(id).\($0)" }
                let text = #"{"id": "\#(id)", "name": "\#(key)", "hash": "", "commands": {"\#(names[0])": {}}}"#
                if let row = try? JSONDecoder().decode(PluginRow.self, from: Data(text.utf8)) {
                    present.plugins.append(row)
                }
            case .assign(let plugin, let agent):
                for index in present.agents.indices where present.agents[index].id == agent.id {
                    present.agents[index].plugins.append(plugin)
                }
            case .create(let id, let agent, let task, let command):
                present.tasks.append(
                    TaskRow(
                        id: id, agentID: agent.id, command: command, cron: task.cron,
                        arguments: (task.arguments ?? [:]).text, isEnabled: true))
            default: Issue.record("\(step)")
            }
        }
        return present
    }
}
