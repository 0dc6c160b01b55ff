import Agent
import AgentModel
import AgentTestSupport
import Foundation
import Testing

/// Whose turn it is, in a whole agent; `RunQueueTests` has the cases.
@Suite struct FairnessTests {
    private static func gate(_ file: String) -> String {
        """
        import os, time
        class Plugin:
            def hold(self):
                while not os.path.exists(\(JSONValue.string(file).text)): time.sleep(0.005)
        """
    }

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
        let count = 100
        for plugin in ["p0", "p1", "late"] { backend.addPlugin(plugin, script: script, functions: ["note"]) }
        var tasks: [String] = []
        func add(_ id: String, _ plugin: String) {
            let arguments = JSONValue.string(
                JSONValue.object(["file": .string(file), "name": .string(plugin)]).text
            ).text
            tasks.append(#"{"id": "\#(id)", "command": "\#(plugin).note", "cron": null, "arguments": \#(arguments)}"#)
        }
        // As many as there are workers, until everything is queued.
        let gate = folder.path("gate")
        for number in 0..<workers {
            backend.addPlugin("gate\(number)", script: Self.gate(gate), functions: ["hold"])
            tasks.append(#"{"id": "gate\#(number)", "command": "gate\#(number).hold"}"#)
        }
        for number in 0..<count { for plugin in ["p0", "p1"] { add("\(plugin)-\(number)", plugin) } }
        add("late", "late")
        backend.server.routeTheRest { _ in .json("{}", status: 201) }
        let agent = try await TestAgent.start(
            serverURL: backend.server.url, folder: folder, settings: ["workers": "\(workers)"])
        // The plugins first: which of them is loaded before which is another matter.
        backend.server.route("/api/agent/tasks", .json(#"{"data": []}"#))
        #expect(await agent.runtime.synchronizer.synchronize())
        backend.server.route("/api/agent/tasks", .json(#"{"data": [\#(tasks.joined(separator: ", "))]}"#))
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await agent.runtime.dispatcher.run() }
            #expect(await agent.runtime.synchronizer.synchronize())
            #expect(FileManager.default.createFile(atPath: gate, contents: nil))
            await agent.runtime.dispatcher.idle()
            group.cancelAll()
        }
        #expect(await agent.runtime.dispatcher.tally.succeeded == 2 * count + 1 + workers)
        await agent.runtime.close()
        let order = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n")
        #expect(order.count == 2 * count + 1)
        // It is listed last, so that the others had their turns before it. More than half of their runs were to come.
        let place = try #require(order.firstIndex(of: "late"))
        #expect(place < count)
    }
}
