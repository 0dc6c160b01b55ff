import AgentModel
public import BackendClient
public import Diagnostics

/// Why a plugin can't be had from the plugin directory.
public enum PluginStoreError: CodedError {
    /// It isn't in the directory, or one of its two files isn't.
    case notStored(String, missing: String)
    /// Bytes that don't have the digest that the document names. `subject` says which bytes, `commands` what the
    /// document claims.
    case hashMismatch(plugin: String, subject: String, expected: String, actual: String, commands: Set<String> = [])
    /// The document's `hash` isn't a SHA-512 digest.
    case invalidHash(plugin: String, problem: String, commands: Set<String> = [])
    /// A stored document that can't be read as one.
    case invalidDocument(path: String, problem: String)
    /// The script was changed between its verification and a run.
    case fileChanged(plugin: String, path: String, problem: String)
    /// A directory that others could write to.
    case unsafeDirectory(path: String, problem: String)
    /// A symbolic link, a device, a file that others could write to.
    case unsafeFile(path: String, problem: String)
    case fileTooLarge(path: String, limit: Int)
    /// The system refused an operation: disk full, read-only, no permission.
    case disk(operation: String, path: String, problem: String)
    /// The backend did not give the document; code and message are its.
    case backend(BackendError)

    public var code: String {
        switch self {
        case .notStored: "plugin.not_stored"
        case .hashMismatch: "plugin.hash_mismatch"
        case .invalidHash: "plugin.invalid_hash"
        case .invalidDocument: "plugin.invalid_document"
        case .fileChanged: "plugin.file_changed"
        case .unsafeDirectory: "store.unsafe_directory"
        case .unsafeFile: "store.unsafe_file"
        case .fileTooLarge: "store.file_too_large"
        case .disk: "store.disk"
        case .backend(let error): error.code
        }
    }

    /// The commands of a document that was refused: good for the reason why they don't run, and for nothing else.
    public var commands: Set<String> {
        switch self {
        case .hashMismatch(_, _, _, _, let commands), .invalidHash(_, _, let commands): commands
        default: []
        }
    }

    public var message: String {
        switch self {
        case .notStored(let id, let missing):
            "the plugin \(quoted(id)) is not in the plugin directory, \(quoted(missing)) is missing; run the agent once so that it fetches it"
        case .hashMismatch(let plugin, let subject, let expected, let actual, _):
            "\(subject) of the plugin \(quoted(plugin)) has the SHA-512 \(actual.prefix(16))… instead of "
                + "\(quoted(String(expected.prefix(16))))…; it is not loaded; publish it again if the change was intended"
        case .invalidHash(let plugin, let problem, _):
            "the plugin \(quoted(plugin)) can't be verified, its \"hash\" is refused: \(problem)"
        case .invalidDocument(let path, let problem):
            "the plugin document \(quoted(path)) can't be read: \(problem); delete it so that it is fetched again"
        case .fileChanged(let plugin, let path, let problem):
            "the script \(quoted(path)) of the plugin \(quoted(plugin)) was changed after it was verified: \(problem); "
                + "its commands are unavailable until the next synchronization"
        case .unsafeDirectory(let path, let problem):
            "the plugin directory \(quoted(path)) is refused: \(problem)"
        case .unsafeFile(let path, let problem): "the file \(quoted(path)) is refused: \(problem)"
        case .fileTooLarge(let path, let limit):
            "the file \(quoted(path)) is over the limit of \(limit) bytes"
        case .disk(let operation, let path, let problem):
            "\(operation) \(quoted(path)) failed: \(problem); check the disk and the directory's permissions"
        case .backend(let error): error.message
        }
    }
}
