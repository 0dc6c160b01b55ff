import AgentModel
public import Diagnostics
import Foundation
import Logging
import ServiceLifecycle
import Threads

/// Answers what commands ask the running agent on its host: through a socket in the state directory, for the agent's own user and
/// root, one connection after the other. What needs no answer of the process itself is read from the journal instead.
final class ControlSocket: Service {
    private let path: String
    private let runs: RunsInProgress
    private let stacks: StackReporter
    private let logger: Logger

    /// How long a connection may take to send what it wants, and to take its answer.
    private static let patience = 2
    private static let longestRequest = 4096

    init(path: String, runs: RunsInProgress, stacks: StackReporter, logger: Logger) {
        self.path = path
        self.runs = runs
        self.stacks = stacks
        self.logger = logger
    }

    static func path(in stateDirectory: String) -> String { stateDirectory + "/control.sock" }

    func run() async throws {
        do throws(ControlError) {
            let listener = try ControlListener(path: path)
            // It ends with the listener: then nothing can be accepted any more.
            Thread.detachNewThread { [self] in
                Thread.current.name = "control-socket"
                while let connection = listener.accept() { serve(connection) }
            }
            try? await gracefulShutdown()
            listener.close()
        } catch {
            // Everything else goes on without it.
            logger.warning(
                "commands can't ask the running agent: \(error.message)", metadata: ["code": "\(error.code)"])
            try? await gracefulShutdown()
        }
    }

    private func serve(_ connection: ControlConnection) {
        defer { connection.close() }
        connection.setTimeLimit(seconds: Self.patience)
        guard connection.isTrusted,
            let line = connection.readLine(limit: Self.longestRequest, within: .seconds(Self.patience)),
            let request = try? JSONDecoder().decode(ControlRequest.self, from: line)
        else { return }
        let answers = BlockingQueue<ControlAnswer>()
        Task { answers.push(await answer(request)) }
        guard let data = try? JSONEncoder().encode(answers.pop()) else { return }
        connection.write(data + Data("\n".utf8))
    }

    private func answer(_ request: ControlRequest) async -> ControlAnswer {
        let wanted = runs.all().filter { request.run.map($0.isNamed) ?? true }.sorted { $0.startedAt < $1.startedAt }
        if let name = request.run, wanted.isEmpty { return .failed(ControlError.notRunning(name)) }
        var views: [RunStackView] = []
        for run in wanted.prefix(Self.mostRuns) {
            let stack = await stacks.stack(of: run)
            views.append(
                RunStackView(
                    runID: run.runID, taskID: run.task.text, startedAt: RFC3339.string(from: run.startedAt),
                    pythonStack: stack.pythonStack))
        }
        return .stacks(views, leftOut: wanted.count - views.count)
    }

    /// Of one answer: each may take a second where the interpreter is held.
    private static let mostRuns = 10
}

extension RunInProgress {
    /// Whether that is its id, the end of it as lists show it, or the id of its task.
    fileprivate func isNamed(_ text: String) -> Bool {
        task.text == text || text.utf8.count >= 4 && runID.hasSuffix(text.lowercased())
    }
}

/// What is asked: where runs are in their code.
struct ControlRequest: Codable {
    /// A run's id, the end of it, or the id of a task; nil for all that are under way.
    var run: String?
}

/// Where a run that is under way is in its code.
public struct RunStackView: Codable, Sendable, Equatable {
    public var runID: String
    public var taskID: String
    public var startedAt: String
    public var pythonStack: String?

    private enum CodingKeys: String, CodingKey {
        case runID = "run_id"
        case taskID = "task_id"
        case startedAt = "started_at"
        case pythonStack = "python_stack"
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(runID, forKey: .runID)
        try container.encode(taskID, forKey: .taskID)
        try container.encode(startedAt, forKey: .startedAt)
        try container.encode(pythonStack, forKey: .pythonStack)
    }
}

enum ControlAnswer: Codable {
    case stacks([RunStackView], leftOut: Int)
    case failed(ControlError)
}

/// Why the running agent can't be asked.
public enum ControlError: CodedError, Codable, Equatable {
    /// No agent runs on this state directory, or it can't be reached by who asks.
    case unreachable(path: String, problem: String)
    case noAnswer(path: String)
    case notRunning(String)

    public var code: String {
        switch self {
        case .unreachable: "control.unreachable"
        case .noAnswer: "control.no_answer"
        case .notRunning: "run.not_running"
        }
    }

    public var message: String {
        switch self {
        case .unreachable(let path, let problem):
            "the agent can't be asked through \(quoted(path)): \(problem); see whether it runs with \"runbook-agent status\", "
                + "and ask as its user or as root"
        case .noAnswer(let path):
            "the agent has not answered through \(quoted(path)) in time; try again, or see what \"runbook-agent status\" says"
        case .notRunning(let name):
            "no run \(quoted(name)) is under way; \"runbook-agent history --status running\" lists those that are"
        }
    }
}
