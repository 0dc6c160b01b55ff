public import AgentModel
public import Cryptography
import Synchronization

/// A plugin whose document and file both had the digest that the document names.
public struct VerifiedPlugin: Sendable {
    public let id: PluginID
    /// As the backend wrote it, its script included.
    public let document: PluginDocument
    /// Those of the document's commands whose function can be called.
    public let commands: [String: CommandDocument]
    /// Why the others are left out, by the command's name in order, and what can't be read of what the plugin asks of
    /// the sandbox.
    public let problems: [AgentModelError]
    /// The very bytes that were hashed, read from the file: the ones to compile.
    public let script: [UInt8]
    public let digest: SHA512.Digest
    /// Where the script is.
    public let path: String

    let fileName: String
    private let currentIdentity: IdentityCell

    /// The file's, when it was last found to have the digest.
    public var identity: FileVersion { currentIdentity.value.withLock { $0 } }

    init(
        id: PluginID, document: PluginDocument, script: [UInt8], digest: SHA512.Digest, fileName: String, path: String,
        identity: FileVersion
    ) {
        self.id = id
        self.document = document
        self.script = script
        self.digest = digest
        self.fileName = fileName
        self.path = path
        commands = document.commands.filter { $0.value.hasCallableFunction }
        problems =
            document.commands.filter { !$0.value.hasCallableFunction }.sorted { $0.key < $1.key }
            .map { .invalidFunction(command: $0.key, function: $0.value.function) }
            + (document.sandbox?.problems ?? []).map { .invalidSandboxRequest(field: $0.field, problem: $0.problem) }
        currentIdentity = IdentityCell(identity)
    }

    /// The same plugin without its script, for those who only need to know of it: once they are compiled, a thousand
    /// scripts need not stay in memory.
    public func withoutScript() -> VerifiedPlugin {
        var document = document
        document.script = ""
        return VerifiedPlugin(self, document: document)
    }

    private init(_ plugin: VerifiedPlugin, document: PluginDocument) {
        id = plugin.id
        self.document = document
        commands = plugin.commands
        problems = plugin.problems
        script = []
        digest = plugin.digest
        path = plugin.path
        fileName = plugin.fileName
        currentIdentity = plugin.currentIdentity
    }

    /// After the file was replaced by one with the same bytes.
    func accept(_ identity: FileVersion) { currentIdentity.value.withLock { $0 = identity } }

    /// Shared by the copies of a plugin, so that what one run found out spares the others the reading.
    private final class IdentityCell: Sendable {
        let value: Mutex<FileVersion>

        init(_ identity: FileVersion) { value = Mutex(identity) }
    }
}
