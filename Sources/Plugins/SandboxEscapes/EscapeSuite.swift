import AgentModel
public import Diagnostics
import Foundation
import PluginExecution
public import Sandbox

/// Tries to break out of the sandbox, once in a confined child and once in one that isn't: an attempt counts only where
/// it gets through there.
public struct EscapeSuite: Sendable {
    /// Why the suite could not be run at all.
    public struct Failure: CodedError {
        public let message: String
        public var code: String { "sandbox.escape_suite_failed" }
    }

    private let host: SandboxHost

    /// - Parameter host: whose children are tried.
    public init(host: SandboxHost) {
        self.host = host
    }

    /// Runs every attempt, one after the other.
    ///
    /// - Parameter report: called with each result as it comes.
    /// - Throws: ``Failure``, `PluginExecutionError`, `PythonEmbeddingError`.
    public func run(_ report: (EscapeResult) -> Void) async throws -> [EscapeResult] {
        let folder = try Self.makeFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        // What children of a careless agent would inherit.
        setenv("RUNBOOK_ESCAPE_SECRET", UUID().uuidString, 1)
        let file = open(folder + "/inherited", O_RDWR | O_CREAT, 0o600)
        // Above those that a child has in its own places.
        let inherited = fcntl(file, F_DUPFD, 200)
        defer { [file, inherited].forEach { close($0) } }
        var unconfined = host
        unconfined.isUnconfined = true
        let outside = try SandboxExecutor(host: unconfined)
        let inside = try SandboxExecutor(host: host)
        let targets = try PluginID("targets")
        do {
            try await outside.load(Self.image(targets, SandboxPolicy()))
            let attempts: [Attempt] = try await Self.answer(outside, targets, "attempts", [:])
            let context: JSONValue = try await Self.answer(outside, targets, "prepare", ["folder": .string(folder)])
            var results: [EscapeResult] = []
            for attempt in attempts where attempt.role != "setup" {
                let policy = try attempt.sandboxPolicy(context)
                let before = attempt.after.flatMap { name in attempts.first { $0.name == name } }
                func make(in executor: SandboxExecutor) async throws -> Effect {
                    if let before {
                        _ = try await Self.make(before, in: executor, before.sandboxPolicy(context), context)
                    }
                    return try await Self.make(attempt, in: executor, policy, context)
                }
                let result =
                    if let way = AgentAttempt.Way(rawValue: attempt.role ?? "") {
                        try await AgentAttempt(host: host, attempt: attempt, way: way, context: context).result()
                    } else {
                        EscapeResult(attempt, confined: try await make(in: inside), twin: try await make(in: outside))
                    }
                report(result)
                results.append(result)
            }
            let _: JSONValue = try await Self.answer(outside, targets, "clean", ["context": context])
            await outside.shutDown()
            await inside.shutDown()
            return results
        } catch {
            await outside.shutDown()
            await inside.shutDown()
            throw error
        }
    }

    // MARK: Attempts

    struct Attempt: Decodable {
        let name: String
        let group: String
        let title: String
        let policy: String
        /// `setup` for what is no attempt of its own and only comes before another; one of ``AgentAttempt/Way`` for what
        /// is tried on the agent itself.
        let role: String?
        /// What is made before it, in a process that has ended by then.
        let after: String?

        func sandboxPolicy(_ context: JSONValue) throws -> SandboxPolicy {
            var policy = SandboxPolicy()
            switch self.policy {
            case "tcp":
                guard case .object(let fields) = context, case .integer(let port)? = fields["allowed_port"],
                    let network = SandboxNetwork("tcp:\(port)")
                else { throw Failure(message: "the attempts' script names no allowed port") }
                policy.network = network
            case "full": policy.network = .full
            case "readable":
                guard case .object(let fields) = context, case .string(let folder)? = fields["outside"] else {
                    throw Failure(message: "the attempts' script names no folder outside")
                }
                (policy.network, policy.readPaths) = (.full, [folder])
            case "writable":
                guard case .object(let fields) = context, case .string(let folder)? = fields["write_folder"] else {
                    throw Failure(message: "the attempts' script names no writable folder")
                }
                (policy.network, policy.writePaths) = (.full, [folder])
            case "proc": policy.hasProc = true
            case "no-programs": policy.startsPrograms = false
            case "results": policy.api = .results
            case "linked":
                guard case .object(let fields) = context, case .string(let folder)? = fields["write_folder"] else {
                    throw Failure(message: "the attempts' script names no writable folder")
                }
                policy.readPaths = [folder + "/link"]
            default: policy.network = .none
            }
            return policy
        }
    }

