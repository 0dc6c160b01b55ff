import Foundation
import GRDB

/// The one thread that writes, and puts what many callers ask into one transaction and one sync (group commit).
///
/// While a transaction is being synced the next requests gather; nothing waits for company, so that a lone caller
/// pays for one sync and 64 callers share one.
final class JournalWriter: @unchecked Sendable {
    // Unchecked because `requests` and `state` are only touched with `condition` locked.

    private struct Request {
        /// Runs inside the transaction; what it returns runs once that is on disk.
        let run: @Sendable (Database) throws -> @Sendable () -> Void
        let fail: @Sendable (RunJournalError) -> Void
    }

    private enum State {
        case open
        case closing
        case closed
    }

    let pool: DatabasePool
    private let path: String
    private let condition = NSCondition()
    private var requests: [Request] = []
    private var state = State.open
    private var closers: [@Sendable () -> Void] = []
    /// Device and inode of the database.
    private let identity: [UInt64]?

    /// Bounds the time and the memory of one transaction.
    private static let transactionLimit = 1024

    init(pool: DatabasePool, path: String) {
        self.pool = pool
        self.path = path
        identity = Self.identity(of: path)
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
        _ body: @escaping @Sendable (Database) throws -> Value,
        onCommit: @escaping @Sendable (Value) -> Void = { _ in }
    ) async throws(RunJournalError) -> Value {
        let result: Result<Value, RunJournalError> = await withCheckedContinuation { continuation in
            let request = Request(
                run: { db in
                    let value = try body(db)
                    return {
                        onCommit(value)
                        continuation.resume(returning: .success(value))
                    }
                },
                fail: { continuation.resume(returning: .failure($0)) })
            condition.lock()
            guard case .open = state else {
                condition.unlock()
                request.fail(.closed)
                return
            }
            requests.append(request)
            condition.signal()
            condition.unlock()
        }
        return try result.get()
    }

    /// Looks whether what is written now will be found by the next agent.
    /// - Throws: `journal.removed` where the database was deleted, moved or replaced while it is open.
    func checkPlace() throws(RunJournalError) {
        if Self.identity(of: path) != identity { throw .removed(path: path) }
    }

    private static func identity(of path: String) -> [UInt64]? {
        var status = stat()
        return stat(path, &status) == 0 ? [UInt64(status.st_dev), UInt64(status.st_ino)] : nil
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
        condition.lock()
        defer { condition.unlock() }
        if case .closed = state { return false }
        state = .closing
        closers.append(closer)
        condition.signal()
        return true
    }

    private func work() {
        while let batch = nextBatch() { commit(batch[...]) }
        // The journal is whole without these: what isn't folded into the file stays in the write-ahead log.
        _ = try? pool.writeWithoutTransaction { db in try db.checkpoint(.truncate) }
        try? pool.close()
        condition.lock()
        state = .closed
        let closers = self.closers
        self.closers = []
        condition.unlock()
        for closer in closers { closer() }
    }

    private func nextBatch() -> [Request]? {
        condition.lock()
        defer { condition.unlock() }
        while requests.isEmpty {
            if case .open = state { condition.wait() } else { return nil }
        }
        let batch = Array(requests.prefix(Self.transactionLimit))
        requests.removeFirst(batch.count)
        return batch
    }

    private func commit(_ batch: ArraySlice<Request>) {
        do {
            let committed = try pool.writeWithoutTransaction { db in
                var committed: [@Sendable () -> Void] = []
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
            batch.first?.fail(RunJournalError(error, path: path))
        }
    }
}
