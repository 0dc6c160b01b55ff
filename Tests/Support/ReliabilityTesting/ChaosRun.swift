import AgentModel
import AgentTestSupport
import Foundation
import ReferenceBackend
import RunJournal

/// Kills a real agent again and again, between a misbehaving network and misbehaving plugins, and then counts.
///
/// What is drawn from the seed is the order of lives, tasks and faults. The processes' own timing is not, so that a
/// seed brings back the same conditions and not the same instant.
public struct ChaosRun {
    private let options: ChaosOptions
    private let say: (String) -> Void
    private let folder: String
    private let backend: LiveBackend
    private let script: FaultScript
    private let proxy: MisbehavingProxy
    private var random: SeededRandom
    private var report: ChaosReport
    private var oneOffs: [String] = []
    private var schedules: [String] = []
    private let people: ChaosPeople
    /// What the agent did that it may not do, beside what is counted at the end.
    private var misbehaviour: [String] = []

    private var ledger: String { folder + "/ledger" }
    private var log: String { folder + "/output.log" }
    private var stateDirectory: String { folder + "/state" }

    /// - Parameter say: is told how it goes, a line each.
    public static func run(_ options: ChaosOptions, say: (String) -> Void) async throws -> ChaosReport {
        let start = ContinuousClock.now
        return try await withoutActuallyEscaping(say) { say in
            var run = try await ChaosRun(options, say: say)
            try await run.prepare()
            try await run.killAgain()
            try await run.settle()
            return try await run.count(since: start)
        }
    }

    private init(_ options: ChaosOptions, say: @escaping (String) -> Void) async throws {
        self.options = options
        self.say = say
        random = SeededRandom(seed: options.seed)
        report = ChaosReport(seed: options.seed)
        folder = try Self.makeFolder()
        backend = try await LiveBackend.start()
        people = ChaosPeople(service: backend.service)
        script = FaultScript(seed: random.next(), faultPercent: options.faultPercent)
        proxy = try MisbehavingProxy(backend: backend.url, script: script)
    }

