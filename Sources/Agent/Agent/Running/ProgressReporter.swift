import AgentModel
import BackendClient
import Foundation
import Logging
import ServiceLifecycle
import Synchronization

/// Tells a backend that wants it which runs are under way, and what those print that somebody watches (part 2 of the
/// contract, "A run in progress"). What nobody watches and is over within a second costs no request.
final class ProgressReporter: Service {
    private struct State {
        /// Runs that the backend was told of, and that it is being told of or was not long ago.
        var told: Set<String> = []
        /// Runs whose output is being sent, or isn't wanted.
        var sending: Set<String> = []
        /// Whether the backend doesn't know the request.
        var isRefused = false
    }

    private let runs: RunsInProgress
    private let client: BackendClient
    /// Whether the backend has shown that it knows part 2.
    private let isWanted: @Sendable () -> Bool
    private let logger: Logger
    private let state = Mutex(State())

    /// From when on a run is told of.
    private static let firstReport = Duration.seconds(1)
    private static let retryPause = Duration.seconds(30)
    private static let unwantedPause = Duration.seconds(2)
    private static let beat = Duration.milliseconds(500)
    /// Between two pieces of one run's output.
    private static let pace = Duration.milliseconds(100)

    init(
        runs: RunsInProgress, client: BackendClient, isWanted: @escaping @Sendable () -> Bool, logger: Logger
    ) {
        self.runs = runs
        self.client = client
        self.isWanted = isWanted
        self.logger = logger
    }

    func run() async throws {
        await cancelWhenGracefulShutdown { [self] in
            await withDiscardingTaskGroup { group in
                while !Task.isCancelled {
                    let all = runs.all()
                    forget(except: all)
                    if isWanted() {
                        for run in all {
                            if let output = run.output, begin(sending: run) {
                                group.addTask { [self] in await send(output, of: run) }
                            }
                            if isDue(run) { group.addTask { [self] in await tell(run) } }
                        }
                    }
                    await pause(isIdle: all.isEmpty)
                }
            }
        }
    }

    private func pause(isIdle: Bool) async {
        if isIdle { return await runs.arrival.wait() }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await Task.sleep(for: Self.beat) }
            group.addTask { [runs] in await runs.arrival.wait() }
            await group.next()
            group.cancelAll()
        }
    }

    private func forget(except runs: [RunInProgress]) {
        state.withLock { state in
            guard !state.told.isEmpty || !state.sending.isEmpty else { return }
            let known = Set(runs.map(\.runID))
            state.told.formIntersection(known)
            state.sending.formIntersection(known)
        }
    }

    // MARK: That a run is under way

    private func isDue(_ run: RunInProgress) -> Bool {
        guard run.instant.duration(to: .now) >= Self.firstReport else { return false }
        return state.withLock { !$0.isRefused && $0.told.insert(run.runID).inserted }
    }

    private func tell(_ run: RunInProgress) async {
        let progress = RunProgress(status: .running, taskID: run.task.text, startedAt: run.startedAt)
        do throws(BackendError) {
            guard try await !client.report(progress, of: run.runID) else { return }
            // Asked no more until the agent restarts.
            state.withLock { $0.isRefused = true }
        } catch {
            // Later, as often as any request that fails.
            logger.debug(
                "could not report a run in progress: \(error.message)",
                metadata: ["run_id": "\(run.runID)", "code": "\(error.code)"])
            try? await Task.sleep(for: Self.retryPause)
            state.withLock { _ = $0.told.remove(run.runID) }
        }
    }

    // MARK: What it prints

    private func begin(sending run: RunInProgress) -> Bool {
        runs.isWatched(run) && state.withLock { $0.sending.insert(run.runID).inserted }
    }

    /// Sends the first piece at once and the others at a pace, until the run ends or nobody watches it any more.
    private func send(_ output: LiveOutput, of run: RunInProgress) async {
        var failures = 0
        while !Task.isCancelled, !output.isClosed {
            let chunks = output.unsent()
            guard output.takeQuestion() || !chunks.isEmpty else {
                await output.change.wait()
                continue
            }
            do throws(BackendError) {
                let answer = try await client.send(RunOutput(taskID: run.task.text, chunks: chunks), ofRun: run.runID)
                guard case .taken(let receipt) = answer else {
                    // Nobody watches it at this moment: the list without it is on its way. Somebody may again before that.
                    try? await Task.sleep(for: Self.unwantedPause)
                    if runs.isWatched(run) { continue } else { break }
                }
                output.sent(chunks, receipt)
                failures = 0
            } catch {
                logger.debug(
                    "could not send output of a run: \(error.message)",
                    metadata: ["run_id": "\(run.runID)", "code": "\(error.code)"])
                failures += 1
                try? await Task.sleep(for: .seconds(min(30, 1 << min(failures, 5))))
            }
            if !output.isClosed { try? await Task.sleep(for: Self.pace) }
        }
        // A watch that begins again is noticed at the next beat.
        state.withLock { _ = $0.sending.remove(run.runID) }
    }
}
