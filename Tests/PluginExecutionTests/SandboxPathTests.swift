import AgentModel
import Foundation
import PluginExecution
import Sandbox
import Testing

/// The files and folders of a policy.
@Suite struct SandboxPathTests {
    private static let executable = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
        .appending(path: "runbook-agent").path()

    private static let script = """
        import os
        class Plugin:
            def read(self, path): return open(path).read()
            def write(self, path):
                with open(path, "w") as file: file.write("written")
            def change(self, path): os.chmod(path, 0o600)
        """

    /// In a folder that children of root, who have user ids of their own, may write to.
    private final class Folder {
        let path = FileManager.default.temporaryDirectory.path() + "/runbook-paths-\(UUID())"

        init() throws {
            for name in ["", "/read", "/write"] {
                try FileManager.default.createDirectory(atPath: path + name, withIntermediateDirectories: true)
                chmod(path + name, 0o777)
            }
            for name in ["/read/file", "/write/file"] {
                try "there".write(toFile: path + name, atomically: true, encoding: .utf8)
                chmod(path + name, 0o666)
            }
        }

        deinit { try? FileManager.default.removeItem(atPath: path) }
    }

    private func load(_ policy: SandboxPolicy) async throws -> (SandboxExecutor, PluginID) {
        let executor = try SandboxExecutor(host: SandboxHost(executable: Self.executable))
        let id = try PluginID("paths")
        try await executor.load(
            PluginImage(id: id, script: Array(Self.script.utf8), path: "/paths.py", sandbox: policy))
        return (executor, id)
    }

    @Test func whatIsNamedCanBeReadAndWrittenAsNamed() async throws {
        let folder = try Folder()
        var policy = SandboxPolicy()
        policy.readPaths = [folder.path + "/read"]
        policy.writePaths = [folder.path + "/write"]
        let (executor, id) = try await load(policy)
        func status(_ function: String, _ name: String) async -> RunStatus {
            await executor.execute(
                Invocation(
                    pluginID: id, function: function, arguments: "{\"path\": \"\(folder.path)/\(name)\"}")
            ).status
        }
        #expect(await status("read", "read/file") == .succeeded)
        #expect(await status("write", "read/file") == .failed)
        #expect(await status("change", "read/file") == .failed)
        #expect(await status("write", "write/new") == .succeeded)
        #expect(await status("change", "write/new") == .succeeded)
        #expect(await status("read", "write/file") == .succeeded)
        #expect(try String(contentsOfFile: folder.path + "/write/new", encoding: .utf8) == "written")
        await executor.shutDown()
    }

    /// Someone who may write to the folder above puts a link there, to have the plugin see something else.
    @Test(arguments: [true, false])
    func aLinkInThePlaceOfAPathIsNotFollowed(_ isWritable: Bool) async throws {
        let folder = try Folder()
        let link = folder.path + "/link"
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: folder.path + "/read")
        var policy = SandboxPolicy()
        if isWritable { policy.writePaths = [link] } else { policy.readPaths = [link] }
        let error = await #expect(throws: PluginExecutionError.self) { _ = try await load(policy) }
        #expect(error?.code == "sandbox.start_failed")
        #expect(error?.message.contains(link) == true)
    }
}
