import Agent
import AgentModel
import CommandOutput
import DeviceAuthorization
import Diagnostics
import Foundation
import Threads

extension StatusReport {
    func printForPeople() {
        let fields = Fields()
        list("problems", problems.count, problems) { "\($0.message) [\($0.code)]" }
        fields.print("name", agent.id.map { id in "\(agent.name ?? "(not named yet)"), id \(id)" })
        fields.print("agent", agentText)
        fields.print("version", agent.version)
        fields.print("directory", agent.stateDirectory)
        fields.print("login", loginText)
        fields.print("backend", agent.serverURL)
        fields.print("last contact", contactText)
        fields.print("outbox", outboxText)
        fields.print("dead letters", deadLettersText)
        list("quarantine", quarantine.count, quarantine) { plugin in
            "\(plugin.plugin)  took the agent down \(plugin.crashes) times in a row, the last time \(plugin.cause), "
                + "\(age(plugin.lastCrash)) ago; \"runbook-agent plugin release \(plugin.plugin)\" lets it run again"
        }
        list(agent.state == .running ? "running" : "cut off", running.total, running.first) { run in
            "\(ShortID.text(of: run.run))  \(run.task)  \(run.command)  for \(TimeSpan.text(run.seconds))"
                + waitText(of: run)
        }
        if let uses = executor?.uses, !uses.isEmpty {
            list("workers", uses.count, uses) { use in
                "\(use.plugin)  \(use.kind)\(use.run.map { " " + ShortID.text(of: $0) } ?? "")  "
                    + "\(Self.words(of: use.state)) for \(age(use.since))"
            }
        }
        if leftPrograms > 0 { fields.print("programs", "\(leftPrograms) that runs have left when they returned") }
        fields.print("queued", "\(queued)")
        list("waiting", waiting.total, waiting.first) { "\($0.task)  \($0.command): \($0.reason)" }
        list("plugins", plugins.total, plugins.first, line: Self.text(of:))
        let warnings = notices.filter { !$0.isProblem }
        if !warnings.isEmpty { list("warnings", warnings.count, warnings) { "\($0.message) [\($0.code)]" } }
        if !ends.isEmpty {
            list("ends", ends.count, ends) { end in
                "\(RFC3339.string(from: end.at))  \(end.failure?.reason ?? "it was told to stop")"
                    + (end.failure?.code.map { " [\($0)]" } ?? "")
            }
        }
        list("schedules", schedules.total, schedules.first) { schedule in
            "\(schedule.next.map(RFC3339.string(from:)) ?? "never")  \(schedule.task)  \(schedule.command)  \(schedule.cron)"
        }
        fields.print("recorded", recordedAt.map { "\(RFC3339.string(from: $0)), \(age($0)) ago" })
    }

    private var agentText: String {
        switch agent.state {
        case .running where agent.isSuspended:
            "stopped by a signal (SIGSTOP), process \(agent.processID.map(String.init) ?? ""); it doesn't answer"
        case .running:
            "running, process \(agent.processID.map(String.init) ?? "not known here")"
                + (agent.startedAt.map { ", for \(age($0))" } ?? "")
        case .stopped:
            "stopped" + (agent.stoppedAt.map { " at \(RFC3339.string(from: $0)), \(age($0)) ago" } ?? "")
                + (agent.failure.map { ": \($0.reason)" } ?? "")
        case .neverRan: "has not run yet"
        case .died: "not running; it did not end by itself: see its log"
        }
    }

    /// What a run that has been written down as started waits for.
    private func waitText(of run: Run) -> String {
        guard let executor else { return "" }
        if executor.hold?.run == run.run { return "; it holds the interpreter" }
        switch executor.uses.first(where: { $0.run == run.run })?.state {
        case "not_begun": return "; it has not begun, because another thread holds the interpreter"
        case "waiting": return "; it waits in the kernel"
        default: return ""
        }
    }

    var loginText: String {
        if let problem = login.problem { return "\(login.state): \(problem) [\(login.code ?? "")]" }
        var text = login.state
        if let since = login.since { text += " since \(RFC3339.string(from: since))" }
        if let expiresAt = login.expiresAt { text += ", access token until \(RFC3339.string(from: expiresAt))" }
        if let end = login.setAsideUntil { text += ", until \(RFC3339.string(from: end))" }
        if let other = login.otherBackendID {
            text += ", by another backend than it was at (\(quoted(other))); see the log"
        }
        if let userCode = login.userCode, let address = login.verificationURI {
            text += ": open \(address) and enter \(userCode)"
            if let end = login.codeExpiresAt { text += ", good until \(RFC3339.string(from: end))" }
        } else if [LoginState.Kind.loggedOut, .denied, .setAside].map(\.rawValue).contains(login.state) {
            text += "; run \"runbook-agent login\""
        }
        return text
    }

    private var contactText: String {
        guard let backend else { return "none yet" }
        let time = "\(RFC3339.string(from: backend.at)), \(age(backend.at)) ago"
        guard let code = backend.code else { return time }
        let success = backend.lastSuccess.map { "last answered \(RFC3339.string(from: $0))" } ?? "never answered"
        return "\(time), failed: \(backend.problem ?? "") [\(code)]; \(success)"
    }

    private var outboxText: String {
        guard outbox.pending > 0 else { return "empty" + (outbox.bytes > 0 ? ", \(size) of dead letters" : "") }
        let age = TimeSpan.text(outbox.oldestSeconds ?? 0)
        let text = "\(outbox.pending) pending, the oldest for \(age), \(size) in all"
        guard let limit = outbox.limit else { return text }
        return text + " of \(ByteCount.text(limit))"
            + (outbox.bytes >= limit ? "; it is full, and nothing new is run until it has room" : "")
    }

    private var deadLettersText: String {
        outbox.deadLetters == 0 ? "0" : "\(outbox.deadLetters); see \"runbook-agent outbox list --state dead-letter\""
    }

    private var size: String { ByteCount.text(outbox.bytes) }

    func age(_ time: Date) -> String { TimeSpan.text(now.timeIntervalSince(time)) }

    private static func words(of state: String) -> String {
        switch state {
        case "waiting": "waits in the kernel (a file, a lock, a program, the network)"
        case "not_begun": "waits for the interpreter"
        default: "runs"
        }
    }

    private static func text(of plugin: AgentStatus.Plugin) -> String {
        var text = "\(plugin.id)  \(plugin.state.rawValue)"
        if let name = plugin.name { text += "  \(name)" }
        if let version = plugin.version { text += "  \(version)" }
        if let isolation = plugin.isolation, isolation != "in-process" { text += "  \(isolation)" }
        if let problem = plugin.problem { text += ": \(problem)" }
        if let code = plugin.code { text += " [\(code)]" }
        return text
    }

    private func list<Element>(_ label: String, _ total: Int, _ first: [Element], line: (Element) -> String) {
        let fields = Fields()
        fields.print(label, "\(total)")
        for element in first { fields.printItem(line(element)) }
        if total > first.count { fields.printItem("… and \(total - first.count) more") }
    }
}