    /// What an attempt came to.
    enum Effect {
        case through(String)
        case refused(String)
        case broken(String)
    }

    struct Answer: Decodable {
        let through: Bool
        let detail: String
    }

    /// In a child of its own, because attempts leave their marks on the process.
    private static func make(
        _ attempt: Attempt, in executor: SandboxExecutor, _ policy: SandboxPolicy, _ context: JSONValue
    ) async throws -> Effect {
        let id = try PluginID("attempt")
        do throws(PluginExecutionError) {
            try await executor.load(image(id, policy))
        } catch {
            // Its policy can't be put into force as it is, and then nothing runs.
            if case .sandbox = error, attempt.policy == "linked" { return .refused(error.message) }
            throw error
        }
        let outcome = await executor.execute(
            Invocation(
                pluginID: id, function: "attempt",
                arguments: try json(["name": .string(attempt.name), "context": context]), timeLimit: .seconds(30)))
        return try effect(of: outcome)
    }

    /// What the attempt itself says of its effect.
    static func effect(of outcome: Outcome) throws -> Effect {
        switch outcome.status {
        case .succeeded:
            let answer = try JSONDecoder().decode(Answer.self, from: Data((outcome.data ?? "").utf8))
            return answer.through ? .through(answer.detail) : .refused(answer.detail)
        case .crashed: return .refused(outcome.error?.message ?? "its process was ended")
        default: return .broken(outcome.error?.message ?? outcome.status.rawValue)
        }
    }

    private static func answer<Value: Decodable>(
        _ executor: SandboxExecutor, _ id: PluginID, _ function: String, _ arguments: [String: JSONValue]
    ) async throws -> Value {
        let outcome = await executor.execute(
            Invocation(pluginID: id, function: function, arguments: try json(arguments), timeLimit: .seconds(60)))
        guard outcome.status == .succeeded else {
            throw Failure(
                message: "the attempts could not be prepared (\(function)): \(outcome.error?.message ?? ""); "
                    + (outcome.error?.traceback ?? ""))
        }
        return try JSONDecoder().decode(Value.self, from: Data((outcome.data ?? "null").utf8))
    }

    static func json(_ fields: [String: JSONValue]) throws -> String {
        String(decoding: try JSONEncoder().encode(JSONValue.object(fields)), as: UTF8.self)
    }

    private static func image(_ id: PluginID, _ policy: SandboxPolicy) -> PluginImage {
        PluginImage(
            id: id, script: EmbeddedFiles.escapes, path: "<escapes>", timeLimit: .seconds(60), sandbox: policy)
    }

    /// Readable for everyone, so that nothing but the sandbox protects what is in it.
    private static func makeFolder() throws -> String {
        var template = Array("/tmp/runbook-escapes-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure(message: "no folder can be made in /tmp") }
        let path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        chmod(path, 0o755)
        return path
    }
}

extension EscapeResult {
    init(_ attempt: EscapeSuite.Attempt, confined: EscapeSuite.Effect, twin: EscapeSuite.Effect) {
        (name, group, title) = (attempt.name, attempt.group, attempt.title)
        switch twin {
        case .through(let text), .refused(let text), .broken(let text): self.twin = text
        }
        switch (confined, twin) {
        case (.through(let text), _): (verdict, detail) = (.through, text)
        case (.broken(let text), _): (verdict, detail) = (.broken, text)
        case (.refused(let text), .through): (verdict, detail) = (.stopped, text)
        case (.refused(let text), .refused): (verdict, detail) = (.notShown, text)
        case (.refused(let text), .broken): (verdict, detail) = (.broken, text)
        }
    }
}
