import AgentModel
import Foundation
import Testing

@Suite struct SandboxRequestTests {
    @Test func everyFieldIsRead() {
        let request = SandboxRequest([
            "read_paths": ["/srv/data", "/etc/x.conf"], "write_paths": [], "network": "dns,tcp:443,tcp:8000-8100",
            "memory": 268_435_456, "scratch": 1_048_576, "processes": 8, "cpu_seconds": 1.5, "programs": false,
            "api": "results",
        ])
        #expect(request.readPaths == ["/srv/data", "/etc/x.conf"])
        #expect(request.writePaths == [])
        #expect(request.network == "dns,tcp:443,tcp:8000-8100")
        #expect(request.limits == [.memory: 268_435_456, .scratch: 1_048_576, .processes: 8])
        #expect(request.cpuSeconds == 1.5)
        #expect(request.startsPrograms == false)
        #expect(request.api == "results")
        #expect(request.problems.isEmpty)
    }

    @Test(arguments: [JSONValue.object([:]), .array([]), .object(["network": .null])])
    func nothingInParticularIsNoProblem(_ source: JSONValue) {
        let request = SandboxRequest(source)
        #expect(request.readPaths == nil && request.writePaths == nil && request.network == nil)
        #expect(request.startsPrograms == nil && request.api == nil && request.limits[.memory] == nil)
        #expect(request.problems.isEmpty)
    }

    struct Unreadable: Sendable, CustomTestStringConvertible {
        var field: String
        var value: JSONValue
        /// What it comes to.
        var check: @Sendable (SandboxRequest) -> Bool

        var testDescription: String { "\(field): \(value.text.prefix(60))" }
    }

    @Test(arguments: [
        Unreadable(field: "read_paths", value: "/srv") { $0.readPaths == [] },
        Unreadable(field: "read_paths", value: ["srv", "/a"]) { $0.readPaths == ["/a"] },
        Unreadable(field: "read_paths", value: ["/srv/../etc"]) { $0.readPaths == [] },
        Unreadable(field: "read_paths", value: ["/srv/./x"]) { $0.readPaths == [] },
        Unreadable(field: "read_paths", value: ["/srv\0/x"]) { $0.readPaths == [] },
        Unreadable(field: "write_paths", value: [7]) { $0.writePaths == [] },
        Unreadable(field: "write_paths", value: .array(Array(repeating: "/a", count: 101))) { $0.writePaths == [] },
        Unreadable(field: "network", value: true) { $0.network == "none" },
        Unreadable(field: "network", value: "udp:53") { $0.network == "none" },
        Unreadable(field: "network", value: "tcp:0") { $0.network == "none" },
        Unreadable(field: "network", value: "tcp:9-1") { $0.network == "none" },
        Unreadable(field: "network", value: "full,tcp:1") { $0.network == "none" },
        Unreadable(field: "memory", value: "1 GiB") { $0.limits[.memory] == nil },
        Unreadable(field: "memory", value: -1) { $0.limits[.memory] == nil },
        Unreadable(field: "memory", value: 1) { $0.limits[.memory] == 32 << 20 },
        Unreadable(field: "scratch", value: 1.5) { $0.limits[.scratch] == nil },
        Unreadable(field: "processes", value: 1) { $0.limits[.processes] == 8 },
        Unreadable(field: "cpu_seconds", value: 0) { $0.cpuSeconds == nil },
        Unreadable(field: "programs", value: "no") { $0.startsPrograms == false },
        Unreadable(field: "api", value: "everything") { $0.api == "none" },
        Unreadable(field: "netwrok", value: "none") { $0.network == nil },
    ])
    func whatCannotBeReadAsksForNothing(_ unreadable: Unreadable) {
        let request = SandboxRequest(.object([unreadable.field: unreadable.value]))
        #expect(request.problems.map(\.field) == [unreadable.field])
        #expect(unreadable.check(request))
    }

    @Test(arguments: ["none", 5, true, ["/srv"]] as [JSONValue])
    func whatIsNoObjectAsksForNothingAtAll(_ source: JSONValue) {
        let request = SandboxRequest(source)
        #expect(request.problems == [.init(field: "", problem: "it is not an object")])
        #expect(request.readPaths == [] && request.writePaths == [] && request.network == "none")
        #expect(request.startsPrograms == false && request.api == "none")
    }

    @Test func theProblemsOfAHostileOneAreFew() {
        let fields = Dictionary(uniqueKeysWithValues: (0..<10_000).map { ("x\($0)", JSONValue.null) })
        #expect(SandboxRequest(.object(fields)).problems.count == 20)
    }

    // MARK: In a document

    private func document(_ sandbox: String?) throws -> PluginDocument {
        let field = sandbox.map { #", "sandbox": \#($0)"# } ?? ""
        return try JSONDecoder().decode(
            PluginDocument.self, from: Data(#"{"id": "p", "name": "n", "script": "", "hash": ""\#(field)}"#.utf8))
    }

    @Test func aDocumentOfPartOneIsWrittenAsBefore() throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        for sandbox in [nil, "null"] {
            let document = try document(sandbox)
            #expect(document.sandbox == nil)
            #expect(
                String(decoding: try encoder.encode(document), as: UTF8.self)
                    == #"{"commands":{},"description":null,"hash":"","id":"p","name":"n","script":"","version":null}"#)
        }
    }

    // The agent stores the document and loads it from there the next time.
    @Test(arguments: [#"{"network": "none"}"#, #"{"network": 5, "later": [1]}"#, #""no""#, "[]"])
    func itIsStoredAsItCame(_ sandbox: String) throws {
        let document = try document(sandbox)
        let again = try JSONDecoder().decode(PluginDocument.self, from: JSONEncoder().encode(document))
        #expect(document.sandbox != nil)
        #expect(again.sandbox == document.sandbox)
    }
}