    private static func makeFolder() throws -> String {
        let parent = FileManager.default.temporaryDirectory.path(percentEncoded: false)
        var template = Array((parent + (parent.hasSuffix("/") ? "" : "/") + "runbook-chaos-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    // MARK: Arranging

    private mutating func prepare() async throws {
        for plugin in ChaosPlugin.allCases {
            try await backend.addPlugin(
                id: plugin.id, name: plugin.rawValue, script: plugin.script(ledger: ledger), functions: ["call": "call"]
            )
        }
        try configuration.write(toFile: folder + "/config.ini", atomically: true, encoding: .utf8)
        for (plugin, cron) in [
            (ChaosPlugin.good, "* * * * * *"), (.good, "* * * * * */2"), (.raises, "* * * * * */3"),
            (.sleeps, "* * * * * */2"), (.spins, "* * * * * */7"),
        ] {
            let id = "schedule-\(schedules.count)"
            schedules.append(id)
            try await backend.addTask(
                id: id, command: plugin.command, cron: cron, arguments: #"{"task": "\#(id)"}"#)
        }
    }

    private var configuration: String {
        """
        [agent]
        server_url = \(proxy.url)
        auth = False
        plugin_directory = plugins
        state_directory = state
        poll_interval = 0.2
        request_timeout = 3
        connect_timeout = 3

        [plugin:\(ChaosPlugin.spins.id)]
        task_timeout = 0.2

        [plugin:\(ChaosPlugin.wedges.id)]
        task_timeout = 0.2

        [plugin:\(ChaosPlugin.again.id)]
        idempotent = True

        """
    }

    /// - Returns: the new ones, which no agent has heard of.
    private mutating func addOneOffs() async throws -> [String] {
        let agent = try await backend.localAgentID()
        var tasks: [NewTask] = []
        for _ in 0..<Int.random(in: 0...2 * options.oneOffsPerKill, using: &random) {
            var plugin = random.choice(of: ChaosPlugin.weights)
            if plugin == .wedges, !options.includesWedging { plugin = .good }
            let id = "one-off-\(oneOffs.count + tasks.count)-\(plugin.rawValue)"
            tasks.append(
                NewTask(id: id, agentID: agent, command: plugin.command, arguments: #"{"task": "\#(id)"}"#))
        }
        let new = tasks.compactMap(\.id)
        oneOffs += new
        _ = try await backend.service.createTasks(tasks)
        return new
    }

    private func startAgent() throws -> SpawnedProcess {
        try SpawnedProcess(
            [options.agent, "run", "--config", folder + "/config.ini"], output: .log(log))
    }

    // MARK: Killing

    private mutating func killAgain() async throws {
        var unexpected = 0
        while report.kills < options.kills {
            for task in try await addOneOffs() where Int.random(in: 0..<12, using: &random) == 0 {
                try await people.cancelBeforeItBegins(task)
            }
            let agent = try startAgent()
            let busy = people.beBusy(with: oneOffs.suffix(8), seed: random.next())
            defer { busy.cancel() }
            if let ending = await agent.end(within: lifetime()) {
                unexpected = note(ending) ? 0 : unexpected + 1
                // It won't come up any more: there is nothing to kill.
                if unexpected >= 5 { break }
            } else {
                unexpected = 0
                if await agent.end(with: SIGKILL) == .signaled(SIGKILL) { report.kills += 1 }
                if report.kills % 10 == 0 {
                    say("\(report.kills) of \(options.kills) kills, \(oneOffs.count) one-off tasks")
                }
            }
        }
    }

    /// Often during the start, most often in the middle of work, and now and then after a while of it.
    private mutating func lifetime() -> Duration {
        switch Int.random(in: 0..<10, using: &random) {
        case 0...2: .milliseconds(Int.random(in: 0...250, using: &random))
        case 3...8: .milliseconds(Int.random(in: 250...1200, using: &random))
        default: .milliseconds(Int.random(in: 1200...4000, using: &random))
        }
    }

    /// - Returns: whether a plugin brought that about.
    @discardableResult
    private mutating func note(_ ending: SpawnedProcess.Ending) -> Bool {
        report.endings[ending, default: 0] += 1
        if ChaosPlugin.endings.contains(ending) { return true }
        misbehaviour.append("the agent ended with \(ending), which no plugin does")
        return false
    }

    // MARK: Settling

    /// Lets the agent run undisturbed until the backend has everything, and stops it.
    private mutating func settle() async throws {
        script.calm()
        for task in schedules {
            _ = try await backend.service.updateTask(task, TaskChange(isEnabled: .set(false)))
        }
        await people.goHome()
        say("\(report.kills) kills are done; the agent is left alone until the backend has everything")
        let limit = ContinuousClock.now.advanced(by: options.settleLimit)
        var quiet = QuietTime()
        var agent = try startAgent()
        var isStarted = ContinuousClock.now.advanced(by: .seconds(3))
        // Also not before the agent is up: a process that is still being loaded has no handler for SIGTERM.
        while try await !quiet.isOver(progress()) || ContinuousClock.now < isStarted {
            guard ContinuousClock.now < limit else {
                misbehaviour.append("the agent had not delivered everything after \(options.settleLimit)")
                break
            }
            if let ending = await agent.end(within: .milliseconds(250)) {
                guard note(ending) else { break }
                agent = try startAgent()
                isStarted = ContinuousClock.now.advanced(by: .seconds(3))
            }
        }
        agent.send(SIGTERM)
        let ending = await agent.end(within: .seconds(60))
        if ending != .exited(0) {
            misbehaviour.append("the agent answered SIGTERM with \(ending.map { "\($0)" } ?? "nothing in 60 s")")
            await agent.end(with: SIGKILL)
        }
    }

    private func progress() async throws -> QuietTime.Progress {
        guard FileManager.default.fileExists(atPath: stateDirectory + "/journal.sqlite") else { return .init() }
        let counts = try await RunJournal.openReadOnly(directory: stateDirectory).counts()
        return QuietTime.Progress(
            hasWork: counts.running > 0 || counts.pending > 0, finished: counts.finished,
            isComplete: try await backend.service.hasResults(of: oneOffs))
    }

    // MARK: Counting

    private mutating func count(since start: ContinuousClock.Instant) async throws -> ChaosReport {
        let deadLetters = try await RunJournal.openReadOnly(directory: stateDirectory).outbox(.deadLetter, limit: 1000)
        await proxy.stop()
        await backend.stop()
        let database = folder + "/backend"
        try FileManager.default.copyItem(at: backend.dataFolder, to: URL(filePath: database))
        let ledger = try ChaosLedger(ledger: ledger, database: database + "/backend.sqlite")
        report.oneOffs = oneOffs.count
        report.schedules = schedules.count
        report.calls = ledger.lines.count
        report.statuses = Dictionary(grouping: ledger.results, by: \.status).mapValues(\.count)
        report.faults = Dictionary(uniqueKeysWithValues: script.counts.map { ($0.key.rawValue, $0.value) })
        report.checks =
            ledger.violations(oneOffs: oneOffs, schedules: schedules) + people.violations(by: ledger)
        report.wishes = people.counts
        report.checks.append(
            ChaosReport.Check(
                "dead letters", deadLetters.map { "the run \($0.runID) of \($0.taskID): \($0.reason ?? "")" }))
        report.checks.append(ChaosReport.Check("other misbehaviour", misbehaviour))
        report.duration = start.duration(to: .now)
        if report.isGood && !options.keepsFolder {
            try FileManager.default.removeItem(atPath: folder)
        } else {
            report.folder = folder
        }
        return report
    }
}

/// Whether there is nothing more to wait for: all is there, or nothing has moved for long.
private struct QuietTime {
    struct Progress: Equatable {
        var hasWork = true
        var finished = 0
        var isComplete = false
    }

    private var last = Progress()
    private var since = ContinuousClock.now
    /// An agent that is at rest for so long does nothing more: it polls five times a second.
    private static let limit = Duration.seconds(20)

    mutating func isOver(_ progress: Progress) -> Bool {
        if progress != last { (last, since) = (progress, .now) }
        guard !progress.hasWork else { return false }
        return progress.isComplete || since.duration(to: .now) > Self.limit
    }
}

extension BackendService {
    /// Whether each of these one-off tasks has a result.
    fileprivate func hasResults(of tasks: [String]) async throws -> Bool {
        // The last ones come last, so that this is cheap until nearly all are there.
        for task in tasks.reversed() {
            guard try await runCount(ofTask: task) > 0 else { return false }
        }
        return true
    }
}
