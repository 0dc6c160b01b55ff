import Foundation
import Subprocess
import Synchronization
import SystemPackage

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
    static func built(_ name: String) -> FilePath {
        FilePath(CommandLine.arguments[0]).removingLastComponent().appending(name)
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
        let variables = ["PATH": "/nowhere", "LANG": "C.UTF-8"].merging(environment) { $1 }
        let command = command ?? wrapper + [executable.string] + arguments
        let watchdog = Mutex<Task<Void, any Error>?>(nil)
        defer { watchdog.withLock { $0?.cancel() } }
        let result = try await Subprocess.run(
            .path(FilePath(command[0])), arguments: Arguments(Array(command.dropFirst())),
            environment: .custom(
                Dictionary(uniqueKeysWithValues: variables.map { (Environment.Key(stringLiteral: $0.key), $0.value) })),
            workingDirectory: directory.map { FilePath($0) }, input: .none, output: .string(limit: 1 << 24),
            error: .string(limit: 1 << 24)
        ) { execution in
            let process = execution.processIdentifier.value
            watchdog.withLock { task in
                task = Task {
                    try await Task.sleep(for: longest)
                    kill(process, SIGKILL)
                }
            }
            try await body(process)
        }
        let status: Int32 =
            switch result.terminationStatus {
            case .exited(let code): code
            case .signaled(let signal): -signal
            }
        return Output(status: status, stdout: result.standardOutput, stderr: result.standardError)
    }
}
