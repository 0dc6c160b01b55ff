import AgentModel
import Foundation
import Sandbox

extension AgentConfiguration {
    /// Reads the configuration: command line, then environment, then file, then defaults.
    ///
    /// Relative paths are relative to the folder of the file where they stand in it or are defaults, and to the
    /// current directory otherwise.
    /// - Parameters:
    ///   - file: as the user named it; it must be there. Nil: what `RUNBOOK_AGENT_CONFIG` names, else `defaultFile`,
    ///     else `/etc/runbook-agent/config.ini`, if it is there.
    ///   - overrides: from the command line, by the names of the section `[agent]`.
    ///   - environment: the process's.
    ///   - requiresServer: whether `server_url` must be set.
    ///   - defaultFile: nil for none.
    /// - Throws: ``ConfigurationError`` with everything that is wrong.
    public static func load(
        file: String?, overrides: [String: String] = [:], environment: [String: String], requiresServer: Bool = true,
        defaultFile: String? = "config.ini"
    ) throws(ConfigurationError) -> AgentConfiguration {
        let file = ConfigurationFile.path(named: file, environment: environment, default: defaultFile)
        let document = try file.map { path throws(ConfigurationError) in
            INIDocument(try ConfigurationFile.text(of: path), path: path)
        }
        var loader = ConfigurationLoader(file: file, document: document, overrides: overrides, environment: environment)
        return try loader.load(requiresServer: requiresServer)
    }
}

/// Makes a configuration of its sources, collecting what is wrong with them.
struct ConfigurationLoader {
    let document: INIDocument?
    private let overrides: [String: String]
    let environment: [String: String]
    private let fileDirectory: String
    var problems: [ConfigurationProblem]
    /// Of the paths of policies.
    var followedLinks: [FollowedLink] = []
    private var layers: ConfigurationLayers
    var configuration: AgentConfiguration
    /// Names of the file that `%(name)s` was replaced by.
    var used: Set<String> = []

    private static let agentSection = "agent"
    private static let pluginPrefix = "plugin:"
    private static let pluginNamePrefix = "plugin-name:"

    init(file: String?, document: INIDocument?, overrides: [String: String], environment: [String: String]) {
        self.document = document
        self.overrides = overrides
        self.environment = environment
        fileDirectory =
            file.map { URL(fileURLWithPath: $0).deletingLastPathComponent().path }
            ?? FileManager.default.currentDirectoryPath
        configuration = AgentConfiguration(directory: fileDirectory)
        configuration.file = file
        problems = document?.problems ?? []
        let section = document?.sections.first { $0.name == Self.agentSection } ?? .init(name: "", line: 0)
        let entries = document?.settings(of: section, used: &used, problems: &problems) ?? []
        layers = ConfigurationLayers(
            overrides: overrides, environment: environment, entries: entries, path: file ?? "")
    }

    mutating func load(requiresServer: Bool) throws(ConfigurationError) -> AgentConfiguration {
        refuseUnknownNames()
        readConnection(requiresServer: requiresServer)
        readOperation()
        readSandbox()
        readPlugins()
        refuseExposedFiles()
        refuseLinksOfPlugins()
        refuseUntrustedFiles()
        refuseUnusedDefaults()
        if let first = problems.first { throw ConfigurationError(first, Array(problems.dropFirst())) }
        return configuration
    }

    private mutating func readConnection(requiresServer: Bool) {
        set(.serverURL, \.serverURL, SettingParser.serverURL)
        if requiresServer, layers.value(of: .serverURL)?.text.isEmpty ?? true {
            problems.append(.missingValue(key: .serverURL))
        }
        set(.clientID, \.clientID, SettingParser.line)
        setPath(.caFile, \.caFile)
        setPath(.clientCertificate, \.clientCertificate)
        setPath(.clientKey, \.clientKey)
        if configuration.clientKey != nil, configuration.clientCertificate == nil {
            problems.append(.missingValue(key: .clientCertificate))
        }
        set(.auth, \.auth, SettingParser.boolean)
        set(.allowInsecure, \.allowInsecure, SettingParser.boolean)
        set(.scope, \.scope, SettingParser.line)
        set(.deviceCodePath, \.deviceCodePath, SettingParser.urlPath)
        set(.tokenPath, \.tokenPath, SettingParser.urlPath)
        set(.revocationPath, \.revocationPath, SettingParser.urlPath)
        setPath(.keyFile, \.keyFile)
        configuration.credentialsDirectory = environment["CREDENTIALS_DIRECTORY"]
        set(.connectTimeout, \.connectTimeout) { text throws(SettingParser.Refusal) in
            try SettingParser.seconds(text, 0.1...3600)
        }
        set(.requestTimeout, \.requestTimeout) { text throws(SettingParser.Refusal) in
            try SettingParser.seconds(text, 0.1...86_400)
        }
    }

