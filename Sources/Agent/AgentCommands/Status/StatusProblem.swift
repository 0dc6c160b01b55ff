import Agent
import AgentModel
import DeviceAuthorization
import Diagnostics
import Foundation
import Glibc

/// Something that is wrong with the agent now, for a person to mend.
struct StatusProblem: Encodable, Equatable {
    let code: String
    /// What is wrong, of what, since when, and what to do.
    let message: String

    init(_ code: String, _ message: String) {
        self.code = code
        self.message = message
    }
}

/// What `status` finds out itself, beside the journal.
struct StatusProbe {
    /// Whether the process was stopped by a signal (SIGSTOP), so that it does nothing at all.
    static func isStopped(process: Int32) -> Bool {
        // The state is the first field behind the name, which stands in parentheses and may hold any (proc(5)).
        guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
            let end = text.lastIndex(of: ")")
        else { return false }
        return ["T", "t"].contains(text[end...].dropFirst().split(separator: " ").first ?? "")
    }

    /// Why nothing can be written to a directory; nil where it can, or where this user may not try.
    ///
    /// The file that is tried has no name, and is gone when it is closed (open(2), O_TMPFILE).
    static func writeProblem(directory: String) -> String? {
        let file = open(directory, unnamedFile | O_WRONLY | O_CLOEXEC, 0o600)
        guard file >= 0 else {
            return [EROFS, ENOSPC, EDQUOT, EIO].contains(errno) ? String(cString: strerror(errno)) : nil
        }
        defer { close(file) }
        let bytes = [UInt8](repeating: 1, count: 65536)
        guard write(file, bytes, bytes.count) == bytes.count, fsync(file) == 0 else {
            return [EROFS, ENOSPC, EDQUOT, EIO].contains(errno)
                ? String(cString: strerror(errno)) : "No space left on device"
        }
        return nil
    }

    /// `O_TMPFILE`, which Swift doesn't import: it is made of two others.
    private static let unnamedFile = 0o20000000 | O_DIRECTORY
}

extension StatusReport {
    /// What is wrong, the worst first.
    ///
    /// - Parameters:
    ///   - pollInterval: seconds.
    ///   - requestTimeout: seconds.
    ///   - writeProblem: see ``StatusProbe/writeProblem(directory:)``.
    func findProblems(
        pollInterval: Double, requestTimeout: Double, writeProblem: String?
    ) -> [StatusProblem] {
        var problems = agentProblems(longestSilence: 3 * pollInterval + 2 * requestTimeout + 120)
        problems += executorProblems
        if let writeProblem {
            problems.append(
                StatusProblem(
                    "journal.unwritable",
                    "nothing can be written to \(quoted(agent.stateDirectory)): \(writeProblem); nothing new is run, and "
                        + "what has finished waits in memory; make room or mend the disk"))
        }
        problems += backendProblems(longestSilence: max(300, 3 * pollInterval))
        problems += loginProblems
        problems += endProblems
        problems += pluginProblems
        problems += outboxProblems
        for notice in notices where notice.isProblem {
            problems.append(StatusProblem(notice.code, notice.message))
        }
        return problems
    }

    private func agentProblems(longestSilence: Double) -> [StatusProblem] {
        switch agent.state {
        case .running:
            if agent.isSuspended, let process = agent.processID {
                return [
                    StatusProblem(
                        "agent.not_answering",
                        "the agent doesn't answer: its process \(process) was stopped by a signal (SIGSTOP) and does "
                            + "nothing until \"kill -CONT \(process)\"")
                ]
            }
            guard let last = [backend?.at, agent.startedAt].compactMap(\.self).max(),
                now.timeIntervalSince(last) > longestSilence
            else { return [] }
            return [
                StatusProblem(
                    "agent.not_answering",
                    "the agent doesn't answer: it has not asked the backend for \(age(last)), which it does far more "
                        + "often; look at its log, and restart it")
            ]
        case .stopped:
            if agent.isOnce { return [] }
            let reason = agent.failure?.reason ?? "it was told to stop"
            let time = agent.stoppedAt.map { " since \(RFC3339.string(from: $0))" } ?? ""
            return [StatusProblem("agent.not_running", "the agent does not run\(time): \(reason); start it")]
        case .died:
            return [
                StatusProblem(
                    "agent.not_running",
                    "the agent does not run, and did not end by itself; its log may say why; start it")
            ]
        case .neverRan:
            return [StatusProblem("agent.not_running", "the agent has not run yet; start it")]
        }
    }

