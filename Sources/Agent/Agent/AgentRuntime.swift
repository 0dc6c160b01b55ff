import AgentModel
import BackendClient
import CronSchedule
public import DeviceAuthorization
import Diagnostics
import Foundation
public import Logging
import PluginExecution
import PluginStore
import PythonEmbedding
public import RunJournal
import ServiceLifecycle

/// All parts of the agent, made from a configuration and joined.
public struct AgentRuntime: Sendable {
    // More than a dozen properties: the parts of the agent.
    public let configuration: AgentConfiguration
    public let catalog: PluginCatalog
    public let scheduler: Scheduler
    public let dispatcher: Dispatcher
    public let reporter: Reporter
    public let synchronizer: Synchronizer
    public let journal: RunJournal
    /// Nil with `auth = False`.
    public let login: LoginService?
    let statusRecorder: StatusRecorder
    let executor: TieredExecutor
    let http: HTTPClient
    private let client: BackendClient
    private let clock: any WallClock
    let pythonVersion: String
    let logger: Logger

    let loader: PluginLoader
    let stacks: StackReporter
    let events: AgentEvents
    /// What has been reloaded since.
    let current: CurrentConfiguration

    /// Opens the state directory, starts the interpreter and joins the parts. Nothing runs yet.
    ///
    /// - Parameters:
    ///   - missedRuns: what becomes of fire times that passed while no agent ran; nil as it is configured.
    ///   - loginPolicy: what to do where the agent has to log in and hasn't.
    /// - Throws: a `CodedError` of the part that could not be made.
    public static func build(
        configuration: AgentConfiguration, clock: any WallClock = SystemWallClock.shared,
        missedRuns: Scheduler.MissedRuns? = nil, loginPolicy: LoginService.Policy = .ask,
        loginClock: any LoginClock = SystemLoginClock(), logger: Logger
    ) async throws -> AgentRuntime {
        let serverURL = try configuration.requireRunnable()
        let zone = try configuration.timeZone()
        HiddenSecrets.add(configuration.environmentSecrets)
        let http = try HTTPClient(configuration.http())
        let session = try configuration.loginSession(http: http, clock: loginClock, logger: logger)
        let login = session.map { LoginService(session: $0, policy: loginPolicy, clock: loginClock, logger: logger) }
        try await login?.prepare()
        let client = try BackendClient(serverURL: serverURL, http: http, credentials: session ?? NoCredentials())
        let (journal, recovery) = try await RunJournal.open(directory: configuration.stateDirectory)
        recovery.log(to: logger)
        // Before anything is run again beside them.
        await ProgramEnd.endLeft(byRuns: recovery.interrupted.map(\.runID.rawValue) + recovery.cutOff)
        RunPrograms.setLateOutput { text in
            logger.info("output outside of any run: \(quoted(text, limit: 500))")
        }
        for name in configuration.unknownEnvironmentNames {
            logger.warning(
                "ignoring an environment variable that names no setting; see docs/configuration.md",
                metadata: ["name": "\(name)", "code": "configuration.unknown_key"])
        }
        let store = try PluginStore(path: configuration.pluginDirectory, backend: client, logger: logger)
        // Before the interpreter, so that what plugins install comes first and hands the signal on.
        journal.trace?.watchSignals()
        let owners = TaskOwners()
        let host = BackendHost(client: client, owners: owners)
        let interpreter = try PythonInterpreter.start(pythonPath: configuration.pythonPath, host: host)

        // The parts know of each other's events through this: each is made before the one it tells.
        let agentEvents = AgentEvents()
        let current = CurrentConfiguration(configuration)
        let executor = try configuration.makeExecutor(
            interpreter: interpreter, workers: configuration.workers,
            workersMax: configuration.workersMax ?? 4 * configuration.workers, host: host,
            observer: journal.trace.map(TracedCalls.init(trace:)),
            events: ExecutorEvents(
                onWedged: { agentEvents.endProcess() }, onHold: { agentEvents.interpreterIsHeld($0) },
                onWorkers: { agentEvents.workersChanged($0) }))
        let catalog = PluginCatalog()
        let dispatcher = Dispatcher(
            dependencies: Dispatcher.Dependencies(
                journal: journal, catalog: catalog, executor: executor, clock: clock,
                recheck: { try await store.recheck($0) }, onResult: { agentEvents.resultIsWaiting() },
                onDamagedPlugin: { agentEvents.pluginIsDamaged($0) },
                outboxLimit: { current.value.outboxLimit }, isIdempotent: { current.isIdempotent($0) }),
            workers: configuration.workers, concurrency: { current.concurrency(of: $0) }, logger: logger)
        let statusChanged = StatusRecorder.Trigger()
        let scheduler = Scheduler(clock: clock, zone: zone, missedRuns: missedRuns ?? configuration.missedRuns) { run in
            await dispatcher.submit(run)
            statusChanged()
        }
        let statusRecorder = StatusRecorder(
            dependencies: StatusRecorder.Dependencies(
                journal: journal, catalog: catalog, dispatcher: dispatcher, scheduler: scheduler, clock: clock,
                isolation: { executor.isolation(of: $0).text }, use: { executor.use },
                configuration: { (current.value, current.pluginNames) }, lastDeath: recovery.death),
            trigger: statusChanged, serverURL: serverURL, logger: logger)
        let reporter = Reporter(
            journal: journal, client: client, clock: clock, isMinimal: configuration.resultFormat == .minimal,
            onDelivery: { agentEvents.outboxShrank() },
            logger: logger)
        let loader = PluginLoader(
            store: store, executor: executor, catalog: catalog,
            settings: { current.settings(for: $0, named: $1) }, forget: { current.forget($0) },
            crashes: { try? await journal.reader.pluginCrashes() }, redownloads: configuration.forceRedownload,
            clock: clock, collectGarbage: { await executor.collectGarbage() },
            onChange: {
                // A plugin doesn't wait to be loaded until all that waits for others has been looked at.
                Task { await dispatcher.catalogChanged() }
                statusChanged()
            }, memory: PluginMemory(journal: journal, clock: clock, logger: logger), logger: logger)
        let tasks = TaskIntake(
            scheduler: scheduler, dispatcher: dispatcher, journal: journal, clock: clock,
            onResult: { reporter.wake() }, logger: logger)
        let stacks = StackReporter(
            runs: dispatcher.inProgress, executor: executor, client: client, logger: logger)
        let synchronizer = Synchronizer(
            dependencies: Synchronizer.Dependencies(
                client: client, plugins: loader, tasks: tasks,
                runs: RunControl(
                    dispatcher: dispatcher, journal: journal, client: client, stacks: stacks, logger: logger),
                scheduler: scheduler, dispatcher: dispatcher,
                onRound: { await statusRecorder.contacted($0) },
                onBackend: { await login?.note(backendID: $0) },
                onAgent: { await statusRecorder.identified($0) }),
            pollInterval: configuration.pollInterval, logger: logger)
        owners.connect(catalog: catalog, dispatcher: dispatcher, tasks: tasks)
        agentEvents.connect(
            reporter: reporter, loader: loader, synchronizer: synchronizer, dispatcher: dispatcher,
            statusChanged: statusChanged, recorder: statusRecorder, logger: logger)
        await login?.setOnLogin {
            await reporter.loggedIn()
            synchronizer.wake()
        }
        return AgentRuntime(
            configuration: configuration, catalog: catalog, scheduler: scheduler, dispatcher: dispatcher,
            reporter: reporter, synchronizer: synchronizer, journal: journal, login: login,
            statusRecorder: statusRecorder,
            executor: executor, http: http, client: client, clock: clock, pythonVersion: interpreter.version,
            logger: logger,
            loader: loader, stacks: stacks, events: agentEvents, current: current)
    }

