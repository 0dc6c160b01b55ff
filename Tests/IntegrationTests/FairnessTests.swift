import Agent
import AgentModel
import AgentTestSupport
import Foundation
import Testing

/// Whose turn it is.
@Suite struct FairnessTests {
    /// A queue of short calls, of which many are written down ahead, is no reason for another plugin to wait for its end.
    @Test(arguments: [1, 2])
    func aBacklogOfShortCallsLeavesTheOthersTheirTurns(_ workers: Int) async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        let file = folder.path("order")
        let script = """
            class Plugin:
                def note(self, file, name):
                    with open(file, "a") as lines: lines.write(name + "\\n")
            """
        let count = 1000
        for plugin in ["p0", "p1", "late"] { backend.addPlugin(plugin, script: script, functions: ["note"]) }
        var tasks: [String] = []
        func add(_ id: String, _ plugin: String) {
            let arguments = JSONValue.string(
                JSONValue.object(["file": .string(file), "name": .string(plugin)]).text
            ).text
            tasks.append(#"{"id": "\#(id)", "command": "\#(plugin).note", "cron": null, "arguments": \#(arguments)}"#)
        }
        for number in 0..<count { for plugin in ["p0", "p1"] { add("\(plugin)-\(number)", plugin) } }
        add("late", "late")
        backend.server.route("/api/agent/tasks", .json(#"{"data": [\#(tasks.joined(separator: ", "))]}"#))
        backend.server.routeTheRest { _ in .json("{}", status: 201) }
        let report = try await TestAgent.once(
            serverURL: backend.server.url, folder: folder, settings: ["workers": "\(workers)"]
        ).report
        #expect(report.isGood)
        let order = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n")
        #expect(order.count == 2 * count + 1)
        // It is listed last, so that the others had their turns before it. More than half of their runs were to come.
        let place = try #require(order.firstIndex(of: "late"))
        #expect(place < count)
    }
}
