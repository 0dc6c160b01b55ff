public import AgentModel
public import BackendClient
import Cryptography
import Diagnostics
import Dispatch
import Foundation
public import Logging
import Synchronization

/// The plugin directory: fetch, verify, keep, drop.
///
/// Disk work of the asynchronous calls is done on a queue of the store's own, one after the other. The synchronous ones
/// work on the caller's thread.
public final class PluginStore: Sendable {
    /// Bytes of a script at most.
    public static let scriptLimit = 8 << 20
    /// Bytes of a stored document at most: a script in which every byte is escaped, and its commands.
    static let documentLimit = 64 << 20

    private let open: Mutex<StoreDirectory>
    private let backend: BackendClient?
    private let logger: Logger
    private let queue = DispatchQueue(label: "plugin-store")

    /// Opens the plugin directory and removes what a crash left half written.
    /// - Parameters:
    ///   - path: made with mode 0700 where it isn't there; without a backend it must be there.
    ///   - backend: where plugins are fetched; nil to work with what is stored.
    /// - Throws: `PluginStoreError` with code `store.unsafe_directory` or `store.disk`.
    public init(path: String, backend: BackendClient?, logger: Logger) throws(PluginStoreError) {
        let directory = try StoreDirectory(path: path, createsMissing: backend != nil)
        open = Mutex(directory)
        self.backend = backend
        self.logger = logger
        for name in backend == nil ? [] : try directory.removeTemporaryFiles() {
            logger.info("removed an incomplete file", metadata: ["file": "\(quoted(name))"])
        }
    }

    /// The plugin, from disk if what is there is good, and otherwise fetched and stored.
    /// - Parameter forceRedownload: fetch it in any case.
    /// - Throws: `PluginStoreError`; with code `plugin.hash_mismatch` when the backend's document is wrong in itself.
    public func plugin(
        _ id: PluginID, forceRedownload: Bool = false
    ) async throws(PluginStoreError) -> VerifiedPlugin {
        let stored = await onQueue { directory throws(PluginStoreError) in try Self.load(id, from: directory) }
        if case .success(let plugin) = stored, !forceRedownload || backend == nil { return plugin }
        guard let backend else { return try stored.get() }
        switch stored {
        case .success, .failure(.notStored): break
        case .failure(let error):
            logger.warning(
                "the stored plugin is invalid, fetching it again",
                metadata: ["plugin": "\(id)", "code": "\(error.code)", "reason": "\(error.message)"])
        }
        let document = try await fetch(id, from: backend)
        _ = try Self.verifyScript(of: document)
        // Written again it would look changed to whoever compares identities.
        if case .success(let plugin) = stored, plugin.document == document { return plugin }
        try replaceDeletedDirectory()
        logger.info("plugin fetched", metadata: ["plugin": "\(id)", "bytes": "\(document.script.utf8.count)"])
        // What is handed out is read back from the disk and checked once more.
        let result = await onQueue { directory throws(PluginStoreError) in
            try Self.store(document, id, in: directory)
            return try Self.load(id, from: directory)
        }
        return try result.get()
    }

    /// Makes sure that the script on disk is still the one that was verified. Cheap while the file wasn't touched.
    ///
    /// The bytes to run are ``VerifiedPlugin/script`` all the same; nothing is read a second time for a run.
    /// - Throws: `PluginStoreError` with code `plugin.file_changed`.
    public func recheck(_ plugin: VerifiedPlugin) async throws(PluginStoreError) {
        let known = plugin.identity
        let current: FileVersion?
        do {
            current = try directory.identity(of: plugin.fileName)
        } catch {
            throw .fileChanged(plugin: plugin.id.rawValue, path: plugin.path, problem: error.message)
        }
        guard current != known else { return }
        try await onQueue { directory throws(PluginStoreError) in try Self.verifyAgain(plugin, in: directory) }.get()
    }

    /// What is stored under an id, verified, without asking the backend.
    public func verify(_ id: PluginID) throws(PluginStoreError) -> VerifiedPlugin {
        try Self.load(id, from: directory)
    }

    /// A stored document as it is, not verified: for showing it.
    public func document(_ id: PluginID) throws(PluginStoreError) -> PluginDocument {
        try Self.readDocument(id, from: directory)
    }

    /// The ids of all stored documents, in order.
    public func storedIDs() async throws(PluginStoreError) -> [PluginID] {
        let names = await onQueue { directory throws(PluginStoreError) in try directory.names() }
        return try names.get().filter { $0.hasSuffix(".json") }
            .compactMap { name in try? PluginID(String(name.dropLast(".json".count))) }.sorted()
    }

    /// Drops a plugin's files. That there are none is fine.
    public func remove(_ id: PluginID) async throws(PluginStoreError) {
        let result = await onQueue { directory throws(PluginStoreError) in
            // The document first: without it the script is never taken for a plugin.
            try directory.remove(Self.documentName(id))
            try directory.remove(Self.scriptName(id))
            try directory.synchronize()
        }
        try result.get()
    }

    // MARK: Steps

    private var directory: StoreDirectory { open.withLock { $0 } }

