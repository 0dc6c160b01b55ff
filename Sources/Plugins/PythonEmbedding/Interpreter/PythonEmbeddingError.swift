import AgentModel
public import Diagnostics

/// What can go wrong with the interpreter itself, before any plugin is at fault.
public enum PythonEmbeddingError: CodedError, Equatable {
    /// The shared library that was loaded is another version than the headers this program was built with.
    case versionMismatch(built: String, running: String)
    /// CPython could not be initialised; after this nothing may take the GIL.
    case initializationFailed(reason: String)
    /// A thread for Python could not be made.
    case threadCreationFailed(errno: Int32)
    /// The interpreter raised where our own Python code ran.
    case bootstrapFailed(PythonException)

    public var code: String {
        switch self {
        case .versionMismatch: "python.version_mismatch"
        case .initializationFailed: "python.initialization_failed"
        case .threadCreationFailed: "python.thread_failed"
        case .bootstrapFailed: "python.bootstrap_failed"
        }
    }

    public var message: String {
        switch self {
        case .versionMismatch(let built, let running):
            "this program was built for Python \(quoted(built)), but the loaded library is "
                + "\(quoted(running)); install the matching libpython or build again"
        case .initializationFailed(let reason):
            "the embedded Python could not start: \(quoted(reason)); check that the standard library of the linked "
                + "libpython is installed (libpython3-stdlib)"
        case .threadCreationFailed(let errno):
            "could not create a thread for Python (errno \(errno)); raise the process limit (ulimit -u) or "
                + "lower 'workers'"
        case .bootstrapFailed(let exception):
            "the agent's own Python code failed: \(exception.message); the Python installation is damaged or too old"
        }
    }
}

/// A Python exception as values, so that it can leave the GIL.
public struct PythonException: Error, Hashable, Sendable {
    /// The class, qualified by its module unless it is a builtin: `ValueError`, `requests.exceptions.HTTPError`.
    public var type: String
    /// `str()` of the exception, or a placeholder where that raised as well.
    public var message: String
    /// The formatted traceback with source lines, at most 64 KiB.
    public var traceback: String?
    /// Whether any Python code of the callee ran before it was raised. A call whose arguments don't fit raises
    /// before that.
    public var raisedInside: Bool
    /// Whether it is a `MemoryError`, or of a class made of that.
    public var isMemoryError: Bool

    public init(
        type: String, message: String, traceback: String?, raisedInside: Bool = true, isMemoryError: Bool = false
    ) {
        self.type = type
        self.message = message
        self.traceback = traceback
        self.raisedInside = raisedInside
        self.isMemoryError = isMemoryError
    }

    /// Class and text, as the last line of a traceback has them.
    public var sentence: String { message.isEmpty ? type : "\(type): \(message)" }

    /// How to get a module that is missing; nil for any other exception.
    public var missingModuleHint: String? {
        guard type == "ModuleNotFoundError", let name = message.split(separator: "'").dropFirst().first else {
            return nil
        }
        let package = name.prefix { $0 != "." }
        return "; the agent's Python has no module \(package): install it for all, such as with \"apt install "
            + "python3-\(package.lowercased().replacing("_", with: "-"))\", or into a folder with \"pip install --target FOLDER \(package)\" and set "
            + "python_path = FOLDER"
    }
}
