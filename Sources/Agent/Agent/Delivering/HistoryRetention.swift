import Foundation
public import Logging
public import RunJournal
public import ServiceLifecycle

/// Forgets delivered runs that are older or more than what is kept (`history_days`, `history_limit`), every hour.
public struct HistoryRetention: Service {
    private let journal: RunJournal
    private let clock: any WallClock
    private let age: TimeInterval
    private let limit: Int
    private let logger: Logger

    private static let interval: TimeInterval = 3600

    /// - Parameters:
    ///   - days: since the delivery.
    ///   - limit: runs that are kept at most.
    public init(journal: RunJournal, clock: any WallClock, days: Int, limit: Int, logger: Logger) {
        self.journal = journal
        self.clock = clock
        age = TimeInterval(days) * 86_400
        self.limit = limit
        self.logger = logger
    }

    public func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                await prune()
                await pause()
            }
        }
    }

    private func prune() async {
        do {
            let count = try await journal.prune(now: clock.now, olderThan: age, keepingNewest: limit)
            if count > 0 { logger.info("deleted old runs", metadata: ["count": "\(count)"]) }
        } catch {
            logger.error(
                "could not delete old runs: \(error.message)", metadata: ["code": "\(error.code)"])
        }
    }

    /// By whichever clock is first: one that was set back must not put this off for years.
    private func pause() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await clock.sleep(until: clock.now.addingTimeInterval(Self.interval)) }
            group.addTask { try? await Task.sleep(for: .seconds(Self.interval)) }
            await group.next()
            group.cancelAll()
        }
    }
}
