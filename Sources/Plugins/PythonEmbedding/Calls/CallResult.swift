/// What became of one call of a plugin's method, with everything it wrote.
public struct CallResult: Sendable {
    /// The result as the contract's `data` wants it: text as it is, `None` as nil, anything else as JSON.
    public var value: Result<String?, CallFailure>
    /// UTF-8, cut at the call's limit with a line that says so.
    public var stdout: String
    /// Standard error and log records; cut likewise.
    public var stderr: String
    /// What the call started; nil where it started no program.
    public var programs: RunPrograms?

    public init(value: Result<String?, CallFailure>, stdout: String, stderr: String) {
        self.value = value
        self.stdout = stdout
        self.stderr = stderr
    }
}

extension PythonException {
    /// As the module `output` has it for what the call itself writes.
    static func flooded(limit: Int) -> PythonException {
        PythonException(type: "OutputLimitExceeded", message: "\(64 * limit) bytes", traceback: nil)
    }
}

/// Why a call has no result.
public enum CallFailure: Error, Equatable, Sendable {
    /// The arguments are not the JSON of an object.
    case invalidArguments(String)
    /// The method doesn't take these arguments; none of its code ran.
    case argumentMismatch(PythonException)
    /// The instance has no attribute of that name. `methods` are those that can be called, sorted, and at most 20.
    case functionMissing(name: String, methods: [String])
    case functionNotCallable(type: String)
    case raised(PythonException)
    /// `sys.exit()` and its kin.
    case exited(PythonException)
    /// The injected exception came out of the plugin's code.
    case timeLimitExceeded(PythonException)
    /// The call wrote so much that it was stopped; the exception's text says how much may be.
    case outputLimitExceeded(PythonException)
    /// The method returned what JSON can't say.
    case resultNotJSON(PythonException)
    /// The result, with what the call wrote, is longer than so many bytes.
    case resultTooLarge(limit: Int)
}

/// Why a script did not become a plugin.
public struct LoadFailure: Error, Equatable, Sendable {
    public enum Stage: String, Sendable {
        /// The script is not Python.
        case compile
        /// Its top level raised.
        case execute
        /// It has no class `Plugin`.
        case `class`
        /// The constructor raised.
        case construct
    }

    public var stage: Stage
    public var exception: PythonException
    /// What the script wrote before it failed.
    public var output: String
    /// Whether it was stopped at its time limit.
    public var exceededTimeLimit: Bool

    public init(stage: Stage, exception: PythonException, output: String, exceededTimeLimit: Bool = false) {
        self.stage = stage
        self.exception = exception
        self.output = output
        self.exceededTimeLimit = exceededTimeLimit
    }
}
