import Foundation

extension BackendService {
    /// Has the server write a change into its log: now, or at its next start.
    /// - Parameter by: Who made it.
    public func noteChange(_ what: String, by: String) async throws {
        let change = CommandChange(madeAt: now(), by: by, what: what)
        try await storage.write { try $0.insertChange(change) }
    }

    /// The changes that commands made since the last time, the oldest first.
    func takeChanges() async throws -> [CommandChange] {
        guard try await storage.read({ try $0.hasChanges() }) else { return [] }
        return try await storage.write { try $0.takeChanges() }
    }
}
