import AgentTestSupport
import Foundation

/// The built `runbook-agent`, run as a person runs it.
struct AgentProcess {
    struct Output: Sendable {
        /// The exit status, or a signal's number below zero.
        var status: Int32
        var stdout: String
        var stderr: String

        /// Each line of standard output as JSON.
        func jsonLines() throws -> [[String: Any]] {
            try stdout.split(separator: "\n").map { line in
                try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]
            }
        }
    }

    /// Built into the folder of the test bundle.
    static let executable = built("runbook-agent")

    /// A program of this package.
    static func built(_ name: String) -> String {
        URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent().appending(path: name).path
    }

    /// What has not ended by then is killed: a test that hangs is to fail, and to say what was printed.
    private static let longest = Duration.seconds(300)

    /// Runs it to its end. Nothing of the tests' environment is passed on, not even the path.
    ///
    /// - Parameters:
    ///   - wrapper: a command that becomes the agent's process, such as `setpriv`.
    ///   - command: is run instead; it starts the agent itself.
    ///   - body: runs beside it, with the process's id.
    static func run(
        _ arguments: [String], environment: [String: String] = [:], directory: String? = nil, wrapper: [String] = [],
        command: [String]? = nil, body: (pid_t) async throws -> Void = { _ in }
    ) async throws -> Output {
        let folder = try TemporaryFolder()
        // It goes with its last use, and what is written into it is read at the end.
        defer { withExtendedLifetime(folder) {} }
        let (output, errors) = (folder.path("stdout"), folder.path("stderr"))
        let process = try SpawnedProcess(
            command ?? wrapper + [executable] + arguments,
            environment: ["PATH": "/nowhere", "LANG": "C.UTF-8"].merging(environment) { $1 }, directory: directory,
            output: .files(output: output, errors: errors))
        // Also where the body throws, or never returns.
        defer { process.send(SIGKILL) }
        let watchdog = Task {
            try await Task.sleep(for: longest)
            process.send(SIGKILL)
        }
        defer { watchdog.cancel() }
        try await body(process.processID)
        let status = await process.end()?.status ?? Int32.min
        return Output(
            status: status, stdout: String(decoding: try Data(contentsOf: URL(filePath: output)), as: UTF8.self),
            stderr: String(decoding: try Data(contentsOf: URL(filePath: errors)), as: UTF8.self))
    }
}