    private mutating func readOperation() {
        set(.forceRedownload, \.forceRedownload, SettingParser.boolean)
        setPath(.pluginDirectory, \.pluginDirectory)
        setPath(.stateDirectory, \.stateDirectory)
        set(.pollInterval, \.pollInterval) { text throws(SettingParser.Refusal) in
            try SettingParser.seconds(text, 0.1...86_400)
        }
        set(.workers, \.workers) { text throws(SettingParser.Refusal) in try SettingParser.integer(text, 1...256) }
        set(.workersMax, \.workersMax) { text throws(SettingParser.Refusal) in
            try SettingParser.integer(text, 1...1024)
        }
        set(.timezone, \.timezone, SettingParser.line)
        set(.resultFormat, \.resultFormat) { text throws(SettingParser.Refusal) in
            try SettingParser.choice(text, of: ResultFormat.self)
        }
        set(.historyDays, \.historyDays) { text throws(SettingParser.Refusal) in
            try SettingParser.integer(text, 1...36_500)
        }
        set(.historyLimit, \.historyLimit) { text throws(SettingParser.Refusal) in
            try SettingParser.integer(text, 0...10_000_000)
        }
        set(.missedRuns, \.missedRuns) { text throws(SettingParser.Refusal) in
            try SettingParser.choice(text, of: Scheduler.MissedRuns.self)
        }
        set(.outboxLimit, \.outboxLimit) { text throws(SettingParser.Refusal) in
            try SettingParser.bytes(text, (1 << 20)...(1 << 50))
        }
        set(.resultLimit, \.resultLimit) { text throws(SettingParser.Refusal) in
            // A message of a sandboxed process has a limit too.
            try SettingParser.bytes(text, 1024...(64 << 20))
        }
        set(.shutdownGrace, \.shutdownGrace) { text throws(SettingParser.Refusal) in
            try SettingParser.seconds(text, 0...86_400)
        }
        if let (text, origin) = layers.value(of: .pythonPath) {
            let directory = directory(for: origin)
            read(ConfigurationKey.pythonPath.rawValue, text, origin) { text throws(SettingParser.Refusal) in
                try SettingParser.paths(text, in: directory)
            }.map { configuration.pythonPath = $0 }
        }
        if let (text, origin) = layers.value(of: .isolation) {
            read(ConfigurationKey.isolation.rawValue, text, origin) { text throws(SettingParser.Refusal) in
                try SettingParser.choice(text, of: Isolation.self)
            }.map { configuration.pluginDefaults.isolation = $0 }
        }
        if let (text, origin) = layers.value(of: .taskTimeout) {
            read(ConfigurationKey.taskTimeout.rawValue, text, origin, SettingParser.timeLimit)
                .map { configuration.pluginDefaults.taskTimeout = $0 }
        }
        if let (text, origin) = layers.value(of: .keepPrograms) {
            read(ConfigurationKey.keepPrograms.rawValue, text, origin, SettingParser.boolean)
                .map { configuration.pluginDefaults.keepsPrograms = $0 }
        }
    }

