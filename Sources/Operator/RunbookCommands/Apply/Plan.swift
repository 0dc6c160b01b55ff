import AgentModel
import Cryptography
import Foundation

/// What has to be done so that the backend has what a manifest says. A value: made of both, without a request.
///
/// What it makes is called `managed.KEY…`, and nothing else is touched. A plugin's id has a part of the SHA-512 of all that it
/// is, so that a changed plugin is another version, and the same one isn't published twice.
struct Plan: Equatable {
    enum Step: Equatable {
        case publish(id: String, key: String, Manifest.Plugin)
        case assign(plugin: String, agent: AgentRow)
        case create(id: String, agent: AgentRow, Manifest.Task, command: String)
        case update(id: String, changes: [String: JSONValue])
        case deleteTask(id: String)
        case unassign(plugin: String, agent: AgentRow)
        case deletePlugin(id: String)

        /// A line of the diff.
        var line: String {
            switch self {
            case .publish(let id, _, _): "+ plugin \(id)"
            case .assign(let plugin, let agent): "+ plugin \(plugin) on \(agent.displayName)"
            case .create(let id, let agent, let task, let command):
                "+ task \(id) on \(agent.displayName): \(command) \(task.cron.map { "at \($0)" } ?? "once")"
            case .update(let id, let changes):
                "~ task \(id): "
                    + changes.sorted { $0.key < $1.key }.map { "\($0) → \($1.text)" }.joined(separator: ", ")
            case .deleteTask(let id): "- task \(id)"
            case .unassign(let plugin, let agent): "- plugin \(plugin) on \(agent.displayName)"
            case .deletePlugin(let id): "- plugin \(id)"
            }
        }
    }

    /// What the backend has.
    struct Present {
        var agents: [AgentRow]
        var plugins: [PluginRow]
        var tasks: [TaskRow]
    }

    /// In the order in which they are taken: a command is there before a task names it, and a version goes when none does.
    var steps: [Step] = []

    private static let prefix = "managed."

    /// - Parameter prunes: Whether what is managed and not in the manifest any more goes.
    /// - Throws: `ClientError` for a host that isn't there.
    init(_ manifest: Manifest, present: Present, prunes: Bool) throws(ClientError) {
        let ids = manifest.plugins.mapValues(Self.version)
        var wanted: Set<String> = []
        var assigned: [String: Set<String>] = [:]
        var goes: [Step] = []
        for (key, plugin) in manifest.plugins.sorted(by: { $0.key < $1.key }) {
            let id = Self.prefix + key + "." + (ids[key] ?? "")
            wanted.insert(id)
            if !present.plugins.contains(where: { $0.id == id }) { steps.append(.publish(id: id, key: key, plugin)) }
            for agent in try plugin.on?.chosen(among: present.agents) ?? [] {
                assigned[agent.id, default: []].insert(id)
                if !agent.plugins.contains(id) { steps.append(.assign(plugin: id, agent: agent)) }
            }
        }
        let keys = Set(manifest.plugins.keys)
        for agent in present.agents {
            for id in agent.plugins where id.hasPrefix(Self.prefix) && assigned[agent.id]?.contains(id) != true {
                // Another version of what is in the manifest goes also without being asked for.
                if prunes || keys.contains(Self.key(of: id)) { goes.append(.unassign(plugin: id, agent: agent)) }
            }
        }
        try addTasks(manifest, present, ids, prunes)
        steps += goes
        for plugin in present.plugins where plugin.id.hasPrefix(Self.prefix) && !wanted.contains(plugin.id) {
            if prunes { steps.append(.deletePlugin(id: plugin.id)) }
        }
    }

    private mutating func addTasks(
        _ manifest: Manifest, _ present: Present, _ ids: [String: String], _ prunes: Bool
    ) throws(ClientError) {
        let known = Dictionary(present.tasks.map { ($0.id, $0) }) { first, _ in first }
        var wanted: Set<String> = []
        for (key, task) in manifest.tasks.sorted(by: { $0.key < $1.key }) {
            var command = task.command
            if let dot = command.firstIndex(of: "."), let version = ids[String(command[..<dot])] {
                let plugin = String(command[..<dot])
                let name = String(command[command.index(after: dot)...])
                guard manifest.plugins[plugin]?.commands[name] != nil else {
                    throw .invalidFile(
                        path: "tasks.\(key)", problem: "the plugin \"\(plugin)\" has no command \"\(name)\"")
                }
                command = Self.prefix + command[..<dot] + "." + version + command[dot...]
            }
            for agent in try task.on.chosen(among: present.agents) {
                let id = Self.prefix + key + "." + agent.id
                wanted.insert(id)
                guard let old = known[id] else {
                    steps.append(.create(id: id, agent: agent, task, command: command))
                    continue
                }
                let changes = Self.changes(of: old, to: task, command)
                if !changes.isEmpty { steps.append(.update(id: id, changes: changes)) }
            }
        }
        guard prunes else { return }
        for task in present.tasks where task.id.hasPrefix(Self.prefix) && !wanted.contains(task.id) {
            steps.append(.deleteTask(id: task.id))
        }
    }

    private static func changes(
        of old: TaskRow, to task: Manifest.Task, _ command: String
    ) -> [String: JSONValue] {
        var changes: [String: JSONValue] = [:]
        if old.command != command { changes["command"] = .string(command) }
        if old.cron != task.cron { changes["cron"] = task.cron.map { .string($0) } ?? .null }
        let arguments = task.arguments ?? [:]
        let oldArguments = old.arguments.flatMap { try? JSONValue(parsing: Data($0.utf8)) } ?? [:]
        if oldArguments != arguments { changes["arguments"] = .string(arguments.text) }
        if old.isEnabled != (task.enabled ?? true) { changes["enabled"] = .bool(task.enabled ?? true) }
        return changes
    }

    /// `disk` of `managed.disk.0123456789ab`.
    private static func key(of id: String) -> String {
        String(id.dropFirst(prefix.count).prefix { $0 != "." })
    }

    /// What tells a version from every other.
    private static func version(of plugin: Manifest.Plugin) -> String {
        let fields: JSONValue = [
            "name": plugin.name.map { .string($0) } ?? .null,
            "version": plugin.version.map { .string($0.description) } ?? .null,
            "description": plugin.description.map { .string($0) } ?? .null,
            "commands": .object(plugin.commands.mapValues { .string($0) }), "script": .string(plugin.source),
        ]
        return String(SHA512.hash(Data(fields.text.utf8)).hex.prefix(12))
    }
}
