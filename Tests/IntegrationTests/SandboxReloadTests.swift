import AgentModel
import AgentTestSupport
import Foundation
import Testing

/// Policies of plugins that are loaded, when the configuration changes under a running agent.
@Suite struct SandboxReloadTests {
    private static let script = """
        import subprocess

        class Plugin:
            def start(self):
                try:
                    return subprocess.run(["/bin/echo", "started"], capture_output=True, text=True).stdout
                except PermissionError:
                    return "refused"
        """

    private func write(_ text: String, _ backend: ScriptedBackend, _ folder: TemporaryFolder) throws -> String {
        let file = folder.path("config.ini")
        // `prefer`, so that this holds where the host lacks a layer that starting programs has nothing to do with.
        let base = "[agent]\nserver_url = \(backend.server.url)\nauth = False\npoll_interval = 0.1\n"
        try (base + text + "[sandbox]\nmode = prefer\n[plugin:p]\n").write(
            toFile: file, atomically: true, encoding: .utf8)
        return file
    }

    /// Runs the plugin until a result is as expected: what the signal asks for is done beside the runs.
    private func result(
        _ backend: ScriptedBackend, _ name: String, where isExpected: (TaskResult) -> Bool
    ) async throws -> TaskResult? {
        for number in 0..<200 {
            let id = "\(name)-\(number)"
            backend.addTask(#"{"id": "\#(id)", "command": "p.start", "cron": null, "arguments": "{}"}"#)
            await backend.server.request(to: "/api/agent/task/\(id)")
            backend.removeTask(id)
            if let result = try backend.results(of: id).first, isExpected(result) { return result }
        }
        return nil
    }

    @Test func aLoadedPluginIsConfinedAnew() async throws {
        let backend = try ScriptedBackend()
        backend.addPlugin("p", script: Self.script, functions: ["start"]) { document in
            document["sandbox"] = ["network": "full", "memory": "much"]
        }
        let folder = try TemporaryFolder()
        let file = try write("", backend, folder)
        let output = try await AgentProcess.run(["run", "--config", file], directory: folder.path) { process in
            let before = try await result(backend, "before") { $0.isolation == "in-process" }
            #expect(before?.data == "started\n")

            _ = try write("isolation = sandbox\n", backend, folder)
            kill(process, SIGHUP)
            let confined = try await result(backend, "confined") { $0.isolation?.hasPrefix("sandbox") == true }
            #expect(confined?.data == "started\n")

            let narrower = try write("isolation = sandbox\n", backend, folder)
            let handle = try FileHandle(forUpdating: URL(filePath: narrower))
            try handle.seekToEnd()
            try handle.write(contentsOf: Data("programs = no\n".utf8))
            try handle.close()
            kill(process, SIGHUP)
            #expect(try await result(backend, "narrower") { $0.data == "refused" } != nil)

            _ = try write("", backend, folder)
            kill(process, SIGHUP)
            #expect(try await result(backend, "after") { $0.isolation == "in-process" } != nil)
            kill(process, SIGTERM)
        }
        #expect(output.status == 0, "\(output.stderr)")
        #expect(output.stderr.contains("plugin.sandbox_request_refused"), "\(output.stderr)")
        #expect(output.stderr.contains("plugin.invalid_sandbox_request"), "\(output.stderr)")
        #expect(output.stderr.contains("look filtered to scans"), "\(output.stderr)")
    }

    // It was tried again at every poll, and nothing said why.
    @Test func whyAChildCouldNotStartIsSaid() async throws {
        let backend = try ScriptedBackend()
        let script = "import os\nclass Plugin:\n    def live(self): pass\n    def die(self): os._exit(1)\n"
        backend.addPlugin("dies", script: script, functions: ["live", "die"])
        let folder = try TemporaryFolder()
        let data = folder.path("data")
        try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: false)
        let file = try write("isolation = sandbox\n[plugin:dies]\nread_paths = \(data)\n", backend, folder)
        let output = try await AgentProcess.run(["run", "--config", file], directory: folder.path) { process in
            // Loaded while its folder is there: tasks of others don't wait for that.
            backend.addTask(#"{"id": "live", "command": "dies.live", "cron": null, "arguments": "{}"}"#)
            await backend.server.request(to: "/api/agent/task/live")
            try FileManager.default.removeItem(atPath: data)
            // The one that has the plugin and the one that was kept ready were started before.
            for number in 0..<4 {
                backend.addTask(#"{"id": "d\#(number)", "command": "dies.die", "cron": null, "arguments": "{}"}"#)
                await backend.server.waitForRequests(backend.server.requests.count + 12)
            }
            kill(process, SIGTERM)
        }
        #expect(output.status == 0, "\(output.stderr)")
        #expect(output.stderr.contains("code=sandbox.start_failed"), "\(output.stderr)")
        #expect(output.stderr.contains("could not begin"), "\(output.stderr)")
    }
}