    private mutating func readPlugins() {
        guard let document else { return }
        for section in document.sections {
            guard let subject = subject(of: section, in: document) else { continue }
            let own = Set(section.entries.map(\.name))
            var result = PluginSection(subject: subject)
            for entry in document.settings(of: section, used: &used, problems: &problems) {
                let origin = document.origin(entry.line)
                switch PluginSettingKey(entry.name) {
                case .plugin(let key): read(key, entry.value, origin, into: &result.values)
                case .policy(let key): read(key, entry.value, origin, into: &result.values.policy)
                case nil:
                    guard own.contains(entry.name) else { continue }
                    refuse(
                        entry, known: PluginKey.allCases.map(\.rawValue) + PolicyKey.names,
                        elsewhere: Self.sections(with: entry.name))
                    continue
                }
                guard let key = PluginSettingKey(entry.name) else { continue }
                if own.contains(entry.name) { result.own.insert(key) } else { result.inherited.insert(key) }
            }
            configuration.pluginSections.append(result)
        }
    }

    /// Which plugins a section is for; nil where it isn't one of plugins, or its title is wrong.
    private mutating func subject(
        of section: INIDocument.Section, in document: INIDocument
    ) -> PluginSection.Subject? {
        let origin = document.origin(section.line)
        if section.name.hasPrefix(Self.pluginPrefix) {
            let text = String(section.name.dropFirst(Self.pluginPrefix.count))
            if let id = try? PluginID(text) { return .id(id) }
            problems.append(
                .invalidValue(
                    key: "[\(section.name)]", value: text, origin: origin,
                    allowed: "a plugin's id: 1 to 128 of A-Z a-z 0-9 . _ - that begin with a letter or digit"))
        } else if section.name.hasPrefix(Self.pluginNamePrefix) {
            let text = String(section.name.dropFirst(Self.pluginNamePrefix.count))
            if !text.isEmpty { return NamePattern(text).map { .pattern($0) } ?? .name(text) }
            problems.append(
                .invalidValue(
                    key: "[\(section.name)]", value: text, origin: origin,
                    allowed: "the name of a plugin, or a pattern with * and ?"))
        }
        return nil
    }

    private mutating func read(
        _ key: PluginKey, _ text: String, _ origin: ConfigurationOrigin, into settings: inout PluginSettings
    ) {
        switch key {
        case .isolation:
            read(key.rawValue, text, origin) { text throws(SettingParser.Refusal) in
                try SettingParser.choice(text, of: Isolation.self)
            }.map { settings.isolation = $0 }
        case .taskTimeout:
            read(key.rawValue, text, origin, SettingParser.timeLimit).map { settings.taskTimeout = $0 }
        case .concurrency:
            read(key.rawValue, text, origin) { text throws(SettingParser.Refusal) in
                try SettingParser.integer(text, 1...256)
            }.map { settings.concurrency = $0 }
        case .keepPrograms:
            read(key.rawValue, text, origin, SettingParser.boolean).map { settings.keepsPrograms = $0 }
        case .idempotent:
            read(key.rawValue, text, origin, SettingParser.boolean).map { settings.isIdempotent = $0 }
        }
    }

    private mutating func refuseUnknownNames() {
        let known = ConfigurationKey.allCases.map(\.rawValue)
        for name in overrides.keys.sorted() where !known.contains(name) {
            let sections = Self.sections(with: name)
            problems.append(
                sections.isEmpty
                    ? .unknownKey(name: name, origin: .commandLine, nearest: nearest(to: name, among: known))
                    : .misplacedKey(name: name, origin: .commandLine, sections: sections))
        }
        configuration.unknownEnvironmentNames = environment.keys.filter { name in
            name.hasPrefix(ConfigurationKey.environmentPrefix) && name != ConfigurationFile.environmentName
                && !ConfigurationKey.allCases.contains { $0.environmentName == name }
        }.sorted()
        for section in document?.sections ?? [] {
            if section.name == Self.agentSection {
                for entry in section.entries where !known.contains(entry.name) {
                    refuse(entry, known: known, elsewhere: Self.sections(with: entry.name))
                }
            } else if section.name != Self.sandboxSection, !section.name.hasPrefix(Self.pluginPrefix),
                !section.name.hasPrefix(Self.pluginNamePrefix), let document
            {
                let sections = [
                    Self.agentSection, Self.sandboxSection, Self.pluginPrefix + "PLUGIN_ID",
                    Self.pluginNamePrefix + "NAME",
                ]
                problems.append(
                    .unknownSection(
                        name: section.name, origin: document.origin(section.line),
                        nearest: nearest(to: section.name, among: sections)))
            }
        }
    }