    /// Makes the directory anew where it was deleted since it was opened: nothing can be put into that one any more.
    private func replaceDeletedDirectory() throws(PluginStoreError) {
        let path = try open.withLock { (directory) throws(PluginStoreError) -> String? in
            guard directory.isDeleted else { return nil }
            directory = try StoreDirectory(path: directory.path, createsMissing: true)
            return directory.path
        }
        guard let path else { return }
        logger.warning("the plugin directory was deleted; recreating it", metadata: ["path": "\(quoted(path))"])
    }

    private func fetch(_ id: PluginID, from backend: BackendClient) async throws(PluginStoreError) -> PluginDocument {
        do {
            return try await backend.plugin(id)
        } catch {
            throw .backend(error)
        }
    }

    private static func verifyAgain(
        _ plugin: VerifiedPlugin, in directory: StoreDirectory
    ) throws(PluginStoreError) {
        func changed(_ problem: String) -> PluginStoreError {
            .fileChanged(plugin: plugin.id.rawValue, path: plugin.path, problem: problem)
        }
        let file: (bytes: [UInt8], identity: FileVersion)?
        do {
            file = try directory.read(plugin.fileName, limit: scriptLimit)
        } catch {
            throw changed(error.message)
        }
        guard let file else { throw changed("it is gone") }
        guard SHA512.hash(file.bytes) == plugin.digest else { throw changed("its SHA-512 is another") }
        plugin.accept(file.identity)
    }

    private func onQueue<Value: Sendable>(
        _ work: @escaping @Sendable (StoreDirectory) throws(PluginStoreError) -> Value
    ) async -> Result<Value, PluginStoreError> {
        await withCheckedContinuation { continuation in
            queue.async { [directory] in
                do throws(PluginStoreError) {
                    continuation.resume(returning: .success(try work(directory)))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
    }
}

// MARK: Files

extension PluginStore {
    private static func documentName(_ id: PluginID) -> String { id.rawValue + ".json" }
    private static func scriptName(_ id: PluginID) -> String { id.rawValue + ".py" }

    private static func load(_ id: PluginID, from directory: StoreDirectory) throws(PluginStoreError) -> VerifiedPlugin
    {
        let document = try readDocument(id, from: directory)
        let digest = try verifyScript(of: document)
        guard let file = try directory.read(scriptName(id), limit: scriptLimit) else {
            throw .notStored(id.rawValue, missing: scriptName(id))
        }
        let actual = SHA512.hash(file.bytes)
        guard actual == digest else {
            throw .hashMismatch(
                plugin: id.rawValue, subject: "the file on disk", expected: digest.hex, actual: actual.hex,
                commands: Set(document.commands.keys))
        }
        return VerifiedPlugin(
            id: id, document: document, script: file.bytes, digest: digest, fileName: scriptName(id),
            path: directory.path(of: scriptName(id)), identity: file.identity)
    }

    private static func readDocument(
        _ id: PluginID, from directory: StoreDirectory
    ) throws(PluginStoreError) -> PluginDocument {
        let name = documentName(id)
        guard let file = try directory.read(name, limit: documentLimit) else {
            throw .notStored(id.rawValue, missing: name)
        }
        let document = try decode(file.bytes, path: directory.path(of: name))
        guard document.id == id.rawValue else {
            throw .invalidDocument(
                path: directory.path(of: name), problem: "it is the document of \(quoted(document.id))")
        }
        return document
    }

    private static func store(
        _ document: PluginDocument, _ id: PluginID, in directory: StoreDirectory
    ) throws(PluginStoreError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let text: Data
        do {
            text = try encoder.encode(document)
        } catch {
            throw .invalidDocument(path: directory.path(of: documentName(id)), problem: "it can't be written as JSON")
        }
        // After a crash between the two they don't fit each other, and the plugin is fetched again.
        try directory.write(Array(document.script.utf8), to: scriptName(id))
        try directory.write(Array(text), to: documentName(id))
        try directory.synchronize()
    }

    /// The digest that a document names, once its script was found to have it.
    static func verifyScript(of document: PluginDocument) throws(PluginStoreError) -> SHA512.Digest {
        let digest: SHA512.Digest
        do {
            digest = try SHA512.Digest(hex: document.hash)
        } catch {
            throw .invalidHash(
                plugin: document.id, problem: error.message, commands: Set(document.commands.keys))
        }
        let actual = SHA512.hash(document.script.utf8)
        guard actual == digest else {
            throw .hashMismatch(
                plugin: document.id, subject: "the script in the document", expected: digest.hex, actual: actual.hex,
                commands: Set(document.commands.keys))
        }
        return digest
    }

    /// A plugin document, bare or in the backend's envelope.
    static func decode(_ bytes: [UInt8], path: String) throws(PluginStoreError) -> PluginDocument {
        let selected: SelectedJSON
        do throws(JSONSelectionError) {
            selected = try PluginDocument.selection.select(from: Data(bytes))
        } catch {
            throw .invalidDocument(path: path, problem: error.sentence)
        }
        do {
            return try selected.decode(PluginDocument.self)
        } catch {
            if let envelope = try? selected.decode(Envelope<PluginDocument>.self) { return envelope.data }
            let problem = (error as? DecodingError)?.sentence ?? "it is no plugin document"
            throw .invalidDocument(path: path, problem: problem)
        }
    }
}
