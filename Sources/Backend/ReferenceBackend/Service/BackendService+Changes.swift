import Foundation
import GRDB

/// A change that a command made beside the server, for the server's log.
struct CommandChange: Equatable, Sendable {
    var madeAt: Date
    var by: String
    var what: String
}

extension BackendService {
    /// Has the server write a change into its log: now, or at its next start.
    /// - Parameter by: Who made it.
    public func noteChange(_ what: String, by: String) async throws {
        let now = now()
        try await database.write { database in
            try database.execute(
                sql: "INSERT INTO unlogged_change (made_at, by, what) VALUES (?, ?, ?)", arguments: [now, by, what])
        }
    }

    /// The changes that commands made since the last time, the oldest first.
    func takeChanges() async throws -> [CommandChange] {
        let isAny = try await database.read { try Row.fetchOne($0, sql: "SELECT 1 FROM unlogged_change") != nil }
        guard isAny else { return [] }
        return try await database.write { database in
            let rows = try Row.fetchAll(
                database, sql: "DELETE FROM unlogged_change RETURNING sequence, made_at, by, what")
            return rows.sorted { ($0["sequence"] as Int64) < ($1["sequence"] as Int64) }.map {
                CommandChange(madeAt: $0["made_at"], by: $0["by"], what: $0["what"])
            }
        }
    }
}
