import AgentModel
import BackendClient
import Glibc
import Logging
import PluginExecution
import RunJournal
import ServiceLifecycle
import Synchronization
import UnixSignals

extension AgentRuntime {
    /// How long the last results may take on their way.
    private static let flushLimit = Duration.seconds(5)
    /// How long plugins and connections may take to close; a plugin that wedges the interpreter never would.
    private static let closeLimit = Duration.seconds(15)

    /// Runs until SIGTERM or SIGINT. A second one ends the process at once: the journal is made for that.
    ///
    /// - Parameters:
    ///   - signals: taken over before the runtime was built.
    ///   - reload: reads the configuration anew, at SIGHUP.
    public func run(
        signals: AgentSignals, reload: @escaping @Sendable () throws -> AgentConfiguration
    ) async throws {
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                // Ended in the reverse order: nothing new first, the last results at the end.
                services: onlookers + [reporter, dispatcher, scheduler, synchronizer], logger: quietLogger))
        // Not a loose task: it listens until the process ends, while the services end and after that.
        Task { await listen(to: signals.sequence, group, reload: reload) }
        logger.info(
            "agent started",
            metadata: [
                "version": "\(AgentVersion.current)", "server_url": "\(configuration.serverURL ?? "")",
                "workers": "\(configuration.workers)", "python": "\(pythonVersion)",
            ])
        try await group.run()
        await flush()
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
        to signals: UnixSignalsSequence, _ group: ServiceGroup, reload: @Sendable () throws -> AgentConfiguration
    ) async {
        var isStopping = false
        for await signal in signals {
            switch signal {
            case .sighup:
                await applyConfiguration(reload)
            case _ where isStopping:
                logger.warning("agent ended by a second signal", metadata: ["signal": "\(signal)"])
                _exit(128 + signal.rawValue)
            default:
                isStopping = true
                logger.info("agent stopping", metadata: ["signal": "\(signal)"])
                bell.agentIsStopping()
                await dispatcher.stopStarting()
                executor.stopStarting()
                await group.triggerGracefulShutdown()
                let grace = current.value.shutdownGrace
                Task {
                    try? await Task.sleep(for: grace)
                    executor.stopCalls()
                }
            }
        }
    }

    /// Takes over what can change while the agent runs, of a configuration that is right as a whole.
    private func applyConfiguration(_ reload: @Sendable () throws -> AgentConfiguration) async {
        let new: AgentConfiguration
        do {
            new = try reload()
        } catch {
            let coded = error as? any CodedError
            logger.error(
                "the configuration is wrong, and the agent goes on with the one it has: \(coded?.message ?? "\(error)")",
                metadata: ["code": "\(coded?.code ?? "configuration.unreadable_file")"])
            return
        }
        let before = current.value
        let (taken, needRestart) = current.take(from: new)
        let now = current.value
        if now.pollInterval != before.pollInterval { await synchronizer.setPollInterval(now.pollInterval) }
        await reporter.setMinimal(now.resultFormat == .minimal)
        await dispatcher.setConcurrency(now.concurrencyByPlugin)
        await loader.applySettings()
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
