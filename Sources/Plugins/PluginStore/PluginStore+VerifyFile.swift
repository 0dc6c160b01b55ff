public import AgentModel
public import Cryptography
import Diagnostics
import Foundation

/// What was found out about a plugin document or a script anywhere on disk.
public struct FileVerification: Sendable, Equatable {
    /// What the digest is over.
    public enum Subject: Sendable, Equatable {
        /// The `script` of a document, which has the document's `hash`.
        case document(pluginID: String)
        /// A script's bytes, compared with the document beside it.
        case scriptWithDocument(pluginID: String)
        /// A script's bytes, with no document to compare them with.
        case script
    }

    public let path: String
    public let subject: Subject
    public let digest: SHA512.Digest
    /// The bytes that have the digest: the ones to run.
    public let script: [UInt8]
    /// The document's name; nil for a script without one.
    public var name: String?
    /// What the document asks of the sandbox.
    public var sandbox: SandboxRequest?
}

extension PluginStore {
    /// Verifies a plugin document (`.json`), or hashes a script and compares it with the document of the same name
    /// beside it, if there is one. The file may be anywhere; symbolic links are followed, as it is a person who named it.
    /// - Throws: `PluginStoreError`; with code `plugin.hash_mismatch` when script and hash differ.
    public static func verifyFile(_ path: String) throws(PluginStoreError) -> FileVerification {
        if path.hasSuffix(".json") {
            guard let bytes = try read(path, limit: documentLimit) else {
                throw StoreDirectory.failure("opening", path)
            }
            let document = try decode(bytes, path: path)
            let digest = try verifyScript(of: document)
            return FileVerification(
                path: path, subject: .document(pluginID: document.id), digest: digest,
                script: Array(document.script.utf8), name: document.name, sandbox: document.sandbox)
        }
        guard let bytes = try read(path, limit: scriptLimit) else { throw StoreDirectory.failure("opening", path) }
        let actual = SHA512.hash(bytes)
        let sibling = (path as NSString).deletingPathExtension + ".json"
        guard path.hasSuffix(".py"), let text = try read(sibling, limit: documentLimit) else {
            return FileVerification(path: path, subject: .script, digest: actual, script: bytes)
        }
        let document = try decode(text, path: sibling)
        let digest = try verifyScript(of: document)
        guard actual == digest else {
            throw .hashMismatch(
                plugin: document.id, subject: "the file \(quoted(path))", expected: digest.hex, actual: actual.hex)
        }
        return FileVerification(
            path: path, subject: .scriptWithDocument(pluginID: document.id), digest: actual, script: bytes,
            name: document.name, sandbox: document.sandbox)
    }

    /// Nil, with errno set, where there is no file.
    private static func read(_ path: String, limit: Int) throws(PluginStoreError) -> [UInt8]? {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            throw StoreDirectory.failure("opening", path)
        }
        defer { close(file) }
        return try StoreDirectory.read(file, path: path, limit: limit, mustBeOurs: false).bytes
    }
}
