import AgentModel
import BackendClient
import Diagnostics
import Glibc
import Logging
import PluginExecution
import RunJournal
import ServiceLifecycle
import Synchronization

extension AgentRuntime {
    /// How long the last results may take on their way.
    private static let flushLimit = Duration.seconds(5)
    /// How long plugins and connections may take to close; a plugin that wedges the interpreter never would.
    private static let closeLimit = Duration.seconds(8)
    /// How long the end may take after `shutdown_grace`: the steps against runs that go on, the last results, plugins'
    /// `shutdown()`.
    private static let stopLimit = Duration.seconds(9)

    /// Runs until SIGTERM or SIGINT, or until the journal is lost. A second signal ends the process at once: the journal
    /// is made for that.
    ///
    /// - Parameters:
    ///   - signals: taken over before the runtime was built.
    ///   - reload: reads the configuration anew, at SIGHUP.
    /// - Returns: the status that the process should exit with.
    public func run(
        signals: AgentSignals, reload: @escaping @Sendable () throws -> AgentConfiguration
    ) async throws -> Int32 {
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: services.map { service in
                    // What is told to end early, as the dispatcher is where the interpreter is wedged, ends no other.
                    .init(service: service, successTerminationBehavior: .ignore)
                }, logger: quietLogger))
        signals.setStopLimit({ current.value.shutdownGrace + Self.stopLimit }, logger: logger)
        // Not loose tasks: they go on until the process ends, while the services end and after that.
        let (reloads, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        Task { await listen(to: signals.events, group) { continuation.yield() } }
        // Beside it: loading plugins anew takes as long as they like.
        Task { for await _ in reloads { await applyConfiguration(reload) } }
        journal.setOnLoss { error in
            events.isJournalLost.store(true, ordering: .releasing)
            Task { await endAfterLoss(error, group) }
        }
        logger.info(
            "agent started",
            metadata: [
                "version": "\(AgentVersion.current)", "server_url": "\(configuration.serverURL ?? "")",
                "workers": "\(configuration.workers)", "python": "\(pythonVersion)",
            ])
        var hasFailed = false
        do {
            try await group.run()
        } catch let error as ServiceGroupError
            where error.errorCode == .serviceFinishedUnexpectedly && events.isAgentStopping
        {
            // One that ended before its turn, as the dispatcher does where the interpreter is wedged. The others have been
            // cancelled, and what they had to write is written below.
            logger.debug("a service of the agent ended unexpectedly: \(error)")
        } catch {
            hasFailed = true
            logger.critical(
                "a service of the agent failed; exiting so that a supervisor can restart it: \(error)",
                metadata: ["code": "agent.service_failed"])
            await stopWork()
        }
        await flush()
        if hasFailed { return ExitStatus.serviceFailed }
        return events.isJournalLost.load(ordering: .acquiring) ? ExitStatus.journalLost : 0
    }

    /// Unloads the plugins and closes what was opened. The process is expected to end with `_exit`.
    public func close() async {
        await statusRecorder.stopped()
        await within(Self.closeLimit) {
            await executor.shutDown()
        }
        await journal.close()
        await within(Self.closeLimit) { await http.shutdown() }
    }

    // MARK: Signals

    private func listen(
        to events: AsyncStream<AgentSignals.Event>, _ group: ServiceGroup, reload: () -> Void
    ) async {
        for await event in events {
            switch event {
            case .reload: reload()
            case .stop(let signal):
                logger.info("agent stopping", metadata: ["signal": "\(signal == SIGINT ? "SIGINT" : "SIGTERM")"])
                self.events.agentIsStopping()
                await stopWork()
                await group.triggerGracefulShutdown()
            }
        }
    }

    /// Starts nothing more, and stops what runs when its time is over.
    private func stopWork() async {
        await dispatcher.stopStarting()
        executor.stopStarting()
        let grace = current.value.shutdownGrace
        Task {
            try? await Task.sleep(for: grace)
            executor.stopCalls()
        }
    }

    /// The journal is damaged or gone: nothing can be started any more, and a supervisor starts the agent again. Of a
    /// journal that is gone this process has the only results.
    private func endAfterLoss(_ error: RunJournalError, _ group: ServiceGroup) async {
        logger.critical(
            """
            the agent can start nothing more and ends when what ran is \(error.isRemoved ? "delivered" : "recorded"), \
            so that it can be restarted: \(error.message)
            """, metadata: ["code": "\(error.code)"])
        await stopWork()
        await dispatcher.ended()
        if error.isRemoved {
            while let counts = try? await journal.reader.counts(), counts.pending > 0 {
                await events.outboxChange.wait()
            }
        }
        await group.triggerGracefulShutdown()
    }

    /// Takes over what can change while the agent runs, of a configuration that is right as a whole.
    private func applyConfiguration(_ reload: @Sendable () throws -> AgentConfiguration) async {
        let new: AgentConfiguration
        do {
            new = try reload()
        } catch {
            let coded = error as? any CodedError
            logger.error(
                "invalid configuration, keeping the current one: \(coded?.message ?? "\(error)")",
                metadata: ["code": "\(coded?.code ?? "configuration.unreadable_file")"])
            return
        }
        let before = current.value
        HiddenSecrets.add(new.environmentSecrets)
        let (taken, needRestart) = current.take(from: new)
        let now = current.value
        if now.pollInterval != before.pollInterval { await synchronizer.setPollInterval(now.pollInterval) }
        await reporter.setMinimal(now.resultFormat == .minimal)
        await loader.applySettings()
        await dispatcher.concurrencyChanged()
        logger.notice(
            "configuration reloaded",
            metadata: [
                "in_effect": "\(taken.joined(separator: ", "))",
                "need_restart": "\(needRestart.joined(separator: ", "))",
            ])
    }

    // MARK: The end

    private func flush() async {
        let delivery = Task { _ = await reporter.deliverDue() }
        await within(Self.flushLimit) { await delivery.value }
        // What is on its way is put back into the outbox.
        delivery.cancel()
        await within(Self.flushLimit) { await delivery.value }
    }

    /// Waits for work to end, but not for ever; it may go on behind our back.
    private func within(_ limit: Duration, _ work: @escaping @Sendable () async -> Void) async {
        let (ends, continuation) = AsyncStream<Void>.makeStream()
        let timer = Task {
            try? await Task.sleep(for: limit)
            continuation.finish()
        }
        Task {
            await work()
            continuation.finish()
        }
        for await _ in ends {}
        timer.cancel()
    }

    /// The service group tells of every service at info; that is our debug.
    private var quietLogger: Logger {
        var logger = logger
        if logger.logLevel == .info { logger.logLevel = .warning }
        return logger
    }
}

extension RunJournalError {
    fileprivate var isRemoved: Bool { if case .removed = self { true } else { false } }
}
