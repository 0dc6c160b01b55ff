import AgentTestSupport
import Foundation
import Subprocess
import SystemPackage
import Testing

/// Who can look into a running agent that holds a token.
@Suite struct ProcessMemoryTests {
    /// What leads from one process into another (proc(5)). A kernel may close the one to strangers and not the other.
    private static let doors = ["mem", "environ"]

    /// Who may look into every process, as root mostly may, gives that up: without this capability it is a user like
    /// others (capabilities(7)), towards processes that don't have it either.
    private static let asUser: [String] = {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("CapEff:") }
        let held = line.flatMap { UInt64($0.drop { $0 != "\t" }.dropFirst(), radix: 16) } ?? 0
        // CAP_SYS_PTRACE, linux/capability.h.
        guard held >> 19 & 1 == 1 else { return [] }
        return ["/usr/bin/setpriv", "--inh-caps=-sys_ptrace", "--bounding-set=-sys_ptrace"]
    }()

    /// The doors of an agent at work that another process of its user can open.
    private func openDoors(isLoggedIn: Bool) async throws -> Set<String> {
        let folder = try TemporaryFolder()
        let backend = try ScriptedBackend()
        let settings = ["--set", "server_url=\(backend.server.url)", "--set", "auth=\(isLoggedIn)"]
        if isLoggedIn {
            let token = folder.path("token")
            try #require(
                FileManager.default.createFile(
                    atPath: token, contents: Data("a-token-of-the-test".utf8), attributes: [.posixPermissions: 0o600]))
            let login = try await AgentProcess.run(
                ["login", "--token-file", token] + settings, directory: folder.path)
            try #require(login.status == 0, "\(login.stderr)")
        }
        var open: Set<String> = []
        let output = try await AgentProcess.run(["run"] + settings, directory: folder.path, wrapper: Self.asUser) {
            process in
            await backend.server.request(to: "/api/agent/task/good")
            for door in Self.doors {
                if try await Self.opens("/proc/\(process)/\(door)") { open.insert(door) }
            }
            kill(process, SIGTERM)
        }
        #expect(output.status == 0, "\(output.stderr)")
        return open
    }

    private static func opens(_ path: String) async throws -> Bool {
        let command = asUser + ["/usr/bin/head", "-c", "0", path]
        let result = try await Subprocess.run(
            .path(FilePath(command[0])), arguments: Arguments(Array(command.dropFirst())), output: .discarded,
            error: .discarded)
        return result.terminationStatus.isSuccess
    }

    @Test func theMemoryOfAnAgentWithALoginIsClosedToItsOwnUser() async throws {
        // What is open without a login shows that it is the agent that closes it.
        let without = try await openDoors(isLoggedIn: false)
        try #require(!without.isEmpty, "this host closes all processes, so that nothing can be shown")
        let with = try await openDoors(isLoggedIn: true)
        #expect(!with.contains("mem"))
        #expect(with.isStrictSubset(of: without), "\(with.sorted()) of \(without.sorted()) are open")
    }
}
