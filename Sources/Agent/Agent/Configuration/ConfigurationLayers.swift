import AgentModel
import Configuration

/// The sources of the settings, the strongest first: command line, environment, file.
struct ConfigurationLayers {
    private let reader: ConfigReader
    private let overrides: [String: String]
    private let environment: [String: String]
    /// Settings of the file's section `[agent]`, by name.
    private let entries: [String: INIDocument.Entry]
    private let path: String

    init(overrides: [String: String], environment: [String: String], entries: [INIDocument.Entry], path: String) {
        self.overrides = overrides
        self.environment = environment
        self.entries = Dictionary(entries.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        self.path = path
        reader = ConfigReader(providers: [
            Self.provider(named: "command line", overrides),
            EnvironmentVariablesProvider(
                environmentVariables: environment,
                secretsSpecifier: .dynamic { name, _ in
                    ConfigurationKey.allCases.contains { $0.isSecret && $0.environmentName == name }
                }),
            Self.provider(named: "configuration file", self.entries.mapValues(\.value)),
        ])
    }

    /// The value of a setting as text, and where it comes from; nil where no source has it.
    func value(of key: ConfigurationKey) -> (text: String, origin: ConfigurationOrigin)? {
        guard let text = reader.string(forKey: ConfigKey(Self.components(key.rawValue)), isSecret: key.isSecret)
        else { return nil }
        return (text, origin(of: key))
    }

    private func origin(of key: ConfigurationKey) -> ConfigurationOrigin {
        if overrides[key.rawValue] != nil { return .commandLine }
        if environment[key.environmentName] != nil { return .environment(name: key.environmentName) }
        return .file(path: path, line: entries[key.rawValue]?.line ?? 0)
    }

    private static func provider(named name: String, _ values: [String: String]) -> InMemoryProvider {
        InMemoryProvider(
            name: name,
            values: Dictionary(
                uniqueKeysWithValues: values.map { name, text in
                    let isSecret = ConfigurationKey(rawValue: name)?.isSecret ?? false
                    return (AbsoluteConfigKey(components(name)), ConfigValue(.string(text), isSecret: isSecret))
                }))
    }

    /// Such that the environment's provider makes `RUNBOOK_AGENT_NAME` of them.
    private static func components(_ name: String) -> [String] { ["runbook", "agent", name] }
}
