import AgentModel
import AgentTestSupport
import Diagnostics
import Foundation
import Sandbox
import Testing

@testable import Agent

/// `isolation = sandbox`, the section `[sandbox]`, and the policies of plugins.
@Suite struct SandboxConfigurationTests {
    private let folder: TemporaryFolder
    private var file: String { folder.path("config.ini") }

    init() throws { folder = try TemporaryFolder() }

    private func load(_ text: String, environment: [String: String] = [:]) throws -> AgentConfiguration {
        try Data(("[agent]\nserver_url = http://h\n" + text).utf8).write(to: URL(filePath: file))
        return try AgentConfiguration.load(file: file, environment: environment)
    }

    private func problems(_ text: String) throws -> [ConfigurationProblem] {
        do {
            _ = try load(text)
            return []
        } catch let error as ConfigurationError {
            return error.problems
        }
    }

    @Test func valuesOfTheEnvironmentThatMayBeSecretsAreHidden() throws {
        let configuration = try load(
            """
            [sandbox]
            environment = TOKEN=of-all-plugins, LANG=de_DE.UTF-8, FOLDER=/srv/data
            [plugin:a]
            environment = OTHER=of-plugin-a
            """)
        #expect(Set(configuration.environmentSecrets) == ["of-all-plugins", "of-plugin-a"])
        HiddenSecrets.add(configuration.environmentSecrets)
        #expect(HiddenSecrets.hidden(in: "no such user: of-plugin-a") == "no such user: (hidden)")
    }

    @Test func theSandboxCanBeChosenForAllAndForOne() throws {
        let all = try load("isolation = sandbox\n[plugin:a]\nisolation = in-process\n")
        #expect(all.pluginDefaults.isolation == .sandbox)
        #expect(all.settings(for: try PluginID("a")).isolation == .inProcess)
        #expect(all.settings(for: try PluginID("a")).sandboxPolicy(for: nil) == nil)
        let one = try load("[plugin:a]\nisolation = Sandbox\n")
        #expect(one.pluginDefaults.isolation == .inProcess)
        #expect(one.settings(for: try PluginID("a")).isolation == .sandbox)
        #expect(one.settings(for: try PluginID("a")).sandboxPolicy(for: nil)?.policy == SandboxPolicy())
    }

    @Test func readsEverySetting() throws {
        try FileManager.default.createDirectory(atPath: folder.path("data"), withIntermediateDirectories: false)
        let configuration = try load(
            """
            [sandbox]
            mode = Prefer
            user = 65534
            idle_timeout = 90
            read_paths = data:/usr/share
            write_paths = /var/lib/ours
              /var/lib/theirs
            network = dns, tcp:443
            memory = 1 GiB
            scratch = 2 MiB
            processes = 9
            cpu_seconds = 1.5
            environment = LANG=de_DE.UTF-8, TOKEN, ABSENT
              PATH=/opt/bin:/usr/bin, RATE=100%%
            programs = no
            api = results
            """, environment: ["TOKEN": "a=b", "OTHER": "x"])
        #expect(configuration.sandbox.mode == .prefer)
        #expect(configuration.sandbox.user?.user == 65534)
        #expect(configuration.sandbox.idleTimeout == .seconds(90))
        var policy = SandboxPolicy()
        policy.readPaths = [folder.path("data"), "/usr/share"]
        policy.writePaths = ["/var/lib/ours", "/var/lib/theirs"]
        policy.network = try #require(SandboxNetwork("dns,tcp:443"))
        policy.limits[.memory] = 1 << 30
        policy.limits[.scratch] = 2 << 20
        policy.limits[.processes] = 9
        policy.cpuTime = .milliseconds(1500)
        policy.environment = [
            "LANG": "de_DE.UTF-8", "TOKEN": "a=b", "PATH": "/opt/bin:/usr/bin", "RATE": "100%",
        ]
        policy.startsPrograms = false
        policy.api = .results
        #expect(configuration.pluginDefaults.policy == policy)
    }

