import Agent
import AgentModel
public import ArgumentParser
import CommandOutput
import Diagnostics
import Foundation
import Logging
import ProcessLogging
import RunJournal

/// Where the configuration comes from.
struct ConfigurationOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "The configuration file. By default config.ini of this folder, else /etc/runbook-agent/config.ini, if it is there.",
            valueName: "file"))
    var config: String?

    @Option(
        name: .customLong("set"), parsing: .singleValue,
        help: ArgumentHelp(
            "Overrides one key of the section [agent], such as workers=8. Can be repeated.", valueName: "key=value"))
    var settings: [String] = []

    mutating func validate() throws {
        for setting in settings where !setting.contains("=") {
            throw ValidationError("--set takes KEY=VALUE, not \(quoted(setting))")
        }
    }

    /// - Parameter requiresServer: whether the command needs a backend.
    /// - Throws: `ConfigurationError`.
    func load(requiresServer: Bool = false) throws -> AgentConfiguration {
        let overrides = settings.map { setting in
            let parts = setting.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (parts[0].trimmingCharacters(in: .whitespaces), String(parts[1]))
        }
        return try AgentConfiguration.load(
            file: config, overrides: Dictionary(overrides, uniquingKeysWith: { $1 }),
            environment: ProcessEnvironment.atStart, requiresServer: requiresServer)
    }
}

/// How much is logged, and in what form.
struct LoggingOptions: ParsableArguments {
    @Option(name: .long, help: "trace, debug, info, notice, warning, error or critical.")
    var logLevel: Logger.Level?

    @Option(name: .long, help: "text or json (one object per line).")
    var logFormat: LogFormat = .text

    func makeLogger(defaultLevel: Logger.Level = .info) -> Logger {
        LineLogHandler.bootstrap(
            format: logFormat, level: logLevel ?? defaultLevel, environment: ProcessInfo.processInfo.environment)
        return Logger(label: "agent")
    }
}

/// `--json` of commands that print.
struct OutputOptions: ParsableArguments {
    @Flag(name: .long, help: "Print JSON, one value per line.")
    var json = false

    var renderer: ListRenderer { ListRenderer(isJSON: json) }
}

/// The id of one plugin.
struct PluginIDArgument: ParsableArguments {
    @Argument(help: "The plugin's id.")
    private var id: String

    /// - Throws: `AgentModelError.invalidPluginID`.
    func parsed() throws(AgentModelError) -> PluginID { try PluginID(id) }
}

extension ConfigurationOptions {
    /// The journal of the agent's state directory, beside a running agent or without one.
    func openJournal() async throws -> JournalReader {
        try await RunJournal.openReadOnly(directory: try load().stateDirectory)
    }

    /// - Throws: `ValidationError` for a number of rows that is out of range.
    static func checkLimit(_ limit: Int) throws {
        guard 1...1_000_000 ~= limit else { throw ValidationError("--limit is 1 to 1000000, not \(limit)") }
    }
}

extension Logger.Level: @retroactive ExpressibleByArgument {}
extension LogFormat: ExpressibleByArgument {}
