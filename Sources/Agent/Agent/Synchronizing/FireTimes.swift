import AgentModel
import Diagnostics
import Foundation
import Logging
import RunJournal

/// When each listed schedule last fired, as far as the journal has it: what the scheduler begins with.
actor FireTimes {
    private let journal: RunJournal
    private let logger: Logger
    /// Nil until they were read.
    private var known: [TaskID: Date]?

    init(journal: RunJournal, logger: Logger) {
        self.journal = journal
        self.logger = logger
    }

    /// When each schedule last fired. One that is new counts from now, also for a later life of the agent. Nil where the
    /// journal could not be read or written.
    func lastFires(of scheduled: [TaskDocument], now: Date) async -> [TaskID: Date]? {
        do {
            // Once a life: the scheduler knows what fires from then on.
            var known = self.known ?? [:]
            if self.known == nil { known = try await kept(now: now) }
            let new = scheduled.filter { known[$0.key] == nil }
            for task in new { known[task.key] = now }
            try await withThrowingDiscardingTaskGroup { [journal] group in
                // Side by side, so that the journal takes them together.
                for task in new { group.addTask { try await journal.fired(task.id, at: now) } }
            }
            let listed = Set(scheduled.map(\.key))
            let gone = known.keys.filter { !listed.contains($0) }
            if !gone.isEmpty { try await journal.forgetSchedules(gone.map(\.text)) }
            known = known.filter { listed.contains($0.key) }
            self.known = known
            return known
        } catch {
            logger.error(
                "could not load or save the last fire times: \((error as? any CodedError)?.message ?? "\(error)")",
                metadata: ["code": "\((error as? any CodedError)?.code ?? "journal.io")"])
            return nil
        }
    }

    /// As an earlier life of the agent left them. A clock that was far ahead must not keep a schedule from firing until its time comes.
    private func kept(now: Date) async throws(RunJournalError) -> [TaskID: Date] {
        var known = try await journal.reader.lastFireTimes()
        let ahead = known.filter { Scheduler.isAhead($0.value, of: now) }
        guard !ahead.isEmpty else { return known }
        for id in ahead.keys { known[id] = now }
        try await journal.resetFireTimes(of: ahead.keys.map(\.text), to: now)
        let latest = ahead.values.max() ?? now
        logger.warning(
            "schedules fired last by a clock that was more than a day ahead of this one; they count from now",
            metadata: [
                "code": "schedule.clock_set_back", "schedules": "\(ahead.count)",
                "latest": "\(RFC3339.string(from: latest))",
            ])
        return known
    }
}
