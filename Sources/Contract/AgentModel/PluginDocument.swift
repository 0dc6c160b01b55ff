/// `GET /api/agent/plugin/{PLUGIN_ID}`: one version of one plugin and the commands it provides.
public struct PluginDocument: Codable, Equatable, Sendable {
    public var id: String
    public var name: String
    public var version: PluginVersion?
    public var description: String?
    /// Python source. Its UTF-8 bytes are what `hash` is over, to the byte.
    public var script: String
    /// SHA-512 of the UTF-8 bytes of `script`, hex, either case.
    public var hash: String
    /// By command name.
    public var commands: [String: CommandDocument]
    /// Ed25519 over the script's bytes, base64 (part 2 of the contract).
    public var signature: String?
    public var keyID: String?
    /// What it asks of the sandbox (part 2 of the contract).
    public var sandbox: SandboxRequest?

    public init(
        id: String, name: String, version: PluginVersion?, description: String?, script: String, hash: String,
        commands: [String: CommandDocument], signature: String? = nil, keyID: String? = nil,
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

    /// Commands of one plugin at most.
    public static let commandLimit = 10_000

    /// What is read of the answer of `GET /api/agent/plugin/{PLUGIN_ID}`, and of a document without the envelope.
    public static let selection: JSONSelection = {
        let command = JSONSelection.object(["id": .scalar, "name": .scalar, "function": .scalar])
        var fields: [String: JSONSelection] = [
            "id": .scalar, "name": .scalar, "version": .scalar, "description": .scalar, "script": .scalar,
            "hash": .scalar, "commands": .map(command, limit: commandLimit), "signature": .scalar, "key_id": .scalar,
            "sandbox": .value(byteLimit: 256 << 10),
        ]
        fields["data"] = .object(fields)
        return .object(fields)
    }()

    private enum CodingKeys: String, CodingKey {
        case id, name, version, description, script, hash, commands, signature, sandbox
        case keyID = "key_id"
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        id = try container.decode(String.self, forKey: .id)
        name = try container.decode(String.self, forKey: .name)
        version = try container.decodeIfPresent(PluginVersion.self, forKey: .version)
        description = try container.decodeIfPresent(String.self, forKey: .description)
        script = try container.decode(String.self, forKey: .script)
        hash = try container.decode(String.self, forKey: .hash)
        signature = try container.decodeIfPresent(String.self, forKey: .signature)
        keyID = try container.decodeIfPresent(String.self, forKey: .keyID)
        sandbox = try container.decodeIfPresent(SandboxRequest.self, forKey: .sandbox)
        // PHP backends write an empty map as an empty list.
        if let list = try? container.decode([JSONValue].self, forKey: .commands), list.isEmpty {
            commands = [:]
        } else {
            commands = try container.decodeIfPresent([String: CommandDocument].self, forKey: .commands) ?? [:]
        }
    }

    public func encode(to encoder: any Encoder) throws { try encode(to: encoder, includingScript: true) }

    public func encode(to encoder: any Encoder, includingScript: Bool) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encode(name, forKey: .name)
        try container.encode(version, forKey: .version)
        try container.encode(description, forKey: .description)
        if includingScript { try container.encode(script, forKey: .script) }
        try container.encode(hash, forKey: .hash)
        try container.encode(commands, forKey: .commands)
        try container.encodeIfPresent(signature, forKey: .signature)
        try container.encodeIfPresent(keyID, forKey: .keyID)
        try container.encodeIfPresent(sandbox, forKey: .sandbox)
    }
}

/// A plugin's version as its author wrote it: `0` or `"v0.0.1"`. It is shown and never compared.
public enum PluginVersion: Hashable, Sendable, Codable, CustomStringConvertible {
    case integer(Int64)
    case string(String)

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let value = try? container.decode(Int64.self) {
            self = .integer(value)
        } else if let value = try? container.decode(Double.self) {
            self = .string("\(value)")
        } else {
            self = .string(try container.decode(String.self))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .integer(let value): try container.encode(value)
        case .string(let value): try container.encode(value)
        }
    }

    public var description: String {
        switch self {
        case .integer(let value): "\(value)"
        case .string(let value): value
        }
    }
}

/// One entry of a plugin's `commands`: which method of the `Plugin` instance a command runs.
public struct CommandDocument: Codable, Equatable, Sendable {
    public var id: String?
    public var name: String?
    /// A plain public method name: an identifier that doesn't begin with an underscore.
    public var function: String

    public init(id: String?, name: String?, function: String) {
        self.id = id
        self.name = name
        self.function = function
    }

    /// Without a function, or with one that is no text, the command is refused by itself and the others go on.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        id = try? container.decodeIfPresent(String.self, forKey: .id)
        name = try? container.decodeIfPresent(String.self, forKey: .name)
        function = (try? container.decodeIfPresent(String.self, forKey: .function)) ?? ""
    }

    /// Whether `function` is a plain public method name: `[A-Za-z][A-Za-z0-9_]*`, or its non-ASCII kin
    /// (Python reference, section 2.3).
    public var hasCallableFunction: Bool { Self.isPublicMethodName(function) }

    /// Whether a text is a Python identifier that doesn't begin with an underscore.
    public static func isPublicMethodName(_ text: String) -> Bool {
        guard let first = text.unicodeScalars.first, first.properties.isXIDStart else { return false }
        return text.unicodeScalars.dropFirst().allSatisfy { $0 == "_" || $0.properties.isXIDContinue }
    }
}
