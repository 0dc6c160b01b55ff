import AgentModel
import AgentTestSupport
import Cryptography
import Foundation
import Synchronization

/// A backend of part 1 of the contract that can be made to answer anything: nothing of part 2, no checks.
final class ScriptedBackend: Sendable {
    static let goodPlugin = "good-plugin"

    let server: ScriptedServer
    private let tasks = Mutex<[String]>([])
    private let plugins = Mutex<[String]>([])

    /// Has one good plugin, `good-plugin`, whose command `good-plugin.hello` returns "hello", and a one-off task
    /// `good` for it: what goes on beside whatever else is wrong.
    init() throws {
        server = try ScriptedServer()
        addPlugin(Self.goodPlugin, script: "class Plugin:\n    def hello(self): return 'hello'\n", functions: ["hello"])
        addTask(#"{"id": "good", "command": "good-plugin.hello", "cron": null, "arguments": "{}"}"#)
    }

    /// Takes a task off the list.
    func removeTask(_ id: String) {
        let left = tasks.withLock { tasks in
            tasks.removeAll { $0.contains(#""id": "\#(id)""#) }
            return tasks
        }
        server.route("/api/agent/tasks", .json(#"{"data": [\#(left.joined(separator: ", "))]}"#))
    }

    /// Adds an entry to the agent's `plugins`, as JSON.
    func listPlugin(_ json: String) {
        let all = plugins.withLock { plugins in
            plugins.append(json)
            return plugins
        }
        server.route(
            "/api/agent",
            .json(#"{"data": {"id": "a", "name": "A", "team_id": "t", "plugins": [\#(all.joined(separator: ", "))]}}"#))
    }

    /// Adds an entry to the task list, as JSON.
    func addTask(_ json: String) {
        let all = tasks.withLock { tasks in
            tasks.append(json)
            return tasks
        }
        server.route("/api/agent/tasks", .json(#"{"data": [\#(all.joined(separator: ", "))]}"#))
        struct Identified: Decodable { var id: String }
        guard let task = try? JSONDecoder().decode(Identified.self, from: Data(json.utf8)) else { return }
        server.route("/api/agent/task/\(task.id)", .json("{}", status: 201))
    }

    /// Lists a plugin and serves its document, with anything of it changed.
    func addPlugin(
        _ id: String, script: String, functions: [String], change: (inout [String: JSONValue]) -> Void = { _ in }
    ) {
        listPlugin(JSONValue.string(id).text)
        var document: [String: JSONValue] = [
            "id": .string(id), "name": "A plugin", "version": 0, "description": nil, "script": .string(script),
            "hash": .string(SHA512.hash(script.utf8).hex),
            "commands": .object(
                Dictionary(
                    uniqueKeysWithValues: functions.map { function in
                        let name = "\(id).\(function)"
                        return (name, ["id": "x", "name": .string(name), "function": .string(function)])
                    })),
        ]
        change(&document)
        serve(plugin: id, JSONValue.object(["data": .object(document)]).text)
    }

    func serve(plugin id: String, _ json: String) {
        server.route("/api/agent/plugin/\(id)", .json(json))
    }

    /// The results that came in for a task, in order.
    func results(of taskID: String) throws -> [TaskResult] {
        try server.requests
            .filter { $0.method == "POST" && $0.target == "/api/agent/task/\(taskID)" }
            .map { try JSONDecoder().decode(TaskResult.self, from: $0.body) }
    }
}