    @Test func theDefaultsAreNarrow() throws {
        let configuration = try load("[sandbox]\n")
        #expect(configuration.sandbox == SandboxSettings())
        #expect(configuration.sandbox.mode == .require)
        #expect(configuration.pluginDefaults.policy == SandboxPolicy())
        #expect(SandboxPolicy().network == .none && SandboxPolicy().api == .none)
        #expect(try load("[sandbox]\nidle_timeout = 0\ncpu_seconds = 0\n").sandbox.idleTimeout == nil)
    }

    @Test func aPluginsPolicyStandsOnTheDefaults() throws {
        let configuration = try load(
            "[sandbox]\nnetwork = full\nmemory = 64 MiB\n[plugin:a]\nnetwork = none\napi = full\n")
        let policy = configuration.settings(for: try PluginID("a")).policy
        #expect(policy.network == .none)
        #expect(policy.limits[.memory] == 64 << 20)
        #expect(policy.api == .full)
        #expect(configuration.settings(for: try PluginID("b")).policy.network == .full)
    }

    @Test(arguments: [
        "mode = maybe", "user = root", "user = 0", "user = no-such-user-here", "user = 4294967295",
        "idle_timeout = -1", "network = udp:53", "network =", "network = none,tcp:1", "memory = 1 MiB",
        "memory = 2 TiB", "memory = much", "scratch = 1", "processes = 7", "processes = 100001", "cpu_seconds = -1",
        "programs = perhaps", "api = some", "read_paths = /", "read_paths = /proc", "write_paths = /proc/self",
        "read_paths = /usr:/", "read_paths = /usr/../proc",
    ])
    func aWrongValueIsNamedWithWhatIsAllowed(_ line: String) throws {
        let found = try problems("[sandbox]\n\(line)\n")
        let key = String(line.prefix { $0 != " " })
        guard case .invalidValue(key, _?, .file(file, 4), let allowed) = found.first else {
            Issue.record("\(found)")
            return
        }
        #expect(found.count == 1)
        #expect(!allowed.isEmpty)
        // What only concerns all plugins is no setting of one.
        let ofPlugin = try problems("[plugin:a]\n\(line)\n").map(\.code)
        let isOfAll = ["mode", "user", "idle_timeout"].contains(key)
        #expect(ofPlugin == [isOfAll ? "configuration.unknown_key" : "configuration.invalid_value"])
    }

    @Test(arguments: [
        "LD_PRELOAD=/x.so", "LD_LIBRARY_PATH", "RUNBOOK_AGENT_CLIENT_ID", "1A=x", "=x", "A-B=hunter2", "hunter2 x",
    ])
    func aWrongVariableIsRefusedAndNotShown(_ text: String) throws {
        let found = try problems("[sandbox]\nenvironment = OK=1, \(text)\n")
        #expect(found.map(\.code) == ["configuration.invalid_value"])
        #expect(!found.contains { $0.message.contains("hunter2") })
    }

