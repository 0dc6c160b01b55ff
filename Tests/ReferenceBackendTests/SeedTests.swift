import AgentModel
import AgentTestSupport
import Cryptography
import Foundation
import ReferenceBackend
import Testing

/// The seed folder.
@Suite struct SeedTests {
    private func withService<T>(_ body: (BackendService) async throws -> T) async throws -> T {
        let folder = try TemporaryFolder()
        let service = try await BackendService.open(dataFolder: folder.url)
        let result = try await body(service)
        try await service.close()
        return result
    }

    @Test func theQuickstartIsTheContractsExample() async throws {
        try await withService { service in
            try await service.seed(from: QuickstartSeed.folder)
            let plugin = try await service.plugin(QuickstartSeed.pluginID).document
            #expect(plugin.hash == QuickstartSeed.hash)
            #expect(SHA512.hash(plugin.script.utf8).hex == QuickstartSeed.hash)
            #expect(plugin.commands.count == 2)
            #expect(try await service.agentID(atAddress: "127.0.0.1") == QuickstartSeed.agentID)
            #expect(try await service.agentID(atAddress: "::1") == QuickstartSeed.agentID)
            #expect(try await service.taskDocuments(for: QuickstartSeed.agentID).count == 2)
        }
    }

    @Test func anEditedScriptIsTakenWithItsOwnHashAndRunsStay() async throws {
        try await withService { service in
            let seed = try QuickstartSeed.copy()
            try await service.seed(from: seed.url)
            _ = try await service.store(
                TaskResult(data: "hello"), ofTask: QuickstartSeed.greetTask, from: QuickstartSeed.agentID)

            let script = Data("class Plugin:\r\n    def greet(self):\r\n        return 'new'".utf8)
            try script.write(to: seed.url.appending(path: QuickstartSeed.scriptFile))
            try await service.seed(from: seed.url)
            let plugin = try await service.plugin(QuickstartSeed.pluginID).document
            #expect(Data(plugin.script.utf8) == script)
            #expect(plugin.hash == SHA512.hash(script).hex)
            #expect(try await service.runCount(ofTask: QuickstartSeed.greetTask) == 1)
            // It has its result: seeding doesn't bring it back.
            let tasks = try await service.taskDocuments(for: QuickstartSeed.agentID)
            #expect(tasks.map(\.id) == [QuickstartSeed.squareTask])
        }
    }

    @Test func seedingAgainChangesNothingThatDidntChange() async throws {
        try await withService { service in
            for _ in 0..<3 { try await service.seed(from: QuickstartSeed.folder) }
            #expect(try await service.agents().elements.count == 1)
            #expect(try await service.plugins().elements.count == 1)
            #expect(try await service.tasks().elements.count == 2)
        }
    }

