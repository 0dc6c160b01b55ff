public import AgentModel
import Cryptography
import Diagnostics
import Foundation

extension BackendService {
    /// The largest script that agents take, in bytes.
    public static let maximumScriptSize = 8 << 20

    /// `GET /api/agent/plugin/{id}`.
    /// - Throws: `ReferenceBackendError.notFound` also for a plugin that is not assigned to this agent.
    public func pluginDocument(_ id: String, for agentID: String) async throws -> PluginDocument {
        try await storage.read { storage in
            guard try storage.isAssigned(id, to: agentID) else {
                throw ReferenceBackendError.notFound(.plugin, id: id)
            }
            return try storage.requirePlugin(id).document
        }
    }

    /// - Throws: `ReferenceBackendError.notFound`.
    public func plugin(_ id: String) async throws -> PublishedPlugin {
        try await storage.read { try $0.requirePlugin(id) }
    }

    /// Plugins without their scripts, the oldest first.
    public func plugins(_ page: PageRequest = .first) async throws -> Page<PublishedPlugin> {
        try await storage.read { try $0.plugins(page) }
    }

    /// Publishes a version of a plugin under an id of its own and computes its hash.
    /// - Throws: `ReferenceBackendError.invalidField`, `.alreadyExists`.
    public func publish(_ plugin: NewPlugin) async throws -> PublishedPlugin {
        let document = try Self.document(for: plugin)
        let now = now()
        return try await storage.write { storage in
            if try storage.hasPlugin(document.id) {
                throw ReferenceBackendError.alreadyExists(.plugin, id: document.id)
            }
            try storage.save(document, at: now)
            return try storage.requirePlugin(document.id)
        }
    }

    /// Deletes a version of a plugin that no agent has any more.
    /// - Throws: `ReferenceBackendError.notFound`, `.pluginAssigned`.
    public func deletePlugin(_ id: String) async throws {
        try await storage.write { storage in
            let agents = try storage.agents(withPlugin: id)
            guard agents.isEmpty else { throw ReferenceBackendError.pluginAssigned(id: id, agentIDs: agents) }
            guard try storage.deletePlugin(id) else { throw ReferenceBackendError.notFound(.plugin, id: id) }
        }
    }

    /// Gives an agent a plugin. Giving it twice changes nothing.
    /// - Throws: `ReferenceBackendError.notFound` for either.
    public func assign(_ pluginID: String, to agentID: String) async throws -> RegisteredAgent {
        try await changing([agentID]) { storage in
            _ = try storage.requireAgent(agentID)
            guard try storage.hasPlugin(pluginID) else { throw ReferenceBackendError.notFound(.plugin, id: pluginID) }
            try storage.assign(pluginID, to: agentID, isSeeded: false)
            return try storage.requireAgent(agentID)
        }
    }

    /// Takes a plugin from an agent. Tasks for its commands stay, and the agent reports them as rejected.
    /// - Throws: `ReferenceBackendError.notFound` for the agent, or for a plugin that it doesn't have.
    public func unassign(_ pluginID: String, from agentID: String) async throws -> RegisteredAgent {
        try await changing([agentID]) { storage in
            _ = try storage.requireAgent(agentID)
            guard try storage.unassign(pluginID, from: agentID) else {
                throw ReferenceBackendError.notFound(.plugin, id: pluginID)
            }
            return try storage.requireAgent(agentID)
        }
    }

    /// The document of a plugin to publish, checked, with its id, hash and full command names.
    static func document(for plugin: NewPlugin) throws(ReferenceBackendError) -> PluginDocument {
        let id = plugin.id ?? newID()
        try checkID(id, field: "id")
        try checkText(plugin.name, field: "name")
        guard !plugin.script.isEmpty else { throw .invalidField("script", problem: "it is empty") }
        guard plugin.script.utf8.count <= maximumScriptSize else {
            throw .invalidField("script", problem: "it is larger than \(maximumScriptSize) bytes")
        }
        if let signature = plugin.signature { try checkText(signature, field: "signature") }
        if let keyID = plugin.keyID { try checkText(keyID, field: "key_id") }
        if let sandbox = plugin.sandbox { try checkSandboxRequest(sandbox) }
        let hash = SHA512.hash(plugin.script.utf8).hex
        if let given = plugin.hash, given.lowercased() != hash {
            throw .invalidField("hash", problem: "the script's SHA-512 is \(hash); leave it out to have it computed")
        }
        return PluginDocument(
            id: id, name: plugin.name, version: plugin.version, description: plugin.description,
            script: plugin.script, hash: hash, commands: try commands(plugin.commands, ofPlugin: id),
            signature: plugin.signature, keyID: plugin.keyID, sandbox: plugin.sandbox)
    }

    private static func commands(
        _ commands: [String: CommandDocument], ofPlugin id: String
    ) throws(ReferenceBackendError) -> [String: CommandDocument] {
        var result: [String: CommandDocument] = [:]
        for (key, command) in commands {
            let field = "commands.\(key)"
            try checkText(key, field: field)
            guard command.hasCallableFunction else {
                throw .invalidField(
                    field,
                    problem: "the function \(quoted(command.function)) is not a plain public method name, an "
                        + "identifier that does not begin with an underscore")
            }
            let name = key.hasPrefix(id + ".") ? key : "\(id).\(key)"
            guard result[name] == nil else { throw .invalidField(field, problem: "it is there twice") }
            result[name] = CommandDocument(id: command.id ?? newID(), name: name, function: command.function)
        }
        return result
    }
}
