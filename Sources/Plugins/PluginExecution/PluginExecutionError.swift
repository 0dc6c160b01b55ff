public import AgentModel
public import Diagnostics
public import PythonEmbedding
public import Sandbox

/// Why a plugin could not be loaded.
public enum PluginExecutionError: CodedError, Equatable {
    case loadFailed(plugin: PluginID, LoadFailure)
    /// Loading went past its time limit and was given up.
    case loadTimedOut(plugin: PluginID)
    /// Its code ended its process. `cause` is how: `by the signal SIGSEGV`.
    case loadCrashed(plugin: PluginID, cause: String)
    /// There is no sandbox to load it into.
    case sandbox(plugin: PluginID, SandboxError)
    /// The tier's threads can't be made.
    case noThread(PythonEmbeddingError)
    case stopped

    public var code: String {
        switch self {
        case .loadFailed(_, let failure) where failure.exceededTimeLimit: "plugin.load_timed_out"
        case .loadFailed(_, let failure):
            switch failure.stage {
            case .compile: "plugin.syntax_error"
            case .execute: "plugin.script_failed"
            case .class: "plugin.class_missing"
            case .construct: "plugin.constructor_failed"
            }
        case .loadTimedOut: "plugin.load_timed_out"
        case .loadCrashed: "plugin.load_crashed"
        case .sandbox(_, let error): error.code
        case .noThread(let error): error.code
        case .stopped: "executor.stopped"
        }
    }

    /// Whether the same script fails the same way whenever it is loaded.
    public var isPermanent: Bool {
        guard case .loadFailed(_, let failure) = self, !failure.exceededTimeLimit else { return false }
        return failure.stage == .compile || failure.stage == .class
    }

    /// Whether it took longer to load than it may.
    public var isTimeLimit: Bool {
        switch self {
        case .loadTimedOut: true
        case .loadFailed(_, let failure): failure.exceededTimeLimit
        case .loadCrashed, .sandbox, .noThread, .stopped: false
        }
    }

    public var message: String { Self.joined(problem, advice(forFile: false)) }

    /// What is wrong, without what to do.
    private var problem: String {
        switch self {
        case .loadFailed(let plugin, let failure):
            "the plugin \(quoted(plugin.rawValue)) \(Self.sentence(of: failure))"
        case .loadTimedOut(let plugin):
            "the plugin \(quoted(plugin.rawValue)) did not finish loading within its time limit"
        case .loadCrashed(let plugin, let cause):
            "the plugin \(quoted(plugin.rawValue)) ended its process \(cause) while it was loaded"
        case .sandbox(let plugin, let error):
            "the plugin \(quoted(plugin.rawValue)) can't be loaded into the sandbox: \(error.message)"
        case .noThread(let error): error.message
        case .stopped: "the executor has been shut down"
        }
    }

    private func advice(forFile isFile: Bool) -> String {
        switch self {
        case .loadFailed(_, let failure):
            failure.exception.missingModuleHint.map { String($0.dropFirst(2)) }
                ?? (isFile ? "correct the script" : "correct the script and publish it again")
        case .loadTimedOut: "do slow work in a command and not at the top of the script or in the constructor"
        case .loadCrashed: isFile ? "correct the script" : "correct the script and publish it again"
        case .sandbox, .noThread: ""
        case .stopped: "start the agent again"
        }
    }

    /// The message for a script that a person has as a file, and does not have to publish.
    public var messageForFile: String { Self.joined(problem, advice(forFile: true)) }

    private static func joined(_ problem: String, _ advice: String) -> String {
        advice.isEmpty ? problem : "\(problem); \(advice)"
    }

    /// The traceback of the script's exception, where there is one.
    public var traceback: String? {
        if case .loadFailed(_, let failure) = self { failure.exception.traceback } else { nil }
    }

    private static func sentence(of failure: LoadFailure) -> String {
        let exception = failure.exception.sentence
        return switch failure.stage {
        case .compile: "is not a Python script this interpreter can compile (\(exception))"
        case .execute: "raised while its top level ran (\(exception))"
        case .class: "defines no class \"Plugin\""
        case .construct: "raised in the constructor of \"Plugin\" (\(exception))"
        }
    }
}
