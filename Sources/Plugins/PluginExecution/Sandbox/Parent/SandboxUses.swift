import AgentModel
import Foundation
import PythonEmbedding
import Sandbox
import Threads

/// Which calls are under way in sandboxed processes, since when, and which of them wait in the kernel.
final class SandboxUses: Sendable {
    /// The process in which it is under way, and the channel to it.
    typealias Place = (child: SandboxChild, channel: Int)

    private struct Use {
        let plugin: PluginID
        let runID: String?
        let place: Place
        /// Of the thread that waits for its answer.
        let wake: WakeSignal
        let start: ContinuousClock.Instant
        /// Of the process, when it was last looked at, in nanoseconds.
        var processorTime: UInt64?
        var isWaiting = false
    }

    /// By the numbers of the calls.
    private let uses = BlockingLock<[UInt64: Use]>([:])

    func begin(_ id: UInt64, plugin: PluginID, runID: String?, place: Place, wake: WakeSignal) {
        uses.withLock { $0[id] = Use(plugin: plugin, runID: runID, place: place, wake: wake, start: .now) }
    }

    /// Has the thread that waits for a run's answer look at what is wanted of it.
    func wake(_ runID: String) {
        uses.withLock { uses in
            for use in uses.values where use.runID == runID { use.wake.raise() }
        }
    }

    /// Where a run's call is under way, and the call's number.
    func place(ofRun runID: String) -> (id: UInt64, place: Place)? {
        uses.withLock { uses in uses.first { $0.value.runID == runID }.map { ($0.key, $0.value.place) } }
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
                let time = ThreadSample.processorTime(ofProcess: use.place.child.interpreterProcess)
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
