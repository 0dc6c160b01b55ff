import AgentModel
import Foundation
import Synchronization

/// Who follows which run, and what runs that are followed have printed so far. In memory: the result replaces it, and after a
/// restart of the backend followers ask again and agents send it again.
final class LiveRuns: Sendable {
    /// The task whose run is followed.
    struct Key: Hashable, Sendable {
        var agentID: String
        var id: String
    }

    /// What of a run's output is kept at most, in bytes, and of all runs together.
    static let outputLimit = 4 << 20
    static let totalLimit = 64 << 20
    private static let mostOutputs = 10_000
    /// What a piece takes beside its bytes, about.
    private static let chunkOverhead = 128
    /// For how long a run is still watched after its last follower has gone: they ask again and again.
    static let watchTime = Duration.seconds(15)

    private struct Output {
        /// The agent's own id of it. A task has one run after the other.
        var runID: String
        /// In the order in which they came, without gaps in either stream.
        var chunks: [OutputChunk] = []
        var ends: [OutputChunk.Stream: Int] = [:]
        var size = 0
        var changedAt: ContinuousClock.Instant
    }

    private struct Waiter {
        let continuation: CheckedContinuation<Void, Never>
        let timer: Task<Void, any Error>

        func end() {
            timer.cancel()
            continuation.resume()
        }
    }

    private struct State {
        var watches: [Key: ContinuousClock.Instant] = [:]
        var outputs: [Key: Output] = [:]
        var size = 0
        /// How many requests follow something now, and how often something has happened to it since the first of them.
        var followed: [Key: (requests: Int, version: UInt64)] = [:]
        var waiters: [Key: [UInt64: Waiter]] = [:]
        var lastID: UInt64 = 0
        var isStopping = false
    }

    /// Another with each start of the backend, which has nothing of what it had before.
    let epoch = BackendService.newID()
    private let state = Mutex(State())

    // MARK: Watches

    /// - Returns: Whether nobody watched it before: the agent is to be told.
    func watch(_ key: Key) -> Bool {
        let now = ContinuousClock.now
        return state.withLock { state in
            let isNew = state.watches[key].map { $0 < now } ?? true
            state.watches[key] = now + Self.watchTime
            return isNew
        }
    }

    /// What of an agent's is watched now.
    func watched(ofAgent agentID: String) -> Set<String> {
        let now = ContinuousClock.now
        return state.withLock { state in
            if state.watches.isEmpty { return [] }
            state.watches = state.watches.filter { $0.value >= now }
            return Set(state.watches.keys.filter { $0.agentID == agentID }.map(\.id))
        }
    }

    func isWatched(_ key: Key) -> Bool {
        let now = ContinuousClock.now
        return state.withLock { $0.watches[key].map { $0 >= now } ?? false }
    }

    // MARK: Output

    /// Keeps what of the pieces is new and follows what there is.
    /// - Returns: Where each stream goes on.
    func add(_ chunks: [OutputChunk], ofRun runID: String, task: Key) -> [OutputChunk.Stream: Int] {
        let now = ContinuousClock.now
        let ends = state.withLock { state -> [OutputChunk.Stream: Int] in
            if let other = state.outputs[task], other.runID != runID { forget(task, &state) }
            var kept = state.outputs[task] ?? Output(runID: runID, changedAt: now)
            let before = kept.size
            kept.changedAt = now
            for chunk in chunks {
                let end = kept.ends[chunk.stream] ?? 0
                // A gap is filled by what the agent sends again.
                guard chunk.offset <= end, let new = chunk.dropping(before: end) else { continue }
                kept.ends[chunk.stream] = new.end
                guard kept.size + new.bytes.count <= Self.outputLimit else { continue }
                kept.size += new.bytes.count
                // Many small pieces would take more than what is in them.
                let last = kept.chunks.count - 1
                if last >= 0, kept.chunks[last].stream == new.stream, kept.chunks[last].end == new.offset {
                    kept.chunks[last].bytes.append(new.bytes)
                } else {
                    kept.chunks.append(new)
                    kept.size += Self.chunkOverhead
                }
            }
            state.size += kept.size - before
            state.outputs[task] = kept
            dropOldest(&state, except: task)
            return kept.ends
        }
        notify(task)
        return ends
    }

    private func forget(_ task: Key, _ state: inout State) {
        if let output = state.outputs.removeValue(forKey: task) { state.size -= output.size }
    }

    private func dropOldest(_ state: inout State, except task: Key) {
        while state.size > Self.totalLimit || state.outputs.count > Self.mostOutputs,
            let oldest = state.outputs.filter({ $0.key != task }).min(by: { $0.value.changedAt < $1.value.changedAt })
        {
            forget(oldest.key, &state)
        }
    }

    /// What a run has printed beyond these offsets.
    func chunks(ofRun runID: String, task: Key, beyond offsets: [OutputChunk.Stream: Int]) -> [OutputChunk] {
        state.withLock { state in
            guard let output = state.outputs[task], output.runID == runID else { return [] }
            return output.chunks.compactMap { $0.dropping(before: offsets[$0.stream] ?? 0) }
        }
    }

    /// The run of a task that has printed something last.
    func run(ofTask task: Key) -> String? { state.withLock { $0.outputs[task]?.runID } }

    /// The run of a task has its result.
    func end(_ task: Key) {
        state.withLock { state in
            state.watches[task] = nil
            forget(task, &state)
        }
        notify(task)
    }

    // MARK: Waiting

    /// Follows something for as long as the body takes.
    func following<T>(_ key: Key, _ body: () async throws -> T) async rethrows -> T {
        state.withLock { $0.followed[key, default: (0, 0)].requests += 1 }
        defer {
            state.withLock { state in
                state.followed[key]?.requests -= 1
                if state.followed[key]?.requests == 0 { state.followed[key] = nil }
            }
        }
        return try await body()
    }

    /// To be taken before what a follower is told is read.
    func version(of key: Key) -> UInt64 { state.withLock { $0.followed[key]?.version ?? 0 } }

    /// Waits until something has happened to what is followed, or for so long.
    func wait(for key: Key, since version: UInt64, atMost limit: Duration) async {
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    if state.isStopping || Task.isCancelled || (state.followed[key]?.version ?? 0) != version {
                        return true
                    }
                    // Under the lock, so that it can't be over before there is something for it to end.
                    let timer = Task {
                        try await Task.sleep(for: limit)
                        finish(key, id)
                    }
                    state.waiters[key, default: [:]][id] = Waiter(continuation: continuation, timer: timer)
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            finish(key, id)
        }
    }

    /// Something has happened to what is followed.
    func notify(_ key: Key) {
        let woken = state.withLock { state in
            state.followed[key]?.version += 1
            return state.waiters.removeValue(forKey: key) ?? [:]
        }
        for waiter in woken.values { waiter.end() }
    }

    var isStopping: Bool { state.withLock { $0.isStopping } }

    /// Nobody waits from now on.
    func stop() {
        let woken = state.withLock { state in
            state.isStopping = true
            defer { state.waiters = [:] }
            return state.waiters.values.flatMap(\.values)
        }
        for waiter in woken { waiter.end() }
    }

    private func finish(_ key: Key, _ id: UInt64) {
        let waiter = state.withLock { state -> Waiter? in
            defer { if state.waiters[key]?.isEmpty == true { state.waiters[key] = nil } }
            return state.waiters[key]?.removeValue(forKey: id)
        }
        waiter?.end()
    }
}
