import Agent
import AgentModel
import ArgumentParser
import BackendClient
import CommandOutput
import Diagnostics
import Foundation
import Glibc
import Logging
import PluginExecution
import PluginStore
import PythonEmbedding
import Quantities
import Threads

struct PluginCallCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "call", abstract: "Call a method of a plugin here and now, as the agent would.",
        discussion: """
            The plugin is a stored one (by id) or a file: a script (.py) or a plugin document (.json), which is
            checked against its SHA-512. Output goes to standard output and standard error while it runs. Ctrl-C stops
            the call. Nothing is recorded or delivered. Settings for a script in a file are those of the section
            [plugin:file], if there is one.

            EXAMPLE
              runbook-agent plugin call ./disk.py disk_usage --arguments '{"path": "/var"}'
            """)

    @Argument(help: ArgumentHelp("A plugin's id, or a file.", valueName: "id or file"))
    var subject: String

    @Argument(help: "The name of the method.")
    var function: String

    @Option(name: .long, help: ArgumentHelp("Keyword arguments, as a JSON object.", valueName: "json"))
    var arguments = "{}"

    @Option(
        name: .long, help: ArgumentHelp("Time limit, in seconds or such as \"5 min\", 0 for none.", valueName: "time"),
        transform: { text in
            guard let seconds = TimeQuantity.seconds(text) else {
                throw ValidationError("give seconds, or a number with one of the units \(TimeQuantity.unitNames)")
            }
            return seconds
        })
    var timeLimit: Double?

    @OptionGroup var configurationOptions: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    mutating func validate() throws {
        guard CommandDocument.isPublicMethodName(function) else {
            throw ValidationError("\(quoted(function)) is not the name of a public method")
        }
        if let timeLimit, !(0...31_536_000).contains(timeLimit) {
            throw ValidationError("--time-limit is a number of seconds from 0 to 31536000")
        }
    }

    func run() async throws {
        let standardOutput = Terminal.reserveStandardOutput()
        let interruption = Interruption()
        try AgentSignals.onStop { interruption.arrived($0) }
        let configuration = try configurationOptions.load()
        var image = try await image(configuration)
        let http = try HTTPClient(configuration.http())
        let host = try host(configuration, http: http)
        let shown = output.json ? nil : try CallOutput(standardOutput)
        defer { shown?.close() }
        image.onOutput = shown?.loadObserver
        let interpreter = try PythonInterpreter.start(pythonPath: configuration.pythonPath, host: host)
        let executor = try configuration.makeExecutor(
            interpreter: interpreter, workers: 1, host: host,
            events: ExecutorEvents(onWedged: {
                Terminal.writeError("error: the plugin holds the interpreter's lock past every limit [python.wedged]")
                _exit(ExitStatus.wedged)
            }))
        let loadingOutput = try await load(image, executor, shown)
        if output.json { Terminal.write(loadingOutput, on: .standardError) }
        let task = TaskDocument(id: "call", command: function, cron: nil, arguments: arguments)
        interruption.begin(executor)
        var invocation = Invocation(
            pluginID: image.id, function: function, arguments: try task.normalizedArguments())
        invocation.onOutput = shown?.callObserver
        var outcome = await executor.execute(invocation)
        let signal = interruption.end()
        if signal == nil { await executor.shutDown() }
        await http.shutdown()
        // The error would be of an agent that is stopped; the traceback says where it was.
        if signal != nil { outcome.error?.message = "the call was interrupted" }
        shown?.finish(outcome)
        try show(outcome, on: standardOutput)
        if let signal { throw ExitCode(128 + signal) }
        guard outcome.status == .succeeded else { throw ExitCode.failure }
    }

    private func load(
        _ image: PluginImage, _ executor: TieredExecutor, _ shown: CallOutput?
    ) async throws -> String {
        do throws(PluginExecutionError) {
            return try await executor.load(image)
        } catch {
            // What it printed stands in front of its traceback.
            shown?.close()
            guard PluginSubject(subject) == .file else { throw error }
            if let traceback = error.traceback { Terminal.writeError(traceback) }
            Terminal.writeError("error: \(error.messageForFile) [\(error.code)]")
            throw ExitCode.failure
        }
    }

    private func image(_ configuration: AgentConfiguration) async throws -> PluginImage {
        guard PluginSubject(subject) == .file else {
            let id = try PluginID(subject)
            let plugin = try await StoredPlugins.holding(id, configuration).store.verify(id)
            let settings = configuration.settings(for: id, named: plugin.document.name)
            return PluginImage(
                id: id, script: plugin.script, path: plugin.path, timeLimit: limit(settings),
                keepsPrograms: settings.keepsPrograms,
                sandbox: settings.sandboxPolicy(for: plugin.document.sandbox)?.policy)
        }
        let file = try PluginFile(path: subject)
        let settings = configuration.settings(for: file.id, named: file.name)
        return PluginImage(
            id: file.id, script: file.script, path: file.path, timeLimit: limit(settings),
            keepsPrograms: settings.keepsPrograms,
            sandbox: settings.sandboxPolicy(for: file.sandbox)?.policy)
    }

    private func limit(_ settings: PluginSettings) -> Duration? {
        guard let timeLimit else { return settings.taskTimeout }
        return timeLimit == 0 ? nil : .seconds(timeLimit)
    }

    private func host(_ configuration: AgentConfiguration, http: HTTPClient) throws -> any PluginHost {
        guard let serverURL = configuration.serverURL else { return DetachedHost() }
        let session = try configuration.loginSession(
            http: http, logger: Logger(label: "agent") { _ in SwiftLogNoOpLogHandler() })
        if session != nil { ProcessProtection.forbidDumps() }
        return BackendHost(
            client: try BackendClient(serverURL: serverURL, http: http, credentials: session ?? NoCredentials()))
    }

    /// Shows how it ended; as JSON with what it wrote, which was otherwise shown while it ran.
    private func show(_ outcome: Outcome, on standardOutput: FileHandle) throws {
        func write(_ text: String) { Terminal.write(text, on: standardOutput) }
        if output.json {
            let result = TaskResult(
                data: outcome.data, status: outcome.status, error: outcome.error, stdout: outcome.stdout,
                stderr: outcome.stderr, startedAt: outcome.startedAt, finishedAt: outcome.finishedAt,
                durationMilliseconds: outcome.duration.seconds * 1000, isolation: outcome.isolation.text,
                agentVersion: AgentVersion.current)
            write(try ListRenderer.json(result) + "\n")
            return
        }
        if let error = outcome.error {
            if let traceback = error.traceback { Terminal.writeError(traceback) }
            Terminal.writeError("error: \(error.sentence) [\(error.code)]")
        } else if let data = outcome.data, data != outcome.stdout {
            write(data.hasSuffix("\n") ? data : data + "\n")
        }
    }
}
