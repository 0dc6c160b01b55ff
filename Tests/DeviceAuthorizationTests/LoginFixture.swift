import AgentTestSupport
import BackendClient
import Foundation
import Logging
import Synchronization

@testable import DeviceAuthorization

/// A scripted authorization server and sessions on one state directory.
struct LoginFixture {
    let server: ScriptedServer
    let folder: TemporaryFolder
    let clock = ManualLoginClock()
    let http: HTTPClient
    var directory: String { folder.path("state") }
    var keyPath: String { folder.path("login.key") }

    init() throws {
        server = try ScriptedServer()
        folder = try TemporaryFolder()
        http = try HTTPClient(HTTPClient.Configuration(proxies: ProxySettings()))
    }

    func session(
        clientID: String? = nil, credentials: String? = nil,
        logger: Logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    ) throws -> LoginSession {
        try LoginSession(
            settings: LoginSettings(serverURL: server.url, clientID: clientID), directory: directory,
            keySource: KeySource(configured: nil, credentialsDirectory: credentials, fallback: keyPath), http: http,
            clock: clock, logger: logger)
    }

    func state() async -> LoginState {
        await LoginState.read(
            directory: directory, keySource: KeySource(configured: nil, credentialsDirectory: nil, fallback: keyPath),
            serverURL: server.url, clientID: nil, now: clock.wallTime)
    }

    func tokens(_ name: String = "1", lifetime: Int? = 3600, isRefreshable: Bool = true) -> TokenSet {
        TokenSet(
            accessToken: "access-\(name)", refreshToken: isRefreshable ? "refresh-\(name)" : nil, lifetime: lifetime,
            obtainedAt: clock.wallTime)
    }

    static func response(_ name: String, lifetime: String = "3600") -> ScriptedServer.Answer {
        .json(
            #"{"access_token": "access-\#(name)", "token_type": "Bearer", "expires_in": \#(lifetime), "refresh_token": "refresh-\#(name)"}"#
        )
    }

    static func refusal(_ error: String) -> ScriptedServer.Answer { .json(#"{"error": "\#(error)"}"#, status: 400) }

    /// How often a path was asked.
    func count(_ path: String) -> Int { server.requests.count { $0.target == path } }

    /// The fields of a form that was sent.
    static func form(_ request: ScriptedServer.Request) -> [String: String] {
        let pairs = String(decoding: request.body, as: UTF8.self).split(separator: "&").map { pair in
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                .map { $0.replacing("+", with: " ").removingPercentEncoding ?? "" }
            return (parts[0], parts[1])
        }
        return Dictionary(pairs, uniquingKeysWith: { _, _ in "twice" })
    }
}

/// Keeps what was logged, at every level.
struct RecordedLog: LogHandler {
    final class Lines: Sendable {
        private let lines = Mutex<[String]>([])

        var value: [String] { lines.withLock { $0 } }
        func append(_ line: String) { lines.withLock { $0.append(line) } }
    }

    let lines = Lines()
    var logLevel = Logger.Level.trace
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        lines.append("\(event.message) \(event.metadata ?? [:])")
    }
}
