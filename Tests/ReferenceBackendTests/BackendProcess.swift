import AgentTestSupport
import Foundation

/// A `runbook-backend` process and what it writes to its standard output.
final class BackendProcess: Sendable {
    private let process: SpawnedProcess
    private let errors: String
    private let folder: TemporaryFolder

    // Built into the folder of the test bundle.
    private static let executable = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
        .appending(path: "runbook-backend").path

    /// - Parameters:
    ///   - errors: where its standard error goes instead of into a file of its own.
    ///   - closed: descriptors that it doesn't have.
    init(_ arguments: [String], errors path: String? = nil, closed: [Int32] = []) throws {
        folder = try TemporaryFolder()
        errors = path ?? folder.path("stderr")
        process = try SpawnedProcess(
            [Self.executable] + arguments, environment: ProcessInfo.processInfo.environment,
            output: .lines(errors: errors), closed: closed)
    }

    // A test that failed in between must not leave a server behind.
    deinit { process.send(SIGKILL) }

    var processID: pid_t { process.processID }
    /// Line by line, as they come.
    var lines: AsyncStream<String> { process.lines }

    func signal(_ number: Int32) { process.send(number) }

    /// The exit status, or a signal's number below zero.
    func exitStatus() async throws -> Int32 { await process.end()?.status ?? Int32.min }

    /// What it wrote to its standard error so far.
    func standardError() throws -> String {
        String(decoding: try Data(contentsOf: URL(filePath: errors)), as: UTF8.self)
    }
}

/// A finished command.
struct CommandResult {
    var status: Int32
    var output: [String]
    var errors: String

    static func of(_ arguments: String...) async throws -> CommandResult {
        let process = try BackendProcess(arguments)
        let output = await process.lines.reduce(into: []) { $0.append($1) }
        return CommandResult(
            status: try await process.exitStatus(), output: output, errors: try process.standardError())
    }
}
