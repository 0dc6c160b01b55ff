import Foundation
import Sandbox
import SandboxEscapes
import Subprocess
import SystemPackage
import Testing

/// Every attempt to break out, against the executable that users run.
///
/// As whoever runs the tests, and where that is root as an ordinary user too.
@Suite(.serialized) struct EscapeSuiteTests {
    private static let executable = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
        .appending(path: "runbook-agent")
    private static let nobody: UInt32 = 65534

    private static func check(_ results: [EscapeResult]) {
        for result in results where result.verdict == .through || result.verdict == .broken {
            Issue.record("\(result.name): \(result.verdict.rawValue): \(result.detail); its twin: \(result.twin)")
        }
        let stopped = results.filter { $0.verdict == .stopped }
        // Of each group most twins get through, or the attempts show nothing.
        #expect(stopped.count >= 150, "\(stopped.count) of \(results.count)")
        #expect(Set(stopped.map(\.group)) == ["files", "syscalls", "network", "processes", "secrets"])
    }

    @Test func nothingGetsThrough() async throws {
        var host = SandboxHost()
        host.executable = Self.executable.path()
        Self.check(try await EscapeSuite(host: host).run { _ in })
    }

    @Test(.enabled(if: geteuid() == 0, "only root can become another user"))
    func nothingGetsThroughForAnOrdinaryUser() async throws {
        // Where everyone may read it.
        let folder = FileManager.default.temporaryDirectory.appending(path: "runbook-user-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let copy = folder.appending(path: "runbook-agent")
        try FileManager.default.copyItem(at: Self.executable, to: copy)
        chmod(folder.path(), 0o755)
        chmod(copy.path(), 0o755)
        var options = PlatformOptions()
        (options.userID, options.groupID, options.supplementaryGroups) = (Self.nobody, Self.nobody, [])
        let result = try await run(
            .path(FilePath(copy.path())), arguments: ["doctor", "--escape", "--json"],
            workingDirectory: FilePath(folder.path()), platformOptions: options, output: .string(limit: 4 << 20),
            error: .string(limit: 1 << 20))
        let lines = result.standardOutput.split(separator: "\n")
        #expect(result.terminationStatus.isSuccess, "\(result.standardError)")
        Self.check(try lines.map { try JSONDecoder().decode(EscapeResult.self, from: Data($0.utf8)) })
    }
}
