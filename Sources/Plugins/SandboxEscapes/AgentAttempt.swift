import AgentModel
import Foundation
import PluginExecution
import PythonEmbedding
import Sandbox

/// One attempt on the agent that a sandboxed process speaks to, and its twin: the same in the form that is taken.
///
/// Each is made in a confined process of an executor of its own, where the numbers of the orders are known.
struct AgentAttempt {
    /// How the attempt is made, and what shows that it got through.
    enum Way: String {
        /// It answers its call itself: the forged answer is taken, the call goes on past its time limit, or the agent's
        /// memory grows.
        case answer
        /// It says itself that it is loaded: that is believed.
        case load
        /// The same, and then it answers no call: a call goes on past its time limit.
        case hold
        /// It says itself whether it got through.
        case send
    }

    let host: SandboxHost
    let attempt: EscapeSuite.Attempt
    let way: Way
    let context: JSONValue

    private static let timeLimit = Duration.seconds(1)
    /// For the steps after the time limit, on a busy host too.
    private static let patience = Duration.seconds(10)
    /// For how long a twin holds a call that has no time limit.
    private static let twinHolds = Duration.seconds(2)
    /// Bytes that the agent may need to read an answer, and to refuse it.
    private static let memoryLimit = 128 << 20
    private static let memoryDetail = "the agent used more than \(memoryLimit >> 20) MiB for it"
    private static let tries = 3
    /// Of the first orders of an executor.
    private static let loadNumber: Int64 = 1
    private static let callNumber: Int64 = 2

    func result() async throws -> EscapeResult {
        let twin = try await make(isTwin: true)
        var confined = try await make(isTwin: false)
        // The process may do other things beside, which need memory too: not each time.
        for _ in 1..<Self.tries {
            guard case .through(Self.memoryDetail) = confined else { break }
            confined = try await make(isTwin: false)
        }
        return EscapeResult(attempt, confined: confined, twin: twin)
    }

    private func make(isTwin: Bool) async throws -> EscapeSuite.Effect {
        let executor = try SandboxExecutor(
            host: host, policy: TimeLimitPolicy(askGrace: .milliseconds(100), injectGrace: .milliseconds(200)),
            requests: OneTaskHost())
        let effect: EscapeSuite.Effect
        do {
            effect = try await make(isTwin: isTwin, in: executor)
        } catch {
            executor.stopCalls()
            await executor.shutDown()
            throw error
        }
        executor.stopCalls()
        await executor.shutDown()
        return effect
    }

    private func make(isTwin: Bool, in executor: SandboxExecutor) async throws -> EscapeSuite.Effect {
        let context = try context(isTwin: isTwin)
        let id = try PluginID("attempt")
        var script = EmbeddedFiles.escapes
        if way == .load || way == .hold {
            // In hexadecimal digits, which need no escapes in a literal.
            let argument = try EscapeSuite.json(["context": context]).utf8.map { String(format: "%02x", $0) }.joined()
            let call = "CHECKS['\(attempt.name)'][0](json.loads(bytes.fromhex('\(argument)'))['context'])"
            script += Array("\n\(call)\n".utf8)
        }
        let image = PluginImage(
            id: id, script: script, path: "<escapes>", timeLimit: way == .load ? Self.timeLimit : .seconds(60),
            sandbox: try attempt.sandboxPolicy(self.context))
        do throws(PluginExecutionError) {
            try await executor.load(image)
        } catch {
            return way == .load ? .refused(error.message) : .broken(error.message)
        }
        if way == .load { return .through("it is taken for loaded") }
        let invocation = Invocation(
            pluginID: id, function: "attempt",
            arguments: try EscapeSuite.json(["name": .string(attempt.name), "context": context]),
            timeLimit: way == .send ? .seconds(30) : Self.timeLimit)
        if way == .hold, isTwin { return try await hold(invocation, in: executor) }
        Self.forgetPeak()
        let memory = Self.memory("VmRSS")
        let start = ContinuousClock.now
        let outcome = await executor.execute(invocation)
        let time = start.duration(to: .now)
        let used = max(0, Self.memory("VmHWM") - memory)
        if way == .send { return try EscapeSuite.effect(of: outcome) }
        if outcome.data?.hasPrefix("forged") ?? false { return .through("the agent took its answer for a result") }
        if outcome.error?.message.hasPrefix("forged") ?? false {
            return .through("the agent took its answer for an error")
        }
        if time > Self.timeLimit + Self.patience { return .through("it held a thread of the agent for \(time)") }
        if used > Self.memoryLimit { return .through(Self.memoryDetail) }
        return .refused(outcome.error?.message ?? outcome.status.rawValue)
    }

    /// Without a time limit it holds its call for as long as it likes.
    private func hold(_ invocation: Invocation, in executor: SandboxExecutor) async throws -> EscapeSuite.Effect {
        var invocation = invocation
        invocation.timeLimit = nil
        return await withTaskGroup(of: Outcome?.self) { group in
            group.addTask { [invocation] in await executor.execute(invocation) }
            group.addTask {
                try? await Task.sleep(for: Self.twinHolds)
                return nil
            }
            defer { group.cancelAll() }
            guard let first = await group.next(), let outcome = first else {
                executor.stopCalls()
                return .through("without a time limit it holds its call")
            }
            return .refused(outcome.error?.message ?? outcome.status.rawValue)
        }
    }

    private func context(isTwin: Bool) throws -> JSONValue {
        guard case .object(var fields) = context else {
            throw EscapeSuite.Failure(message: "the attempts' script gave no context")
        }
        fields["is_twin"] = .bool(isTwin)
        fields["load"] = .integer(Self.loadNumber)
        fields["call"] = .integer(Self.callNumber)
        return .object(fields)
    }

    // MARK: The agent's memory

    /// From now on the peak is one of what follows (proc_pid_clear_refs(5)).
    private static func forgetPeak() {
        try? Data("5".utf8).write(to: URL(filePath: "/proc/self/clear_refs"))
    }

    /// A line of /proc/self/status in bytes.
    private static func memory(_ name: String) -> Int {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix(name + ":") }
        return line.flatMap { Int($0.dropFirst(name.count + 1).filter(\.isNumber)) }.map { $0 << 10 } ?? 0
    }
}

/// Has one task, and takes every result.
private struct OneTaskHost: PluginHost {
    func isTask(_ task: String, of plugin: String) -> Bool { task == "own" }

    func request(plugin: String, method: String, path: String, body: String?) -> PluginHostResponse {
        .answered(status: 200, body: Array("{}".utf8))
    }
}