    /// A setting of `[DEFAULT]` must be one of ours, or be referred to.
    private mutating func refuseUnusedDefaults() {
        let known =
            ConfigurationKey.allCases.map(\.rawValue) + PluginKey.allCases.map(\.rawValue)
            + PolicyKey.names + SandboxKey.allCases.map(\.rawValue)
        for entry in document?.defaults.entries ?? [] where !known.contains(entry.name) && !used.contains(entry.name) {
            refuse(entry, known: known)
        }
    }

    /// - Parameter elsewhere: sections that do have a setting of this name.
    mutating func refuse(_ entry: INIDocument.Entry, known: [String], elsewhere: [String] = []) {
        guard let document, !used.contains(entry.name) else { return }
        let origin = document.origin(entry.line)
        if elsewhere.isEmpty {
            problems.append(
                .unknownKey(name: entry.name, origin: origin, nearest: nearest(to: entry.name, among: known)))
        } else {
            problems.append(.misplacedKey(name: entry.name, origin: origin, sections: elsewhere))
        }
    }

    /// The titles of the sections that have a setting, with the brackets.
    static func sections(with name: String) -> [String] {
        let ofPlugins = ["[\(pluginPrefix)PLUGIN_ID]", "[\(pluginNamePrefix)NAME]"]
        if PolicyKey(name) != nil { return ["[\(sandboxSection)]"] + ofPlugins }
        if SandboxKey(rawValue: name) != nil { return ["[\(sandboxSection)]"] }
        var sections: [String] = []
        if ConfigurationKey(rawValue: name) != nil { sections.append("[\(agentSection)]") }
        if PluginKey(rawValue: name) != nil { sections += ofPlugins }
        return sections
    }

    func directory(for origin: ConfigurationOrigin) -> String {
        if case .file = origin { return fileDirectory }
        return FileManager.default.currentDirectoryPath
    }

    private mutating func setPath(_ key: ConfigurationKey, _ target: WritableKeyPath<AgentConfiguration, String>) {
        guard let (text, origin) = layers.value(of: key) else { return }
        let directory = directory(for: origin)
        read(key.rawValue, text, origin) { text throws(SettingParser.Refusal) in
            try SettingParser.path(text, in: directory)
        }.map { configuration[keyPath: target] = $0 }
    }

    /// Empty is as if it were not set.
    private mutating func setPath(_ key: ConfigurationKey, _ target: WritableKeyPath<AgentConfiguration, String?>) {
        guard let (text, origin) = layers.value(of: key), !text.isEmpty else { return }
        let directory = directory(for: origin)
        read(key.rawValue, text, origin) { text throws(SettingParser.Refusal) in
            try SettingParser.path(text, in: directory)
        }.map { configuration[keyPath: target] = $0 }
    }

    private mutating func set<Value>(
        _ key: ConfigurationKey, _ target: WritableKeyPath<AgentConfiguration, Value>,
        _ parse: (String) throws(SettingParser.Refusal) -> Value
    ) {
        guard let (text, origin) = layers.value(of: key) else { return }
        read(key.rawValue, text, origin, parse).map { configuration[keyPath: target] = $0 }
    }

    /// Empty is as if it were not set.
    private mutating func set(
        _ key: ConfigurationKey, _ target: WritableKeyPath<AgentConfiguration, String?>,
        _ parse: (String) throws(SettingParser.Refusal) -> String
    ) {
        guard let (text, origin) = layers.value(of: key), !text.isEmpty else { return }
        read(key.rawValue, text, origin, parse).map { configuration[keyPath: target] = $0 }
    }

    mutating func read<Value>(
        _ key: String, _ text: String, _ origin: ConfigurationOrigin,
        _ parse: (String) throws(SettingParser.Refusal) -> Value
    ) -> Value? {
        do throws(SettingParser.Refusal) {
            return try parse(text)
        } catch {
            let isHidden = error.hidesValue || ConfigurationKey(rawValue: key)?.isSecret == true
            problems.append(
                .invalidValue(key: key, value: isHidden ? nil : text, origin: origin, allowed: error.allowed))
            return nil
        }
    }
}