    // MARK: Running

    /// Everything that runs for as long as the agent does, in the order in which it is started. Stopped in the reverse
    /// order: first nothing new begins, and the last results are delivered at the end. A new service is added here.
    var services: [any Service] {
        let auxiliary: [any Service] =
            (login.map { [$0] } ?? []) + [
                statusRecorder, OutboxWatch(journal: journal, logger: logger, onChange: { reporter.wake() }),
                HistoryRetention(
                    journal: journal, clock: clock, days: configuration.historyDays, limit: configuration.historyLimit,
                    logger: logger),
            ]
        let progress = ProgressReporter(
            runs: dispatcher.inProgress, client: client, isWanted: { synchronizer.isBackendOurs }, logger: logger)
        let control = ControlSocket(
            path: ControlSocket.path(in: configuration.stateDirectory), runs: dispatcher.inProgress, stacks: stacks,
            logger: logger)
        return auxiliary + [control, progress, reporter, dispatcher, scheduler, synchronizer]
    }

    /// What became of ``runOnce()``.
    public struct OnceReport: Sendable, Equatable {
        public var isSynchronized: Bool
        public var tally: Dispatcher.Tally
        /// Results that the backend does not have yet.
        public var undelivered: Int

        /// Everything that was due ran and succeeded, and the backend has it.
        public var isGood: Bool { isSynchronized && tally.failed == 0 && undelivered == 0 }
    }

