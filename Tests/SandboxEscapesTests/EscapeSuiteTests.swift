import Foundation
import Sandbox
import SandboxEscapes
import Subprocess
import SystemPackage
import Testing

/// Every attempt to break out, against the executable that users run.
///
/// As whoever runs the tests. One after the other: what children would inherit belongs to the process.
@Suite(.serialized) struct EscapeSuiteTests {
    fileprivate static let executable = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
        .appending(path: "runbook-agent")

    /// What a kernel without modules and kexec, a missing protocol or a container refuses the twins too. Every other twin
    /// must get through, or its attempt shows nothing.
    private static let mayBeNotShown: Set = [
        "call_kexec_load", "call_kexec_file_load", "call_init_module", "call_finit_module", "call_delete_module",
        "call_syslog", "raise_hard_limit",
    ]
    /// What a host without namespaces and without users of their own for children leaves open. `docs/sandbox.md` names it.
    private static let openWithoutNamespaces: Set = [
        "start_many_processes", "fill_scratch", "see_process", "learn_own_number", "execute_through_loader",
        "execute_from_writable_folder",
    ]

    fileprivate static func check(_ results: [EscapeResult], mayGetThrough: Set<String> = []) {
        for result in results where result.verdict == .through || result.verdict == .broken {
            guard !mayGetThrough.contains(result.name) else { continue }
            Issue.record("\(result.name): \(result.verdict.rawValue): \(result.detail); its twin: \(result.twin)")
        }
        for result in results where result.verdict == .notShown && !mayBeNotShown.contains(result.name) {
            Issue.record("\(result.name) shows nothing here: \(result.detail); its twin: \(result.twin)")
        }
        #expect(results.count >= 295)
        #expect(Set(results.map(\.group)) == ["files", "syscalls", "network", "processes", "secrets", "agent"])
    }

    @Test func nothingGetsThrough() async throws {
        var host = SandboxHost()
        host.executable = Self.executable.path()
        Self.check(try await EscapeSuite(host: host).run { _ in })
    }

    /// With Landlock, seccomp and limits alone, as in a container that forbids the rest: what those are to stop is stopped.
    @Test func littleGetsThroughWithoutNamespaces() async throws {
        var host = SandboxHost(mode: .prefer)
        host.executable = Self.executable.path()
        host.withheld = [
            .ownUser, .userNamespace, .pidNamespace, .mountNamespace, .readOnlyMounts, .ipcNamespace, .networkNamespace,
        ]
        Self.check(try await EscapeSuite(host: host).run { _ in }, mayGetThrough: Self.openWithoutNamespaces)
    }
}

/// The same as an ordinary user, by a process of its own.
@Suite struct EscapeSuiteUserTests {
    private static let nobody: UInt32 = 65534

    @Test(.enabled(if: geteuid() == 0, "only root can become another user"))
    func nothingGetsThroughForAnOrdinaryUser() async throws {
        // Where everyone may read it.
        let folder = FileManager.default.temporaryDirectory.appending(path: "runbook-user-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let copy = folder.appending(path: "runbook-agent")
        chmod(folder.path(), 0o755)
        // By a program too: a child that another test starts meanwhile would hold what this process writes, and a program
        // that somebody may still write can't be executed (ETXTBSY).
        let installed = try await run(
            .path("/usr/bin/install"), arguments: ["-m", "755", EscapeSuiteTests.executable.path(), copy.path()],
            output: .discarded, error: .string(limit: 1 << 20))
        #expect(installed.terminationStatus.isSuccess, "\(installed.standardError)")
        // By a program: changing the user between fork and exec waits for ever where another thread was just starting.
        let user = ["--reuid=\(Self.nobody)", "--regid=\(Self.nobody)", "--clear-groups", "--inh-caps=-all"]
        let result = try await run(
            .path("/usr/bin/setpriv"), arguments: Arguments(user + [copy.path(), "doctor", "--escape", "--json"]),
            workingDirectory: FilePath(folder.path()), output: .string(limit: 4 << 20), error: .string(limit: 1 << 20))
        let lines = result.standardOutput.split(separator: "\n")
        #expect(result.terminationStatus.isSuccess, "\(result.standardError)")
        EscapeSuiteTests.check(try lines.map { try JSONDecoder().decode(EscapeResult.self, from: Data($0.utf8)) })
    }
}
