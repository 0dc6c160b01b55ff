import AgentModel
import AgentTestSupport
import Cryptography
import Foundation
import Testing

/// What a person sees of the policy of a stored plugin, and what it comes to.
@Suite struct SandboxRequestCommandTests {
    private static let script = """
        import subprocess

        class Plugin:
            def start(self):
                try:
                    return subprocess.run(["/bin/echo", "started"], capture_output=True, text=True).stdout
                except PermissionError:
                    return "refused"
        """

    /// The folder of an agent that has the plugin `p` stored, whose document asks for this.
    private func folder(_ configuration: String, asks: JSONValue? = nil) throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        try "[agent]\nserver_url = http://127.0.0.1:1\nauth = False\n\(configuration)"
            .write(toFile: folder.path("config.ini"), atomically: true, encoding: .utf8)
        try FileManager.default.createDirectory(
            atPath: folder.path("plugins"), withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        let document = PluginDocument(
            id: "p", name: "P", version: nil, description: nil, script: Self.script,
            hash: SHA512.hash(Self.script.utf8).hex,
            commands: ["p.start": CommandDocument(id: nil, name: nil, function: "start")],
            sandbox: asks.map(SandboxRequest.init))
        for (name, data) in [("p.json", try JSONEncoder().encode(document)), ("p.py", Data(Self.script.utf8))] {
            try data.write(to: URL(filePath: folder.path("plugins/" + name)))
            chmod(folder.path("plugins/" + name), 0o600)
        }
        return folder
    }

    private func show(_ folder: TemporaryFolder) async throws -> [String: Any] {
        let output = try await AgentProcess.run(["plugin", "show", "p", "--json"], directory: folder.path)
        #expect(output.status == 0, "\(output.stderr)")
        return try #require(try output.jsonLines().first)
    }

    @Test func inProcessThereIsNoPolicyToShow() async throws {
        let folder = try folder("", asks: ["network": "none"])
        let shown = try await show(folder)
        #expect(shown["isolation"] as? String == "in-process")
        #expect(shown["sandbox"] == nil)
        let list = try await AgentProcess.run(["plugin", "list", "--json"], directory: folder.path)
        #expect(try list.jsonLines().first?["isolation"] as? String == "in-process")
    }

    @Test func whatAPluginAsksForAndGetsIsShown() async throws {
        let folder = try folder(
            """
            isolation = sandbox
            [sandbox]
            network = dns,tcp:443
            read_paths = /usr/share
            environment = TOKEN=hunter2
            api = results
            """,
            asks: [
                "network": "full", "read_paths": ["/usr/share/zoneinfo", "/etc"], "memory": 67_108_864,
                "programs": false, "netwrok": 1,
            ])
        let shown = try await show(folder)
        #expect(shown["isolation"] as? String == "sandbox")
        let sandbox = try #require(shown["sandbox"] as? [String: Any])
        #expect((sandbox["asks"] as? [String: Any])?["network"] as? String == "full")
        #expect((sandbox["problems"] as? [String])?.count == 1)
        let gets = try #require(sandbox["gets"] as? [String: Any])
        #expect(gets["network"] as? String == "dns,tcp:443")
        #expect(gets["read_paths"] as? [String] == ["/usr/share/zoneinfo"])
        #expect(gets["memory"] as? Int == 67_108_864)
        #expect(gets["programs"] as? Bool == false)
        #expect(gets["environment"] as? [String] == ["TOKEN"])
        let refused = try #require(sandbox["refused"] as? [[String: Any]])
        #expect(Set(refused.compactMap { $0["setting"] as? String }) == ["network", "read_paths"])

        let text = try await AgentProcess.run(["plugin", "show", "p"], directory: folder.path)
        #expect(text.stdout.contains("look filtered to scans"))
        #expect(text.stdout.contains("\"/etc\"") && text.stdout.contains("sandbox.netwrok"))
        #expect(!text.stdout.contains("hunter2"))
    }

    @Test func theWholeNetworkIsMarked() async throws {
        let folder = try folder("[plugin:p]\nisolation = sandbox\nnetwork = full\n")
        let list = try await AgentProcess.run(["plugin", "list"], directory: folder.path)
        #expect(list.stdout.contains("sandbox, whole network"), "\(list.stdout)")
        let asking = try self.folder(
            "[plugin:p]\nisolation = sandbox\nnetwork = full\n", asks: ["network": "dns,tcp:443"])
        let narrowed = try await AgentProcess.run(["plugin", "list"], directory: asking.path)
        #expect(!narrowed.stdout.contains("whole network"), "\(narrowed.stdout)")
    }

    // `prefer`, so that this holds where the host lacks a layer that starting programs has nothing to do with.
    @Test(arguments: [nil, true, false])
    func whatItAsksForIsWhatItRunsWith(_ programs: Bool?) async throws {
        let asks = programs.map { JSONValue.object(["programs": .bool($0)]) }
        let folder = try folder("isolation = sandbox\n[sandbox]\nmode = prefer\n", asks: asks)
        for subject in ["p", folder.path("plugins/p.json")] {
            let output = try await AgentProcess.run(["plugin", "call", subject, "start"], directory: folder.path)
            #expect(output.status == 0, "\(output.stderr)")
            #expect(output.stdout == (programs == false ? "refused\n" : "started\n"))
        }
    }
}
