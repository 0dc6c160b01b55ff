import AgentTestSupport
import Foundation
import ReferenceBackend
import ReliabilityTesting
import Subprocess
import SystemPackage
import Testing

/// A host whose agent, a process of its own, logs in at a live backend.
struct LoginHost {
    let backend: LiveBackend
    let folder: TemporaryFolder
    private var configuration: String { folder.path("config.ini") }

    /// Polls are a second apart, so that nobody waits long.
    static func login(accessTokenLifetime: Int = 3600) -> LoginConfiguration {
        LoginConfiguration(pollInterval: 1, accessTokenLifetime: accessTokenLifetime)
    }

    /// With a configuration as the first agent had it.
    init(_ backend: LiveBackend, clientID: String = "a-host") throws {
        self.backend = backend
        folder = try TemporaryFolder()
        try configure(clientID: clientID)
    }

    func configure(clientID: String) throws {
        try "[agent]\nserver_url=\(backend.url)\nclient_id=\(clientID)\nauth=True\npoll_interval=0.3\n"
            .write(toFile: configuration, atomically: true, encoding: .utf8)
    }

    /// Starts the daemon; what it says is ``log``.
    func start() throws -> SpawnedProcess { try start(["run", "--log-level", "debug"], log: "log") }

    /// - Parameter log: the name of the file for what it says.
    func start(_ arguments: [String], log: String) throws -> SpawnedProcess {
        try SpawnedProcess(
            [AgentProcess.executable] + arguments + ["--config", configuration], output: .log(folder.path(log)))
    }

    func agent(_ arguments: String...) async throws -> AgentProcess.Output {
        try await AgentProcess.run(arguments + ["--config", configuration], directory: folder.path)
    }

    /// `runbook-backend device …` beside the running server, as an administrator without a browser.
    func decide(_ arguments: String...) async throws {
        let result = try await Subprocess.run(
            .path(FilePath(AgentProcess.built("runbook-backend"))),
            arguments: Arguments(["device"] + arguments + ["--data", backend.dataFolder.path]), input: .none,
            output: .discarded, error: .string(limit: 1 << 16))
        #expect(result.terminationStatus.isSuccess, "\(result.standardError)")
    }

    /// Asks for a code, has it approved and takes the tokens up, each with its command.
    func logIn(as name: String) async throws {
        let shown = try await agent("login", "--no-wait", "--json")
        let code = try #require(try shown.jsonLines().first?["user_code"] as? String, "\(shown.stderr)")
        try await decide("approve", code, "--name", name)
        let login = try await agent("login")
        #expect(login.status == 0 && login.stdout.contains(name), "\(login.stdout)\(login.stderr)")
    }

    /// The code of the one login that waits at the backend.
    func pendingCode() async throws -> String {
        var code = ""
        try await eventually("a login waits at the backend") {
            code = try await backend.service.deviceLogins().elements.first.map { "\($0.userCode)" } ?? ""
            return !code.isEmpty
        }
        return code
    }

    // MARK: What the daemon says

    var log: String { text(of: "log") }

    func text(of file: String) -> String { (try? String(contentsOfFile: folder.path(file), encoding: .utf8)) ?? "" }

    /// The codes that it asked a person to enter, in their order.
    var codes: [String] {
        log.split(separator: "\n").compactMap { line in
            line.firstMatch(of: /LOG THIS AGENT IN: open \S+ and enter the code (\S+)/).map { String($0.1) }
        }
    }

    /// Returns when a text stands in a log that often, or after a minute with an issue recorded.
    func waitFor(
        _ text: String, count: Int = 1, in file: String = "log", location: SourceLocation = #_sourceLocation
    ) async throws {
        try await wait("\(text) was not logged", location) { self.text(of: file).ranges(of: text).count >= count }
    }

    /// The code that it shows as its so manieth one.
    func code(_ number: Int, location: SourceLocation = #_sourceLocation) async throws -> String {
        try await wait("no code", location) { codes.count >= number }
        return try #require(codes.dropFirst(number - 1).first, sourceLocation: location)
    }

    private func wait(_ problem: String, _ location: SourceLocation, until isDone: () -> Bool) async throws {
        let deadline = ContinuousClock.now.advanced(by: .seconds(60))
        while !isDone() {
            guard ContinuousClock.now < deadline else {
                Issue.record("\(problem): \(log)", sourceLocation: location)
                return
            }
            try await Task.sleep(for: .milliseconds(5))
        }
    }
}