    @Test func anUnknownNameIsNamedWithTheNearest() throws {
        #expect(
            try problems("[sandbox]\nnetwrok = none\n[plugin:a]\nread_path = /usr\n[sandbocks]\n") == [
                .unknownSection(name: "sandbocks", origin: .file(path: file, line: 7), nearest: "sandbox"),
                .unknownKey(name: "netwrok", origin: .file(path: file, line: 4), nearest: "network"),
                .unknownKey(name: "read_path", origin: .file(path: file, line: 6), nearest: "read_paths"),
            ])
    }

    @Test(arguments: [
        ("[plugin:a]", 10), ("[plugin-name:Disk usage]", 20), ("[plugin-name:Disk *]", 30), ("[plugin-name:*]", 40),
    ])
    func eachSettingIsOfTheStrongestSectionThatHasIt(_ strongest: String, _ expected: Int) throws {
        let sections = [
            ("[plugin-name:*]", 40), ("[plugin:a]", 10), ("[plugin-name:Disk *]", 30), ("[plugin-name:D?sk *]", 35),
            ("[plugin-name:Disk usage]", 20), ("[plugin-name:Other]", 50), ("[plugin:b]", 60),
        ]
        // Those that are stronger than it say nothing of this setting.
        let text = sections.map { title, seconds in
            title + (seconds < expected ? "\nconcurrency = 2\n" : "\ntask_timeout = \(seconds)\n")
        }
        let configuration = try load(text.joined() + "[sandbox]\nmemory = 64 MiB\n")
        let settings = configuration.settings(for: try PluginID("a"), named: "Disk usage")
        #expect(settings.taskTimeout == .seconds(expected), "\(strongest)")
        #expect(settings.concurrency == (expected > 10 ? 2 : 1))
        #expect(settings.policy.limits[.memory] == 64 << 20)
    }

    // Each publication has another id: version 2 of a sandboxed plugin ran in the agent's process.
    @Test func aNewVersionKeepsItsSandbox() throws {
        let configuration = try load("[plugin-name:Report*]\nisolation = sandbox\nnetwork = full\n")
        for id in ["v1", "v2"] {
            let settings = configuration.settings(for: try PluginID(id), named: "Reports")
            #expect(settings.isolation == .sandbox && settings.policy.network == .full)
        }
        #expect(configuration.settings(for: try PluginID("v1"), named: "Other").isolation == .inProcess)
        #expect(configuration.settings(for: try PluginID("v1")).isolation == .inProcess)
    }

    @Test(arguments: [
        ("a", "a", true), ("*", "", true), ("a*", "abc", true), ("*c", "abc", true), ("a*c*e", "abcde", true),
        ("a*c*e", "abcd", false), ("?", "", false), ("??", "é?", true), ("a?", "a", false), ("*a*b", "aab", true),
        ("*a?b", "aaab", true), ("A*", "abc", false), ("a.c*", "abc", false),
    ])
    func aPatternMatchesAsAShellsDoes(_ pattern: String, _ name: String, _ matches: Bool) throws {
        let configuration = try load("[plugin-name:\(pattern)]\nconcurrency = 5\n")
        #expect(configuration.settings(for: try PluginID("x"), named: name).concurrency == (matches ? 5 : 1))
    }

    @Test(arguments: ["[plugin-name:]", "[plugin:]", "[plugin:a b]"])
    func aTitleWithoutAPluginIsRefused(_ title: String) throws {
        #expect(try problems(title + "\n").map(\.code) == ["configuration.invalid_value"])
    }

    @Test(arguments: [
        ("network = none\n", "[sandbox] or [plugin:PLUGIN_ID] or [plugin-name:NAME]"),
        ("idle_timeout = 5\n", "[sandbox]"),
        ("[sandbox]\nworkers = 2\n", "[agent]"), ("[plugin:a]\nmode = prefer\n", "[sandbox]"),
        ("concurrency = 2\n", "[plugin:PLUGIN_ID] or [plugin-name:NAME]"),
    ])
    func aSettingInTheWrongSectionIsToldTheRightOne(_ text: String, _ sections: String) throws {
        let found = try problems(text)
        #expect(found.map(\.code) == ["configuration.unknown_key"])
        #expect(found.first?.message.hasSuffix("write it in \(sections)") == true, "\(found.map(\.message))")
    }

    // MARK: What is the agent's own

    @Test(
        arguments: ["state", "plugins", "login.key", "config.ini", "agent.pem", "elsewhere"],
        ["read_paths", "write_paths"])
    func theAgentsOwnIsRefused(_ name: String, _ key: String) throws {
        let settings =
            "state_directory = \(folder.path("elsewhere/../state"))\nkey_file = login.key\n"
            + "client_certificate = agent.pem\n"
        let own = folder.path("elsewhere")
        try FileManager.default.createDirectory(atPath: own, withIntermediateDirectories: false)
        try FileManager.default.createDirectory(atPath: folder.path("state"), withIntermediateDirectories: false)
        // The folder itself, one in it, one that holds it, and a link that leads to it.
        try FileManager.default.createSymbolicLink(
            atPath: folder.path("elsewhere/link"), withDestinationPath: folder.path("state"))
        let paths =
            name == "elsewhere"
            ? [folder.path("elsewhere/link"), folder.path("elsewhere/link/deeper")]
            : [folder.path(name), folder.path(name + "/x"), folder.path]
        for path in paths {
            let found = try problems(settings + "[sandbox]\n\(key) = /usr/share:\(path)\n")
            #expect(found.map(\.code) == ["configuration.invalid_value"], "\(path)")
            #expect(found.first?.message.contains("the agent's own") == true, "\(found)")
        }
    }

    @Test(arguments: ["python_path = .", "python_path = lib:./state", "state_directory = /usr/local/agent"])
    func whatEveryChildMayReadHoldsNothingOfTheAgents(_ line: String) throws {
        #expect(try problems("isolation = sandbox\n\(line)\n").map(\.code) == ["configuration.exposed_file"])
        #expect(
            try problems("\(line)\n[plugin:a]\nisolation = sandbox\n").map(\.code) == ["configuration.exposed_file"])
        #expect(try problems("\(line)\n").isEmpty)
    }

    @Test func aStateDirectoryBehindALinkIsFound() throws {
        try FileManager.default.createDirectory(atPath: folder.path("real"), withIntermediateDirectories: false)
        try FileManager.default.createSymbolicLink(
            atPath: folder.path("alias"), withDestinationPath: folder.path("real"))
        for path in ["real", "alias"] {
            let found = try problems("state_directory = alias/state\n[plugin:a]\nread_paths = \(folder.path(path))\n")
            #expect(found.map(\.code) == ["configuration.invalid_value"], "\(path)")
        }
        #expect(try problems("state_directory = alias/state\n[sandbox]\nread_paths = realX\n").isEmpty)
    }

    @Test func linksAreFollowedOnceAndForAll() throws {
        try FileManager.default.createDirectory(atPath: folder.path("data"), withIntermediateDirectories: false)
        try FileManager.default.createSymbolicLink(atPath: folder.path("alias"), withDestinationPath: "data")
        try FileManager.default.createSymbolicLink(atPath: folder.path("nowhere"), withDestinationPath: "absent")
        #expect(try load("[sandbox]\nread_paths = alias\n").pluginDefaults.policy.readPaths == [folder.path("data")])
        #expect(
            try problems("[sandbox]\nread_paths = nowhere\n").map(\.code) == ["configuration.invalid_value"])
    }

    /// A plugin that may write to a folder must not have another's rules bind elsewhere.
    @Test func linksOfPluginsAreNotFollowed() throws {
        for name in ["shared", "secret", "shared/own"] {
            try FileManager.default.createDirectory(atPath: folder.path(name), withIntermediateDirectories: false)
        }
        try FileManager.default.createSymbolicLink(atPath: folder.path("shared/in"), withDestinationPath: "../secret")
        try FileManager.default.createSymbolicLink(atPath: folder.path("alias"), withDestinationPath: "shared")
        let writer = "[plugin:a]\nisolation = sandbox\nwrite_paths = "
        for (written, read) in [("shared", "shared/in"), ("alias", "shared/in/deeper"), ("shared", "alias/in")] {
            for key in ["read_paths", "write_paths"] {
                let found = try problems(
                    "\(writer)\(written)\n[plugin:b]\nisolation = sandbox\n\(key) = \(read)\n")
                #expect(found.map(\.code) == ["configuration.link_of_plugin"], "\(written) \(key) \(read)")
                #expect(found.first?.message.contains(folder.path("shared/in")) == true)
            }
        }
        // The operator's own, and what is no link.
        #expect(try problems("\(writer)shared/own\n[plugin:b]\nread_paths = shared/in:alias\n").isEmpty)
        #expect(try problems("\(writer)alias\n[plugin:b]\nread_paths = shared/own\n").isEmpty)
    }

    /// What a child left is a child's also where nobody's section names the folder any more.
    @Test(.enabled(if: geteuid() == 0, "only root can give a link away"))
    func linksThatBelongToAChildAreNotFollowed() throws {
        try FileManager.default.createDirectory(atPath: folder.path("secret"), withIntermediateDirectories: false)
        for (name, owner) in [("unnamed", uid_t(0x7000_0001)), ("named", 65534), ("own", 1234)] {
            try FileManager.default.createSymbolicLink(atPath: folder.path(name), withDestinationPath: "secret")
            lchown(folder.path(name), owner, owner)
        }
        let settings = "[sandbox]\nuser = 65534\nread_paths = "
        for name in ["unnamed", "named"] {
            #expect(try problems(settings + name + "\n").map(\.code) == ["configuration.link_of_plugin"], "\(name)")
        }
        #expect(try problems(settings + "own\n").isEmpty)
    }

    @Test func whatTheAgentBelievesAndRunsIsNotToBeWritten() throws {
        for name in ["ca", "lib", "data"] {
            try FileManager.default.createDirectory(atPath: folder.path(name), withIntermediateDirectories: false)
        }
        try Data().write(to: URL(filePath: folder.path("ca/ca.pem")))
        let settings = "ca_file = ca/ca.pem\npython_path = lib\n[sandbox]\n"
        let executable = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        for path in ["ca", "ca/ca.pem", "lib", "lib/deeper", executable, URL(filePath: executable + "/..").path()] {
            let found = try problems("\(settings)write_paths = data:\(path)\n")
            #expect(found.map(\.code) == ["configuration.invalid_value"], "\(path): \(found)")
            #expect(found.first?.message.contains("the agent's own") == true)
        }
        // They may be read.
        #expect(try problems("\(settings)read_paths = ca\nwrite_paths = data\n").isEmpty)
    }

    @Test func everySettingIsDocumented() throws {
        let docs = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../docs/")
        for name in ["configuration.md", "sandbox.md"] {
            let text = try String(contentsOf: docs.appending(path: name).standardizedFileURL, encoding: .utf8)
            for key in SandboxKey.allCases.map(\.rawValue) + PolicyKey.names {
                #expect(text.contains("`\(key)`"), "\(name): \(key)")
            }
        }
    }

    @Test func theExamplesInTheDocumentationWork() throws {
        let page = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../docs/sandbox.md").standardizedFileURL
        let text = try String(contentsOf: page, encoding: .utf8)
        let examples = text.components(separatedBy: "```ini\n").dropFirst()
            .compactMap { $0.components(separatedBy: "```").first }
        #expect(examples.count == 4)
        for example in examples {
            // This host has no such user.
            let configured = example.replacing("user = reports\n", with: "")
                .replacing("[agent]\nserver_url = https://backend.example\n", with: "")
            let configuration = try load(configured, environment: ["API_TOKEN": "x"])
            let isolations = configuration.pluginSections.map(\.isolation) + [configuration.pluginDefaults.isolation]
            #expect(isolations.contains(.sandbox))
        }
    }

    // MARK: While the agent runs

    @Test func aReloadTakesPoliciesAndLeavesTheRest() throws {
        let current = CurrentConfiguration(try load("[sandbox]\nnetwork = none\n[plugin:a]\n"))
        let other = try load(
            "isolation = sandbox\n[sandbox]\nnetwork = full\nidle_timeout = 5\n[plugin:a]\napi = full\n")
        let (taken, needRestart) = current.take(from: other)
        #expect(taken == ["isolation", "[sandbox]", "[plugin:a]"])
        #expect(needRestart == ["[sandbox]"])
        #expect(current.value.pluginDefaults.policy.network == .full)
        #expect(current.value.sandbox.idleTimeout == nil)
    }
}
