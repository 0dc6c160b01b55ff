import AgentModel
import Foundation
import Logging
import RunJournal

/// Keeps which commands plugins claimed when they were there last.
public struct PluginMemory: Sendable {
    let read: @Sendable () async -> [PluginID: Set<String>]
    let keep: @Sendable ([PluginID: Set<String>]) async -> Void

    /// Forgets at once.
    public init() {
        read = { [:] }
        keep = { _ in }
    }

    private static let name = "plugin_commands"

    /// In a journal. What can't be read there counts as never seen.
    init(journal: RunJournal, clock: any WallClock, logger: Logger) {
        read = {
            guard let snapshot = try? await journal.reader.snapshots()[Self.name],
                let texts = try? JSONDecoder().decode([String: Set<String>].self, from: Data(snapshot.json.utf8))
            else { return [:] }
            let claims = texts.compactMap { text, commands in (try? PluginID(text)).map { ($0, commands) } }
            return Dictionary(claims) { $1 }
        }
        keep = { claims in
            do {
                let texts = Dictionary(uniqueKeysWithValues: claims.map { ($0.rawValue, $1.sorted()) })
                let json = String(decoding: try JSONEncoder().encode(texts), as: UTF8.self)
                try await journal.keep(snapshots: [Self.name: json], at: clock.now)
            } catch {
                // Whoever writes runs says it louder.
                logger.debug("could not save the plugins' claims: \(error)")
            }
        }
    }
}
