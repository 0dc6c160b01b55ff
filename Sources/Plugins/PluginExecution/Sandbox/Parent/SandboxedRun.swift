import AgentModel
import Foundation
import PythonEmbedding
import Sandbox
import Threads

/// Makes an outcome of how an exchange with a sandboxed process ended.
struct SandboxedRun {
    let isolation: RunIsolation
    let policy: SandboxPolicy
    let limit: Duration?
    let startedAt: Date
    let duration: Duration
    let outputLimit: Int
    /// Whether all calls are being stopped, before this one's time is up.
    let isStopped: Bool
    /// Who had it stopped, before its time was up.
    let cancelledBy: Cancellation.Request?

    func outcome(of end: SandboxRoundTrip.End<CallAnswer>) -> Outcome {
        switch end {
        case .answered(let answer, let step): answered(answer.result, step)
        case .stopped: withoutResult(.timedOut, .timedOut(limit: limit, step: .childEnded, traceback: nil), .childEnded)
        case .died(let ending): withoutResult(.crashed, .crashed(ending), nil)
        case .flooded: withoutResult(.outputLimit, .flooded(64 * outputLimit), nil)
        case .exhausted: withoutResult(.timedOut, .exhausted(policy.cpuTime ?? .zero), nil)
        case .misbehaved: withoutResult(.crashed, .misbehaved, nil)
        }
    }

    private func answered(_ result: CallResult, _ step: StopStep?) -> Outcome {
        var outcome = Outcome(
            result, stoppedBy: step, limit: limit, startedAt: startedAt, duration: duration, isolation: isolation)
        if outcome.status == .failed, case .failure(.raised(let exception)) = result.value, exception.isMemoryError {
            outcome.status = .outOfMemory
            outcome.error = .outOfMemory(policy.limits[.memory], exception)
        } else if case .failure(.raised(let exception)) = result.value, step == nil,
            let hint = policy.hint(for: exception)
        {
            outcome.error?.message += hint
        }
        return stoppedEarly(outcome, step)
    }

    private func withoutResult(_ status: RunStatus, _ error: RunError, _ step: StopStep?) -> Outcome {
        stoppedEarly(
            Outcome(status: status, error: error, startedAt: startedAt, duration: duration, isolation: isolation), step)
    }

    /// One that was stopped before its time, by somebody or with the agent.
    private func stoppedEarly(_ outcome: Outcome, _ step: StopStep?) -> Outcome {
        guard let step else { return outcome }
        var outcome = outcome
        if let cancelledBy {
            outcome.status = .cancelled
            outcome.error = .cancelled(by: cancelledBy, step: step, traceback: outcome.error?.traceback)
            return outcome
        }
        guard isStopped else { return outcome }
        outcome.status = .interrupted
        outcome.error = .stopped(step: step, traceback: outcome.error?.traceback)
        return outcome
    }
}

extension Outcome {
    /// What the plugin's programs and C code wrote comes behind what Python wrote.
    mutating func add(_ raw: SandboxRoundTrip.SideOutput, limit: Int) {
        Self.append(raw.output, to: &stdout, limit: limit)
        Self.append(raw.errors, to: &stderr, limit: limit)
    }

    private static func append(_ bytes: [UInt8], to text: inout String, limit: Int) {
        guard !bytes.isEmpty else { return }
        let room = limit - text.utf8.count
        guard room > 0 else { return }
        text += String(decoding: bytes.prefix(room), as: UTF8.self)
        if bytes.count >= room { text += "\n[output cut after \(limit) bytes]\n" }
    }
}

extension RunError {
    static let argumentsTooLarge = RunError(
        .taskArgumentsTooLarge,
        message: "the arguments are larger than 4 GiB; pass the name of a file instead")

    fileprivate static func crashed(_ ending: SandboxChild.Ending) -> RunError {
        let hint =
            switch ending {
            case .signalled(SIGKILL): "; the host may have run out of memory"
            case .signalled(SIGSYS): "; it made a system call that the sandbox ends a process for"
            default: ""
            }
        return RunError(
            .runCrashed,
            message:
                "the plugin ended its process \(ending.sentence)\(hint); correct the plugin: nothing else was harmed")
    }

    fileprivate static func flooded(_ limit: Int) -> RunError {
        RunError(
            .taskOutputLimit,
            message: "the run wrote more than \(limit) bytes and was ended; write less, or to a file")
    }

    fileprivate static func exhausted(_ limit: Duration) -> RunError {
        RunError(
            .sandboxCPULimit,
            message:
                "the run used more than its \(limit.seconds.formatted(.number.grouping(.never))) s of processor time "
                + "and was ended; raise 'cpu_seconds' or make it do less")
    }

    fileprivate static let misbehaved = RunError(
        .sandboxProtocol,
        message:
            "the plugin's process sent what is no answer to the call, and was ended; correct the plugin: it writes "
            + "to descriptors that aren't its own")

    fileprivate static func outOfMemory(_ limit: Int, _ exception: PythonException) -> RunError {
        RunError(
            .sandboxOutOfMemory, type: exception.type,
            message:
                "the run went past its memory of \(limit >> 20) MiB; raise 'memory' in [sandbox] or in the plugin's "
                + "section, or make it hold less at a time", traceback: exception.traceback)
    }
}
