import Agent
import AgentModel
import Foundation
import PluginStore

/// A plugin that a person has as a file: a script, or a document that is checked like one of a backend.
struct PluginFile {
    let id: PluginID
    /// The bytes that were hashed.
    let script: [UInt8]
    let path: String
    /// The document's name; nil for a script without one.
    let name: String?
    /// What it asks of the sandbox.
    let sandbox: SandboxRequest?

    /// - Throws: `PluginStoreError`; `AgentModelError` for a document whose id is refused.
    init(path: String) throws {
        let verification = try PluginStore.verifyFile(path)
        self.path = URL(filePath: path).path(percentEncoded: false)
        script = verification.script
        name = verification.name
        sandbox = verification.sandbox
        switch verification.subject {
        case .document(let id): self.id = try PluginID(id)
        case .script, .scriptWithDocument: id = try PluginID(PluginSection.fileID)
        }
    }
}
