import AgentModel
import Foundation
import PythonEmbedding
import Threads

/// Which calls are under way in sandboxed processes, since when, and which of them wait in the kernel.
final class SandboxUses: Sendable {
    private struct Use {
        let plugin: PluginID
        let runID: String?
        let process: Int32
        /// Of the thread that waits for its answer.
        let wake: WakeSignal
        let start: ContinuousClock.Instant
        /// Of the process, when it was last looked at, in nanoseconds.
        var processorTime: UInt64?
        var isWaiting = false
    }

    /// By the numbers of the calls.
    private let uses = BlockingLock<[UInt64: Use]>([:])

    func begin(_ id: UInt64, plugin: PluginID, runID: String?, process: Int32, wake: WakeSignal) {
        uses.withLock { $0[id] = Use(plugin: plugin, runID: runID, process: process, wake: wake, start: .now) }
    }

    /// Has the thread that waits for a run's answer look at what is wanted of it.
    func wake(_ runID: String) {
        uses.withLock { uses in
            for use in uses.values where use.runID == runID { use.wake.raise() }
        }
    }

    func end(_ id: UInt64) {
        uses.withLock { $0[id] = nil }
    }

    /// How many calls that are at it for so long have used no processor since this was last asked.
    func countWaiting(after grace: Duration) -> Int {
        let now = ContinuousClock.now
        return uses.withLock { uses in
            var count = 0
            for (id, use) in uses where use.start.duration(to: now) >= grace {
                let time = ThreadSample.processorTime(ofProcess: use.process)
                uses[id]?.processorTime = time
                let isWaiting =
                    if let time, let before = use.processorTime { time < before + 10_000_000 } else { false }
                uses[id]?.isWaiting = isWaiting
                if isWaiting { count += 1 }
            }
            return count
        }
    }

    /// The longest first.
    var all: [WorkerUse] {
        let (now, date) = (ContinuousClock.now, Date())
        let all = uses.withLock { uses in
            uses.values.map { use in
                WorkerUse(
                    plugin: use.plugin, runID: use.runID, kind: .call, state: use.isWaiting ? .waiting : .running,
                    since: date.addingTimeInterval(-use.start.duration(to: now).seconds))
            }
        }
        return all.sorted { $0.since < $1.since }
    }
}
