import AgentModel
import Foundation
import PythonEmbedding
import Synchronization
import Threads

/// Whether the control thread still gets the GIL, and which threads may be what keeps it from that.
struct InterpreterProbe {
    private struct Answers {
        var last: UInt64 = 0
        var at: ContinuousClock.Instant?
    }

    private final class Shared: Sendable {
        let answers = Mutex(Answers())
    }

    private let shared = Shared()
    private var lastSent: UInt64 = 0
    /// When the oldest message was sent that may be unanswered.
    private(set) var sentAt: ContinuousClock.Instant?
    private var sample: (at: ContinuousClock.Instant, threads: [Int32: ThreadSample])?
    private var lastSuspects: Suspects?

    /// Has work done on the control thread, which wakes the pool's watchdog when it has done it.
    mutating func send(to pool: WorkerPool, _ work: @escaping @Sendable (borrowing GIL) -> Void) {
        if isAnswered {
            sentAt = .now
            forgetSamples()
        }
        lastSent += 1
        let number = lastSent
        pool.interpreter.enqueue { [shared] gil in
            work(gil)
            let now = ContinuousClock.now
            shared.answers.withLock { $0 = Answers(last: number, at: now) }
            // Under the lock, or the watchdog could miss it between its look and its sleep.
            pool.withLock { pool.watchdogSignal.signal() }
        }
    }

    var isAnswered: Bool { shared.answers.withLock { $0.last } == lastSent }

    var answeredAt: ContinuousClock.Instant? { shared.answers.withLock { $0.at } }

    func isDue(at now: ContinuousClock.Instant, every interval: Duration) -> Bool {
        sentAt.map { $0.duration(to: now) >= interval } ?? true
    }

    func silence(at now: ContinuousClock.Instant) -> Duration {
        isAnswered ? .zero : sentAt.map { $0.duration(to: now) } ?? .zero
    }

    mutating func forgetSamples() {
        sample = nil
        lastSuspects = nil
    }

    /// Who may hold the GIL, by what the threads have done since it was first asked; nil before that.
    mutating func suspects(
        at now: ContinuousClock.Instant, in pool: WorkerPool, every interval: Duration
    ) -> Suspects? {
        guard let before = sample else {
            sample = (now, ThreadSample.all())
            return nil
        }
        let time = before.at.duration(to: now)
        guard time >= interval / 2 else { return lastSuspects }
        // Always from the first one on: on a busy machine a short time says little.
        let suspects = Suspects(before: before.threads, after: ThreadSample.all(), time: time, pool: pool)
        lastSuspects = suspects
        return suspects
    }
}

/// The threads one of which must hold the GIL.
struct Suspects {
    /// By their numbers (gettid(2)).
    let threads: Set<Int32>
    /// Whose threads they are, apart from workers.
    private let owners: [Int32: PluginThreads.Owner]
    private let names: [Int32: String]

    /// A thread that waits for the GIL wakes every few milliseconds to ask for it, and does nothing else. One that
    /// computes with it takes what it gets of a processor; one that blocks in the kernel with it doesn't wake at all.
    init(
        before: [Int32: ThreadSample], after: [Int32: ThreadSample], time: Duration, pool: WorkerPool
    ) {
        let owners = PluginThreads.all()
        let running = Set(pool.workers.values.filter { $0.running?.begunAt != nil }.map(\.threadNumber))
        let idle = Set(pool.workers.values.map(\.threadNumber)).subtracting(running)
        let seconds = max(time.seconds, 0.001)
        var used: [Int32: Double] = [:]
        var still: Set<Int32> = []
        for (thread, sample) in after where sample.isPython && !idle.contains(thread) {
            let earlier = before[thread] ?? ThreadSample()
            used[thread] =
                Double(sample.processorTime - min(earlier.processorTime, sample.processorTime)) / 1e9 / seconds
            if Double(sample.turns - min(earlier.turns, sample.turns)) / seconds < 5 { still.insert(thread) }
        }
        let most = used.values.max() ?? 0
        let busy = used.filter { $0.value >= max(0.03, most / 4) }.keys
        // A worker that waits without the GIL is still as well, and can't be told from one that waits with it.
        threads = busy.isEmpty ? still.intersection(running.union(owners.keys)) : Set(busy)
        self.owners = owners
        names = after.mapValues(\.name)
    }

    /// Whether the worker's call may be what holds the GIL: on its own thread, or on one that its plugin started.
    func includes(_ worker: Worker) -> Bool {
        // Where nothing is known, none can be ruled out.
        if threads.isEmpty { return true }
        if threads.contains(worker.threadNumber) { return true }
        guard let plugin = worker.running?.job.plugin.rawValue else { return false }
        return threads.contains { owners[$0]?.name != nil && owners[$0]?.plugin == plugin }
    }

    /// What is known of the holder.
    func hold(in pool: WorkerPool, since: Date) -> InterpreterHold {
        var holds: [InterpreterHold] = []
        for thread in threads.sorted() {
            if let worker = pool.workers.values.first(where: { $0.threadNumber == thread }),
                let running = worker.running
            {
                holds.append(InterpreterHold(plugin: running.job.plugin, runID: running.job.runID, since: since))
            } else if let owner = owners[thread] {
                holds.append(
                    InterpreterHold(
                        plugin: owner.plugin.flatMap { try? PluginID($0) }, thread: owner.name ?? names[thread],
                        since: since))
            } else {
                holds.append(InterpreterHold(plugin: nil, thread: names[thread], since: since))
            }
        }
        if holds.count == 1 { return holds[0] }
        let plugins = Set(holds.map(\.plugin))
        return InterpreterHold(plugin: plugins.count == 1 ? holds.first?.plugin : nil, since: since)
    }
}
