import Files
import Foundation
import GRDB
import Threads

/// The one thread that writes, and puts what many callers ask into one transaction and one sync (group commit).
///
/// While a transaction is being synced the next requests gather; what a caller needs now waits for no company, so that
/// a lone one pays for one sync and 64 share one. What only must not be forgotten waits a few milliseconds for others.
final class JournalWriter: @unchecked Sendable {
    // Unchecked because `requests`, `counts`, `state`, `closers`, `deadline` and `onLoss` are only touched with `monitor`
    // locked.

    /// How long a request may wait for others.
    enum Urgency {
        /// It writes mostly nothing, so that it costs no sync of its own.
        case read
        case now
        /// ``JournalWriter/patience``.
        case soon
    }

    private struct Request {
        let urgency: Urgency
        /// Runs inside the transaction; what it returns runs once that is on disk.
        let run: @Sendable (Database) throws -> @Sendable () -> Void
        let fail: @Sendable (RunJournalError) -> Void
    }

    private enum State: Equatable {
        case open
        case closing
        case closed
    }

    let pool: DatabasePool
    private let path: String
    private let monitor = Monitor()
    private let hasWork: Condition
    private var requests: [Request] = []
    /// How many of the requests are for now, and how many to read.
    private var counts = (now: 0, read: 0)
    /// When the first of the requests that may wait can't wait any more.
    private var deadline: timespec?
    private var state = State.open
    private var closers: [@Sendable () -> Void] = []
    /// Called once, when the database turns out to be damaged or gone.
    private var onLoss: (@Sendable (RunJournalError) -> Void)?
    /// In the transaction under way. Only the writer's thread touches it.
    private var isPlaceChecked = false
    /// Devices and inodes of the database and its write-ahead log.
    private let identity: [FileIdentity?]

    /// Bounds the time and the memory of one transaction.
    private static let transactionLimit = 1024
    private static let patience = Duration.milliseconds(10)

    init(pool: DatabasePool, path: String) {
        self.pool = pool
        self.path = path
        identity = Self.identity(of: path)
        hasWork = Condition(of: monitor)
        let thread = Thread { self.work() }
        thread.name = "journal"
        thread.stackSize = 1 << 20
        thread.start()
    }

    /// Runs `body` in a transaction, with others. Returns when it is on disk.
    ///
    /// `body` may run a second time, alone, when a request that shared its transaction failed. Cancelling the
    /// calling task doesn't take it back.
    func perform<Value: Sendable>(
        _ urgency: Urgency = .now, _ body: @escaping @Sendable (Database) throws -> Value,
        onCommit: @escaping @Sendable (Value) -> Void = { _ in }
    ) async throws(RunJournalError) -> Value {
        let result: Result<Value, RunJournalError> = await withCheckedContinuation { continuation in
            let request = Request(
                urgency: urgency,
                run: { db in
                    let value = try body(db)
                    return {
                        onCommit(value)
                        continuation.resume(returning: .success(value))
                    }
                },
                fail: { continuation.resume(returning: .failure($0)) })
            let isTaken = monitor.withLock {
                guard case .open = state else { return false }
                requests.append(request)
                count(urgency, 1)
                // One that may wait is noticed with the first of them.
                if urgency == .soon {
                    if deadline != nil { return true }
                    deadline = hasWork.end(in: Self.patience)
                }
                hasWork.signal()
                return true
            }
            if !isTaken { request.fail(.closed) }
        }
        return try result.get()
    }

    /// Looks whether what is written now will be found by the next agent.
    /// - Throws: `journal.removed` where the database or its log was deleted, moved or replaced while it is open.
    func checkPlace() throws(RunJournalError) {
        // Once a transaction is as often as it can matter.
        if isPlaceChecked { return }
        isPlaceChecked = true
        if Self.identity(of: path) != identity { throw .removed(path: path) }
    }

    /// Of the log too: SQLite's locks are record locks, which the kernel drops when a plugin of this process opens and
    /// closes the files, and then another process takes itself for the last one and removes the log.
    private static func identity(of path: String) -> [FileIdentity?] {
        [path, path + "-wal"].map(FileIdentity.init(ofFile:))
    }

    func setOnLoss(_ onLoss: @escaping @Sendable (RunJournalError) -> Void) {
        monitor.withLock { self.onLoss = onLoss }
    }

    /// Writes what was asked before, then ends the thread and closes the database.
    func close() async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            guard stop(then: { continuation.resume() }) else { return continuation.resume() }
        }
    }

    /// Asks the thread to end after what was asked before. False where it has ended already.
    @discardableResult
    func stop(then closer: @escaping @Sendable () -> Void = {}) -> Bool {
        monitor.withLock {
            if case .closed = state { return false }
            state = .closing
            closers.append(closer)
            hasWork.signal()
            return true
        }
    }

    private func work() {
        while let batch = nextBatch() { commit(batch[...]) }
        // The journal is whole without these: what isn't folded into the file stays in the write-ahead log.
        _ = try? pool.writeWithoutTransaction { db in try db.checkpoint(.truncate) }
        try? pool.close()
        let closers = monitor.withLock {
            state = .closed
            defer { self.closers = [] }
            return self.closers
        }
        for closer in closers { closer() }
    }

    private func nextBatch() -> [Request]? {
        monitor.withLock {
            while true {
                let isClosing = state != .open
                if isClosing && requests.isEmpty { return nil }
                if isClosing || counts.now > 0 || isOverdue {
                    let batch = Array(requests.prefix(Self.transactionLimit))
                    requests.removeFirst(batch.count)
                    for request in batch { count(request.urgency, -1) }
                    if requests.count == counts.now + counts.read { deadline = nil }
                    return batch
                }
                if counts.read > 0 {
                    let reads = requests.filter { $0.urgency == .read }
                    requests.removeAll { $0.urgency == .read }
                    counts.read = 0
                    return reads
                }
                if let deadline { hasWork.wait(until: deadline) } else { hasWork.wait() }
            }
        }
    }

    private func count(_ urgency: Urgency, _ difference: Int) {
        monitor.assertLocked()
        switch urgency {
        case .now: counts.now += difference
        case .read: counts.read += difference
        case .soon: break
        }
    }

    private var isOverdue: Bool {
        monitor.assertLocked()
        return deadline.map(hasWork.hasPassed) ?? false
    }

    private func commit(_ batch: ArraySlice<Request>) {
        do {
            let committed = try pool.writeWithoutTransaction { db in
                var committed: [@Sendable () -> Void] = []
                isPlaceChecked = false
                try db.inTransaction(.immediate) {
                    for request in batch { committed.append(try request.run(db)) }
                    return .commit
                }
                return committed
            }
            for resume in committed { resume() }
        } catch  where batch.count > 1 {
            // One request must not fail for what another met.
            for index in batch.indices { commit(batch[index...index]) }
        } catch {
            let error = RunJournalError(error, path: path)
            batch.first?.fail(error)
            guard error.isLoss else { return }
            let tell = monitor.withLock {
                defer { onLoss = nil }
                return onLoss
            }
            tell?(error)
        }
    }
}