    /// Synchronizes, runs all that is due now, and delivers.
    public func runOnce() async throws -> OnceReport {
        await statusRecorder.isOnce()
        let oldDeadLetters = try await journal.reader.counts().deadLetters
        if oldDeadLetters > 0 {
            logger.warning(
                "there are dead letters, results that the backend refused earlier; see 'outbox list'",
                metadata: ["count": "\(oldDeadLetters)"])
        }
        let isSynchronized = await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await dispatcher.run() }
            async let delivery: Void = reporter.runUntilFinished()
            let isSynchronized = await synchronizer.synchronize()
            await scheduler.fireDue()
            await dispatcher.idle()
            var tally = await dispatcher.tally
            reporter.finish()
            await delivery
            // What a full outbox holds back may run once it is emptied. Each delivery may have started some of it already,
            // so it is over when nothing has ended since the outbox was emptied last.
            while await reporter.deliverDue() == nil {
                await dispatcher.outboxShrank()
                await dispatcher.idle()
                let before = tally
                tally = await dispatcher.tally
                if tally == before { break }
            }
            group.cancelAll()
            return isSynchronized
        }
        await reporter.deliverDue()
        let counts = try await journal.reader.counts()
        return OnceReport(
            isSynchronized: isSynchronized, tally: await dispatcher.tally,
            undelivered: counts.pending + max(0, counts.deadLetters - oldDeadLetters))
    }
}

extension RecoveryReport {
    fileprivate func log(to logger: Logger) {
        if let death {
            logger.error(
                "the plugin \(quoted(death.pluginID)) took the last agent's process down \(death.sentence)",
                metadata: ["plugin": "\(death.pluginID)", "code": "run.crashed"])
        }
        if let traceError {
            logger.warning(
                "cannot keep a call trace; a crash caused by a plugin will not be attributed to it: \(traceError.message)",
                metadata: ["code": "\(traceError.code)"])
        }
        if let begunError {
            logger.warning(
                """
                the host has no memory for the list of runs that have begun; whatever is written down when the agent is \
                killed will count as begun: \(begunError.message)
                """,
                metadata: ["code": "\(begunError.code)"])
        }
        for run in takenBack {
            logger.info(
                "a run was prepared but had not begun when the last agent ended; it will run when the task is listed again",
                metadata: ["task_id": "\(run.taskID)"])
        }
        for run in cutOff {
            logger.warning(
                "a run of an idempotent plugin was cut off when the last agent ended; it runs again when its task is listed",
                metadata: ["run_id": "\(run)"])
        }
        for run in interrupted {
            logger.warning(
                "a run was interrupted when the last agent ended; reporting it",
                metadata: [
                    "task_id": "\(run.taskID)", "run_id": "\(run.runID)", "status": "\(run.status?.rawValue ?? "")",
                ])
        }
        if let damage {
            logger.critical(
                "the journal was damaged and set aside: \(damage.problem)",
                metadata: [
                    "code": "journal.corrupt", "set_aside": "\(damage.setAside)",
                    "complete": "\(damage.isComplete)",
                ])
        }
    }
}