    @Test func whatLeftTheFolderLeavesTheBackendWhatWasMadeByHandStays() async throws {
        try await withService { service in
            let seed = try QuickstartSeed.copy()
            try await service.seed(from: seed.url)
            let plugin = try await service.publish(
                NewPlugin(name: "Mine", script: "class Plugin: pass", functions: ["f": "f"])
            ).document.id
            _ = try await service.assign(plugin, to: QuickstartSeed.agentID)
            let task = try await service.createTask(
                NewTask(agentID: QuickstartSeed.agentID, command: "\(plugin).f")
            ).document.id

            try Data(#"{"data": []}"#.utf8).write(to: seed.url.appending(path: "tasks.json"))
            let agent = #"{"data": {"id": "\#(QuickstartSeed.agentID)", "name": null, "team_id": null, "plugins": []}}"#
            try Data(agent.utf8).write(to: seed.url.appending(path: "agent.json"))
            try await service.seed(from: seed.url)
            #expect(try await service.tasks().elements.map(\.document.id) == [task])
            #expect(try await service.agent(QuickstartSeed.agentID).plugins == [plugin])
            #expect(try await service.agent(QuickstartSeed.agentID).name == nil)
        }
    }

    @Test func aDocumentWithItsScriptNeedsNoFileBesideIt() async throws {
        try await withService { service in
            let seed = try QuickstartSeed.copy()
            try Self.writeWholeDocument(in: seed, hash: QuickstartSeed.hash.uppercased())
            try await service.seed(from: seed.url)
            #expect(try await service.plugin(QuickstartSeed.pluginID).document.commands.isEmpty == false)
        }
    }

    private static func writeWholeDocument(in seed: TemporaryFolder, hash: String) throws {
        let scriptFile = seed.url.appending(path: QuickstartSeed.scriptFile)
        let script = String(decoding: try Data(contentsOf: scriptFile), as: UTF8.self)
        try FileManager.default.removeItem(at: scriptFile)
        try edit(QuickstartSeed.documentFile, in: seed) { fields in
            fields["script"] = .string(script)
            fields["hash"] = .string(hash)
        }
    }

    /// Changes the fields of a document's `data`.
    private static func edit(
        _ file: String, in seed: TemporaryFolder, _ change: (inout [String: JSONValue]) -> Void
    ) throws {
        let url = seed.url.appending(path: file)
        var fields = try JSONDecoder().decode(Envelope<[String: JSONValue]>.self, from: Data(contentsOf: url)).data
        change(&fields)
        try Data(JSONValue.object(["data": .object(fields)]).text.utf8).write(to: url)
    }

    struct Broken: Sendable, CustomTestStringConvertible {
        var name: String
        /// The file that the error names, and a word of its sentence.
        var file: String
        var word: String
        var breaking: @Sendable (TemporaryFolder) throws -> Void

        var testDescription: String { name }

        static func text(_ name: String, file: String, _ text: String, word: String) -> Broken {
            Broken(name: name, file: file, word: word) {
                try Data(text.utf8).write(to: $0.url.appending(path: file))
            }
        }
    }

    private static let task = #""id": "t", "cron": null, "arguments": "{}""#
    private static let greet = #""command": "\#(QuickstartSeed.pluginID).greet""#

    static let broken: [Broken] = [
        Broken(name: "wrong hash", file: QuickstartSeed.documentFile, word: QuickstartSeed.hash) {
            try writeWholeDocument(in: $0, hash: "00")
        },
        Broken(name: "no script at all", file: QuickstartSeed.documentFile, word: "script") {
            try FileManager.default.removeItem(at: $0.url.appending(path: QuickstartSeed.scriptFile))
        },
        Broken(name: "script not UTF-8", file: QuickstartSeed.scriptFile, word: "UTF-8") {
            try Data([0xFF, 0xFE]).write(to: $0.url.appending(path: QuickstartSeed.scriptFile))
        },
        Broken(name: "script without a document", file: "plugin-x.py", word: ".json") {
            try Data().write(to: $0.url.appending(path: "plugin-x.py"))
        },
        Broken(name: "id against the file's name", file: QuickstartSeed.documentFile, word: "other") {
            try edit(QuickstartSeed.documentFile, in: $0) { $0["id"] = "other" }
        },
        Broken(name: "private function", file: QuickstartSeed.documentFile, word: "_x") {
            try edit(QuickstartSeed.documentFile, in: $0) { $0["commands"] = ["c": ["function": "_x"]] }
        },
        Broken(name: "unreadable ask of the sandbox", file: QuickstartSeed.documentFile, word: "sandbox.memory") {
            try edit(QuickstartSeed.documentFile, in: $0) { $0["sandbox"] = ["memory": "much"] }
        },
        Broken(name: "unknown plugin", file: "agent.json", word: "absent") {
            try edit("agent.json", in: $0) { $0["plugins"] = ["absent"] }
        },
        Broken(name: "no agent", file: "agent.json", word: "exist") {
            try FileManager.default.removeItem(at: $0.url.appending(path: "agent.json"))
        },
        .text("agent not JSON", file: "agent.json", "{", word: "JSON"),
        .text("agent without an envelope", file: "agent.json", #"{"id": "a"}"#, word: "data"),
        .text("unknown command", file: "tasks.json", #"{"data": [{\#(task), "command": "nope"}]}"#, word: "nope"),
        .text("no command", file: "tasks.json", #"{"data": [{\#(task)}]}"#, word: "command"),
        .text(
            "bad cron", file: "tasks.json",
            #"{"data": [{"id": "t", \#(greet), "cron": "never", "arguments": "{}"}]}"#, word: "cron"),
        .text(
            "bad arguments", file: "tasks.json",
            #"{"data": [{"id": "t", \#(greet), "cron": null, "arguments": "[1]"}]}"#, word: "arguments"),
        .text(
            "one id twice", file: "tasks.json", #"{"data": [{\#(task), \#(greet)}, {\#(task), \#(greet)}]}"#,
            word: "twice"),
    ]

    @Test(arguments: broken)
    func aBrokenSeedIsRefusedAsAWholeAndTheErrorNamesTheFile(broken: Broken) async throws {
        try await withService { service in
            let seed = try QuickstartSeed.copy()
            try broken.breaking(seed)
            let error = try #require(
                await #expect(throws: ReferenceBackendError.self) { try await service.seed(from: seed.url) })
            #expect(error.code == "backend.invalid_seed")
            #expect(error.message.contains(broken.file), "\(error.message)")
            #expect(error.message.contains(broken.word), "\(error.message)")
            #expect(try await service.agents().elements.isEmpty)
            #expect(try await service.plugins().elements.isEmpty)
        }
    }
}
