import AgentTestSupport
import Foundation
import Testing

@testable import Agent

/// Every setting is read from everywhere it may stand in, and is told when it changes: none is forgotten in one of the
/// places where settings are listed.
@Suite struct SettingCompletenessTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        for name in ["ca.pem", "other.pem", "key"] { try Data("x".utf8).write(to: URL(filePath: folder.path(name))) }
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: folder.path("key"))
    }

    /// Another value than the default of each.
    private func value(of key: ConfigurationKey) -> String {
        switch key {
        case .serverURL: "https://other.example"
        case .clientID: "another"
        case .auth: "no"
        case .allowInsecure: "yes"
        case .scope: "other"
        case .deviceCodePath: "/other/code"
        case .tokenPath: "/other/token"
        case .revocationPath: "/other/revoke"
        case .keyFile: folder.path("key")
        case .forceRedownload: "yes"
        case .pluginDirectory: folder.path("other-plugins")
        case .stateDirectory: folder.path("other-state")
        case .pollInterval: "7"
        case .workers: "7"
        case .workersMax: "77"
        case .isolation: "sandbox"
        case .taskTimeout: "7"
        case .keepPrograms: "no"
        case .timezone: "Pacific/Auckland"
        case .pythonPath: folder.path
        case .resultFormat: "minimal"
        case .caFile: folder.path("ca.pem")
        case .clientCertificate: folder.path("other.pem")
        case .clientKey: folder.path("other.pem")
        case .connectTimeout: "7"
        case .requestTimeout: "77"
        case .historyDays: "7"
        case .historyLimit: "1007"
        case .missedRuns: "once"
        case .outboxLimit: "7 MiB"
        case .resultLimit: "7 MiB"
        case .shutdownGrace: "7"
        }
    }

    private func load(
        _ settings: [String: String] = [:], overrides: [String: String] = [:], environment: [String: String] = [:]
    ) throws -> AgentConfiguration {
        let all = ["server_url": "https://backend.example"].merging(settings) { $1 }
        let text = "[agent]\n" + all.sorted { $0.key < $1.key }.map { "\($0.key) = \($0.value)\n" }.joined()
        try Data(text.utf8).write(to: URL(filePath: folder.path("config.ini")))
        return try AgentConfiguration.load(
            file: folder.path("config.ini"), overrides: overrides, environment: environment)
    }

    /// A key of a certificate alone is wrong.
    private func companions(of key: ConfigurationKey) -> [String: String] {
        key == .clientKey ? ["client_certificate": folder.path("other.pem")] : [:]
    }

    @Test(arguments: ConfigurationKey.allCases)
    func isReadFromTheFileTheEnvironmentAndTheCommandLine(_ key: ConfigurationKey) throws {
        let others = companions(of: key)
        let before = try load(others)
        let fromFile = try load(others.merging([key.rawValue: value(of: key)]) { $1 })
        #expect(fromFile != before)
        #expect(try load(others, overrides: [key.rawValue: value(of: key)]) == fromFile)
        #expect(try load(others, environment: [key.environmentName: value(of: key)]) == fromFile)
    }

    @Test(arguments: ConfigurationKey.allCases)
    func aChangeIsTold(_ key: ConfigurationKey) throws {
        let others = companions(of: key)
        let current = CurrentConfiguration(try load(others))
        let (taken, needRestart) = current.take(from: try load(others.merging([key.rawValue: value(of: key)]) { $1 }))
        #expect(taken + needRestart == [key.rawValue])
        // Read anew, what is in effect is no change any more.
        let (again, stillNeed) = current.take(from: try load(others.merging([key.rawValue: value(of: key)]) { $1 }))
        #expect(again.isEmpty && stillNeed == needRestart)
    }

    /// `docs/configuration.md` lists those that need no restart.
    @Test func whatTakesEffectAtOnceIsDocumented() throws {
        let page = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../docs/configuration.md")
        let text = try String(contentsOf: page.standardized, encoding: .utf8)
        let start = try #require(text.range(of: "these take effect at once"))
        let end = try #require(text[start.upperBound...].range(of: "gone."))
        let named = Set(text[start.upperBound..<end.lowerBound].matches(of: /`([a-z_]+)`/).map { String($0.1) })
        for key in ConfigurationKey.allCases {
            let others = companions(of: key)
            let current = CurrentConfiguration(try load(others))
            let (taken, _) = current.take(from: try load(others.merging([key.rawValue: value(of: key)]) { $1 }))
            #expect(named.contains(key.rawValue) == !taken.isEmpty, "\(key.rawValue)")
        }
    }
}
