import AgentModel
import AgentTestSupport
import Foundation
import Testing

@testable import Agent

@Suite final class ConfigurationTests {
    private let folder: String
    private var file: String { folder + "/config.ini" }

    init() throws {
        folder = FileManager.default.temporaryDirectory.resolvingSymlinksInPath().path + "/\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    private func load(
        _ text: String, overrides: [String: String] = [:], environment: [String: String] = [:]
    ) throws -> AgentConfiguration {
        try Data(text.utf8).write(to: URL(fileURLWithPath: file))
        return try AgentConfiguration.load(file: file, overrides: overrides, environment: environment)
    }

    private func problems(
        _ text: String, overrides: [String: String] = [:], environment: [String: String] = [:]
    ) throws -> [ConfigurationProblem] {
        do {
            _ = try load(text, overrides: overrides, environment: environment)
            return []
        } catch let error as ConfigurationError {
            #expect(error.code == error.problems[0].code)
            return error.problems
        }
    }

    @Test func theFirstAgentsFileWorksUnchanged() throws {
        let configuration = try load(
            """
            [agent]
            server_url=https://backend.example/
            client_id=9ab56426-2e3f-4a2c-9d0a-0d6f5a1b7c11
            auth=True
            force_redownload=False
            plugin_directory=plugins
            """)
        var expected = AgentConfiguration(directory: folder)
        expected.file = file
        expected.serverURL = "https://backend.example"
        expected.clientID = "9ab56426-2e3f-4a2c-9d0a-0d6f5a1b7c11"
        #expect(configuration == expected)
        #expect(configuration.pluginDirectory == folder + "/plugins")
        #expect(configuration.stateDirectory == folder + "/state")
        #expect(configuration.pollInterval == .seconds(60))
        #expect(configuration.workers == 4)
        #expect(configuration.historyDays == 30 && configuration.historyLimit == 100_000)
        #expect(configuration.pluginDefaults.taskTimeout == .seconds(3600))
    }

