public import AgentModel
import Diagnostics
public import Foundation

/// One version of a plugin as the backend keeps it.
public struct PublishedPlugin: Equatable, Sendable {
    public var document: PluginDocument
    public var createdAt: Date
    /// Lists leave the script out.
    public var includesScript = true
}

extension PublishedPlugin: Encodable {
    private enum CodingKeys: String, CodingKey {
        case createdAt = "created_at"
    }

    /// The document's fields, and beside them those of the backend.
    public func encode(to encoder: any Encoder) throws {
        try document.encode(to: encoder, includingScript: includesScript)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(RFC3339.string(from: createdAt), forKey: .createdAt)
    }
}

/// A plugin to publish. Each publication is a version with an id of its own.
public struct NewPlugin: Sendable {
    /// Nil for a new UUID.
    public var id: String?
    public var name: String
    public var version: PluginVersion?
    public var description: String?
    /// Python source with a class `Plugin`; its bytes are kept exactly.
    public var script: String
    /// Where given, it must be the script's SHA-512.
    public var hash: String?
    /// By name, which gets the plugin's id and a dot in front where it doesn't begin with them.
    public var commands: [String: CommandDocument]
    public var signature: String?
    public var keyID: String?
    /// What it asks of the sandbox.
    public var sandbox: SandboxRequest?

    public init(
        id: String? = nil, name: String, version: PluginVersion? = nil, description: String? = nil, script: String,
        hash: String? = nil, commands: [String: CommandDocument], signature: String? = nil, keyID: String? = nil,
        sandbox: SandboxRequest? = nil
    ) {
        self.id = id
        self.name = name
        self.version = version
        self.description = description
        self.script = script
        self.hash = hash
        self.commands = commands
        self.signature = signature
        self.keyID = keyID
        self.sandbox = sandbox
    }

    /// With commands as the short form writes them: name → function.
    public init(id: String? = nil, name: String, script: String, functions: [String: String]) {
        self.init(
            id: id, name: name, script: script,
            commands: functions.mapValues { CommandDocument(id: nil, name: nil, function: $0) })
    }
}
