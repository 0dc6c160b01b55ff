import AgentModel
import AgentTestSupport
import Foundation
import ReferenceBackend
import Testing

/// Arguments that are written as an object arrive in the plugin as those that are written as a text: no digit is lost.
@Suite struct ExactArgumentsTests {
    private static let object = #"{"x":1.0,"big":123456789012345678901234567890,"e":1e5,"n":-0.0,"s":"a\\\"\u00e9"}"#
    private static let shown =
        #"{'x': 1.0, 'big': 123456789012345678901234567890, 'e': 100000.0, 'n': -0.0, 's': 'a\\"é'}"#
    private static let script = "class Plugin:\n    def show(self, **arguments): return repr(arguments)\n"

    @Test func fromAnyBackend() async throws {
        let backend = try ScriptedBackend()
        backend.addPlugin("p", script: Self.script, functions: ["show"])
        for (id, arguments) in [("object", Self.object), ("text", JSONValue.string(Self.object).text)] {
            backend.addTask(#"{"id": "\#(id)", "command": "p.show", "cron": null, "arguments": \#(arguments)}"#)
        }
        try await TestAgent.once(serverURL: backend.server.url, folder: TemporaryFolder())
        #expect(try backend.results(of: "object").map(\.data) == [Self.shown])
        #expect(try backend.results(of: "text").map(\.data) == [Self.shown])
    }

    @Test func fromTheSeedAndTheAdministration() async throws {
        let seed = try TemporaryFolder()
        func write(_ name: String, _ text: String) throws {
            try text.write(toFile: seed.path(name), atomically: true, encoding: .utf8)
        }
        try write("agent.json", #"{"data": {"id": "a", "name": "A", "team_id": null, "plugins": ["p"]}}"#)
        try write(
            "plugin-p.json",
            #"{"data": {"id": "p", "name": "P", "script": "", "hash": "", "commands": {"p.show": {"function": "show"}}}}"#
        )
        try write("plugin-p.py", Self.script)
        try write(
            "tasks.json",
            #"{"data": [{"id": "seeded", "command": "p.show", "cron": null, "arguments": \#(Self.object)}]}"#)
        try await LiveBackend.withLiveBackend(seed: seed.url) { backend in
            // As the administration keeps what was posted as an object; see `AdministrationTasksTests`.
            try await backend.addTask(id: "posted", command: "p.show", arguments: Self.object)
            try await TestAgent.once(serverURL: backend.url, folder: TemporaryFolder())
            for task in ["seeded", "posted"] {
                #expect(try await backend.runs(ofTask: task).map(\.result.data) == [Self.shown], "\(task)")
            }
        }
    }
}