    @Test func readsEverySetting() throws {
        let configuration = try load(
            """
            [agent]
            server_url = http://127.0.0.1:8787/base
            client_id =
            auth = off
            allow_insecure = yes
            scope = a b
            device_code_path = /d
            token_path = /t
            revocation_path = /r
            key_file = k
            force_redownload = yes
            plugin_directory = /var/lib/p
            state_directory = ../s
            poll_interval = 2.5
            workers = 8
            isolation = In-Process
            task_timeout = 0
            timezone = Europe/Berlin
            python_path = lib:/opt/lib
              more lib
            result_format = minimal
            ca_file = ca.pem
            client_certificate = c.pem
            client_key = k.pem
            connect_timeout = 3
            request_timeout = 20
            history_days = 7
            history_limit = 0
            missed_runs = once
            outbox_limit = 200 MiB
            shutdown_grace = 0

            [plugin:Abc-1]
            task_timeout = 1.5
            concurrency = 3
            [plugin:def]
            """)
        let parent = URL(fileURLWithPath: folder).deletingLastPathComponent().path
        #expect(configuration.serverURL == "http://127.0.0.1:8787/base")
        #expect(configuration.clientID == nil)
        #expect(configuration.allowInsecure && configuration.scope == "a b" && configuration.keyFile == folder + "/k")
        #expect(
            [configuration.deviceCodePath, configuration.tokenPath, configuration.revocationPath] == ["/d", "/t", "/r"])
        #expect(!configuration.auth && configuration.forceRedownload)
        #expect(configuration.pluginDirectory == "/var/lib/p")
        #expect(configuration.stateDirectory == parent + "/s")
        #expect(configuration.pollInterval == .milliseconds(2500))
        #expect(configuration.workers == 8)
        #expect(configuration.timezone == "Europe/Berlin")
        #expect(configuration.pythonPath == [folder + "/lib", "/opt/lib", folder + "/more lib"])
        #expect(configuration.resultFormat == .minimal)
        #expect(configuration.caFile == folder + "/ca.pem")
        #expect(configuration.clientCertificate == folder + "/c.pem")
        #expect(configuration.clientKey == folder + "/k.pem")
        #expect(configuration.connectTimeout == .seconds(3))
        #expect(configuration.requestTimeout == .seconds(20))
        #expect(configuration.historyDays == 7 && configuration.historyLimit == 0)
        #expect(configuration.missedRuns == .once)
        #expect(configuration.outboxLimit == 200 << 20)
        #expect(configuration.shutdownGrace == .zero)
        #expect(configuration.pluginDefaults == PluginSettings(taskTimeout: nil))
        #expect(
            configuration.settings(for: try PluginID("Abc-1"))
                == PluginSettings(taskTimeout: .milliseconds(1500), concurrency: 3))
        #expect(configuration.settings(for: try PluginID("def")) == PluginSettings(taskTimeout: nil))
        #expect(configuration.settings(for: try PluginID("other")) == PluginSettings(taskTimeout: nil))
    }

    @Test func strongerSourcesWin() throws {
        let text = "[agent]\nserver_url = http://file\nworkers = 1\npoll_interval = 1\nca_file = ca.pem\n"
        let environment = [
            "RUNBOOK_AGENT_WORKERS": "2", "RUNBOOK_AGENT_POLL_INTERVAL": "2", "RUNBOOK_AGENT_CA_FILE": "",
            "PATH": "/bin",
        ]
        let configuration = try load(text, overrides: ["workers": "3"], environment: environment)
        #expect(configuration.serverURL == "http://file")
        #expect(configuration.workers == 3)
        #expect(configuration.pollInterval == .seconds(2))
        // Empty takes a weaker source's value away.
        #expect(configuration.caFile == nil)
    }

    @Test func pathsAreRelativeToWhereTheyStand() throws {
        let configuration = try load(
            "[agent]\nserver_url = http://h\nplugin_directory = p\n", overrides: ["state_directory": "s"])
        #expect(configuration.pluginDirectory == folder + "/p")
        #expect(configuration.stateDirectory == FileManager.default.currentDirectoryPath + "/s")
    }

    @Test func noFileIsNeeded() throws {
        let configuration = try AgentConfiguration.load(
            file: nil, environment: ["RUNBOOK_AGENT_SERVER_URL": "http://h", "RUNBOOK_AGENT_PORT": "tcp://10.0.0.1"],
            defaultFile: nil)
        #expect(configuration.file == nil)
        #expect(configuration.serverURL == "http://h")
        // Such as Kubernetes sets for a service of that name.
        #expect(configuration.unknownEnvironmentNames == ["RUNBOOK_AGENT_PORT"])
        let local = try AgentConfiguration.load(
            file: nil, environment: [:], requiresServer: false, defaultFile: folder + "/absent.ini")
        #expect(local.serverURL == nil)
    }

    @Test func theEnvironmentMayNameTheFile() throws {
        try Data("[agent]\nserver_url = http://named\n".utf8).write(to: URL(fileURLWithPath: file))
        let configuration = try AgentConfiguration.load(file: nil, environment: ["RUNBOOK_AGENT_CONFIG": file])
        #expect(configuration.serverURL == "http://named")
        #expect(configuration.unknownEnvironmentNames == [])
        #expect(throws: ConfigurationError.self) {
            try AgentConfiguration.load(file: nil, environment: ["RUNBOOK_AGENT_CONFIG": folder + "/absent.ini"])
        }
    }

    @Test func aFileThatCannotBeReadIsNamed() throws {
        try Data([0x5B, 0xFF]).write(to: URL(fileURLWithPath: folder + "/latin.ini"))
        try Data(count: (1 << 20) + 1).write(to: URL(fileURLWithPath: folder + "/large.ini"))
        mkfifo(folder + "/pipe", 0o600)
        for name in ["absent.ini", "", "latin.ini", "large.ini", "pipe"] {
            let path = folder + (name.isEmpty ? "" : "/" + name)
            let error = #expect(throws: ConfigurationError.self) {
                try AgentConfiguration.load(file: path, environment: [:])
            }
            #expect(error?.code == "configuration.unreadable_file")
            #expect(error?.message.contains("\"\(path)\"") == true)
        }
    }

    @Test(arguments: [
        ("True", true), ("yes", true), ("ON", true), ("1", true), ("FALSE", false), ("No", false), ("off", false),
        ("0", false), ("", false),
    ])
    func booleansAreThoseOfConfigparser(_ text: String, _ expected: Bool) throws {
        #expect(try load("[agent]\nserver_url = http://h\nauth = \(text)\n").auth == expected)
        let environment = ["RUNBOOK_AGENT_AUTH": text]
        #expect(try load("[agent]\nserver_url = http://h\n", environment: environment).auth == expected)
    }

    @Test(arguments: [
        "token_path = oauth", "token_path = //evil.example/t", "device_code_path = https://evil.example/",
        "revocation_path = /r?x", "allow_insecure = perhaps", "auth = maybe", "auth = 2", "workers = 0",
        "workers = 257", "workers = four", "workers =", "workers = -1",
        "poll_interval = 0", "poll_interval = 1e9", "poll_interval = nan", "poll_interval = 60sec", "task_timeout = -1",
        "isolation = none", "result_format = xml", "server_url = backend.example", "server_url = ftp://h",
        "server_url = http://h:0", "server_url = http://h:99999", "server_url = https://h:x/api",
        "server_url = http://b\u{FC}cher.example",
        "server_url = http://", "plugin_directory =", "connect_timeout = 0",
        "request_timeout = 99999999", "history_days = 0", "history_days = 1.5", "history_limit = -1",
        "missed_runs = all", "outbox_limit = 1 KiB", "outbox_limit = 9999999 TiB",
        "outbox_limit = many", "shutdown_grace = -1", "timezone = a\n  b",
    ])
    func aWrongValueIsNamedWithWhatIsAllowed(_ line: String) throws {
        let server = line.hasPrefix("server_url") ? "" : "server_url = http://h\n"
        let found = try problems("[agent]\n\(line)\n\(server)")
        let key = String(line.prefix { $0 != " " })
        guard case .invalidValue(key, let value?, .file(file, 2), let allowed) = found.first else {
            Issue.record("\(found)")
            return
        }
        #expect(found.count == 1)
        #expect(!allowed.isEmpty)
        #expect(line.hasPrefix(key + " =") && (value.isEmpty || line.contains(value.prefix(1))))
    }

    @Test func aSecretIsNotShown() throws {
        let found = try problems(
            "[agent]\nserver_url = https://user:hunter2@h\n", environment: ["RUNBOOK_AGENT_CLIENT_ID": "hunter2\n"])
        #expect(found.map(\.code) == ["configuration.invalid_value", "configuration.invalid_value"])
        #expect(!found.contains { $0.message.contains("hunter2") })
        #expect(found.last?.message.contains("\"RUNBOOK_AGENT_CLIENT_ID\"") == true)
        let query = try problems("[agent]\nserver_url = https://h/?token=hunter2\n")
        #expect(query.map(\.code) == ["configuration.invalid_value"])
        #expect(!query.contains { $0.message.contains("hunter2") })
    }

    @Test func anUnknownNameIsNamedWithTheNearest() throws {
        let found = try problems(
            "[agent]\nserver_url = http://h\npoll_intervall = 1\n[agnet]\nx = 1\n[plugin:a]\nconcurency = 2\n",
            overrides: ["wrokers": "2"])
        #expect(
            found == [
                .unknownKey(name: "wrokers", origin: .commandLine, nearest: "workers"),
                .unknownKey(name: "poll_intervall", origin: .file(path: file, line: 3), nearest: "poll_interval"),
                .unknownSection(name: "agnet", origin: .file(path: file, line: 4), nearest: "agent"),
                .unknownKey(name: "concurency", origin: .file(path: file, line: 7), nearest: "concurrency"),
            ])
    }

    @Test(arguments: [
        ("90", 90), ("90 s", 90), ("1.5min", 90), ("500 ms", 0.5), ("2 H", 7200), ("1 d", 86_400), ("0.1", 0.1),
    ])
    func aTimeMayHaveAUnit(_ text: String, _ seconds: Double) throws {
        let configuration = try load("[agent]\nserver_url = http://h\npoll_interval = \(text)\n")
        #expect(configuration.pollInterval == .milliseconds(Int64(seconds * 1000)))
    }

    @Test(arguments: ["", "s", "5 weeks", "-1 s", "2 d", "1 2", "1,5 s", "nan", "1e3", "0.05 s"])
    func aTimeWithoutAMeaningIsRefused(_ text: String) throws {
        let found = try problems("[agent]\nserver_url = http://h\npoll_interval = \(text)\n")
        #expect(found.map(\.code) == ["configuration.invalid_value"])
        #expect(found.first?.message.contains("1.5 min") == true, "\(found.map(\.message))")
    }

    @Test func theSystemsFileIsTheLastOneLookedFor() throws {
        let folder = try TemporaryFolder()
        let here = folder.path("config.ini")
        let system = folder.path("system.ini")
        func found() -> String? {
            ConfigurationFile.path(named: nil, environment: [:], default: here, system: system)
        }
        #expect(ConfigurationFile.systemFile == "/etc/runbook-agent/config.ini")
        #expect(found() == nil)
        #expect(FileManager.default.createFile(atPath: system, contents: nil))
        #expect(found() == system)
        #expect(FileManager.default.createFile(atPath: here, contents: nil))
        #expect(found() == here)
        #expect(ConfigurationFile.path(named: "/x", environment: [:], default: here, system: system) == "/x")
    }

    @Test func defaultsHoldInEverySection() throws {
        let configuration = try load(
            """
            [DEFAULT]
            root = /srv
            task_timeout = 5
            [agent]
            server_url = http://h
            plugin_directory = %(root)s/plugins
            [plugin:a]
            """)
        #expect(configuration.pluginDirectory == "/srv/plugins")
        #expect(configuration.settings(for: try PluginID("a")).taskTimeout == .seconds(5))
        let found = try problems("[DEFAULT]\nunused = 1\n[agent]\nserver_url = http://h\n")
        #expect(found.map(\.code) == ["configuration.unknown_key"])
    }

    @Test func everythingWrongIsSaidAtOnce() throws {
        let error = #expect(throws: ConfigurationError.self) {
            try load("[agent]\nworkers = x\nclient_key = k\nnonsense\n[plugin:../x]\n")
        }
        #expect(
            error?.problems.map(\.code).sorted() == [
                "configuration.invalid_value", "configuration.invalid_value", "configuration.missing_value",
                "configuration.missing_value", "configuration.syntax",
            ])
        #expect(error?.message.hasPrefix("the configuration has 5 errors: (1) ") == true)
    }

    @Test func everySettingIsDocumented() throws {
        let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../docs/configuration.md").standardizedFileURL
        let text = try String(contentsOf: page, encoding: .utf8)
        for key in ConfigurationKey.allCases {
            #expect(text.contains("`\(key.rawValue)`"), "\(key.rawValue)")
            #expect(text.contains("`\(key.environmentName)`"), "\(key.environmentName)")
        }
    }
}