    private var executorProblems: [StatusProblem] {
        var problems = stuckPlugins.map { plugin in
            StatusProblem(
                "plugin.stuck",
                "calls of the plugin \(quoted(plugin)) could not be stopped and still run; it is given no others; correct "
                    + "it and restart the agent")
        }
        guard agent.state == .running, let executor else { return problems }
        if let hold = executor.hold {
            let run = hold.run.flatMap { id in running.first.first { $0.run == id } }
            let of = run.map { " (run \(ShortID.text(of: $0.run)) of the task \(quoted($0.task)))" } ?? ""
            problems.insert(
                StatusProblem(
                    "python.held",
                    "\(hold.holder)\(of) has held the interpreter for \(age(hold.since)), and nothing else runs in the "
                        + "agent's process meanwhile; correct it, or run it with isolation = sandbox"),
                at: 0)
        } else if executor.uses.count >= executor.workers, queued > 0, let first = executor.uses.first,
            now.timeIntervalSince(first.since) > 60
        {
            problems.append(
                StatusProblem(
                    "executor.busy",
                    "all \(executor.workers) workers are taken and \(queued) runs wait; the longest by the plugin "
                        + "\(quoted(first.plugin)) (\(first.kind)) for \(age(first.since)); raise \"workers\", or lower "
                        + "\"task_timeout\" of that plugin"))
        }
        return problems
    }

    private func backendProblems(longestSilence: Double) -> [StatusProblem] {
        guard let backend, let code = backend.code, code != LoginError.requiredCode,
            let last = backend.lastSuccess ?? agent.startedAt, now.timeIntervalSince(last) > longestSilence
        else { return [] }
        return [
            StatusProblem(
                code, "the backend has not answered for \(age(last)): \(backend.problem ?? "it is not known why")")
        ]
    }

    private var loginProblems: [StatusProblem] {
        if let problem = login.problem { return [StatusProblem(login.code ?? "login.required", problem)] }
        let isLoggedIn = [LoginState.Kind.loggedIn.rawValue, Login.notUsed].contains(login.state)
        return isLoggedIn ? [] : [StatusProblem("login.required", "the login: \(loginText)")]
    }

    /// Ends that nobody asked for, of the last day. That of an agent that doesn't run is named already.
    private var endProblems: [StatusProblem] {
        let failures = ends.filter { now.timeIntervalSince($0.at) < 86_400 }.compactMap { end in
            end.failure.map { (end.at, $0) }
        }.filter { $0.1.reason != "the host was restarted" }
        guard let (time, last) = failures.last else { return [] }
        let times = failures.count == 1 ? "once" : "\(failures.count) times"
        return [
            StatusProblem(
                "agent.restarted",
                "the agent ended \(times) in the last day without having been told to; the last time \(age(time)) ago: "
                    + last.reason)
        ]
    }

    private var pluginProblems: [StatusProblem] {
        var problems: [StatusProblem] = []
        for plugin in quarantine {
            problems.append(
                StatusProblem(
                    "plugin.quarantined",
                    "the plugin \(quoted(plugin.plugin)) is in quarantine: it took the agent down \(plugin.crashes) "
                        + "times, the last time \(plugin.cause); correct it, or "
                        + "\"runbook-agent plugin release \(plugin.plugin)\""))
        }
        for plugin in plugins.first where [.failed, .unavailable].contains(plugin.state) {
            if quarantine.contains(where: { $0.plugin == plugin.id }) { continue }
            problems.append(
                StatusProblem(
                    plugin.code ?? "plugin.not_loaded",
                    "the plugin \(quoted(plugin.id)) is not loaded: \(plugin.problem ?? "it is not known why")"))
        }
        return problems
    }

    private var outboxProblems: [StatusProblem] {
        var problems: [StatusProblem] = []
        if let limit = outbox.limit, outbox.bytes >= limit {
            problems.append(
                StatusProblem(
                    "outbox.full",
                    "the outbox holds \(ByteCount.text(outbox.bytes)) of \(ByteCount.text(limit)), and nothing new is run "
                        + "until it has room; the backend must take results, or \"runbook-agent outbox discard\""))
        }
        if outbox.deadLetters > 0 {
            problems.append(
                StatusProblem(
                    "outbox.dead_letters",
                    "the backend refused \(outbox.deadLetters) results for good; see \"runbook-agent outbox list --state "
                        + "dead-letter\", then \"outbox retry\" or \"outbox discard\""))
        }
        return problems
    }
}
