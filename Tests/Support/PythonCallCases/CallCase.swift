public import PythonEmbedding

/// One call and what must become of it. The tables are read three times: by the tests of the embedding, by the leak gate,
/// and by the tests of the executors in both tiers.
public struct CallCase: Sendable, CustomStringConvertible {
    public enum Expectation: Sendable {
        case value(String?)
        case invalidArguments(containing: String)
        case mismatch(containing: String)
        case raised(String, containing: String = "")
        case exited(String)
        case notJSON(String, containing: String = "")
        case missing
        case notCallable(String)
    }

    public let name: String
    public var script: String
    /// JSON of the arguments.
    public var arguments = "{}"
    public var expectation: Expectation
    /// Nil: not looked at.
    public var stdout: String?
    public var stderr: String?

    public var description: String { name }

    static func result(_ name: String, _ expression: String, _ value: String?, top: String = "") -> CallCase {
        CallCase(name: name, script: plugin("", "return \(expression)", top: top), expectation: .value(value))
    }

    static func refused(_ name: String, _ expression: String, _ type: String, top: String = "") -> CallCase {
        CallCase(name: name, script: plugin("", "return \(expression)", top: top), expectation: .notJSON(type))
    }

    /// What is wrong with the result; nil where nothing is.
    public func problem(with result: CallResult) -> String? {
        guard isAsExpected(result.value) else { return "expected \(expectation), got \(result.value)" }
        if let stdout, result.stdout != stdout { return "the output is \(result.stdout.debugDescription)" }
        if let stderr, result.stderr != stderr { return "the errors are \(result.stderr.debugDescription)" }
        return nil
    }

    private func isAsExpected(_ value: Result<String?, CallFailure>) -> Bool {
        switch (expectation, value) {
        case (.value(let expected), .success(let text)): text == expected
        case (.invalidArguments(let part), .failure(.invalidArguments(let problem))):
            part.isEmpty || problem.contains(part)
        case (.mismatch(let part), .failure(.argumentMismatch(let exception))): exception.message.contains(part)
        case (.raised(let type, let part), .failure(.raised(let exception))),
            (.notJSON(let type, let part), .failure(.resultNotJSON(let exception))):
            exception.type == type && (part.isEmpty || exception.message.contains(part))
        case (.exited(let message), .failure(.exited(let exception))): exception.message == message
        case (.missing, .failure(.functionMissing)): true
        case (.notCallable(let type), .failure(.functionNotCallable(let actual))): actual == type
        default: false
        }
    }

    public static let all = arguments + results + exceptions + output
}

/// The script of a plugin whose method `run` has this body.
public func plugin(_ parameters: String = "", _ body: String, top: String = "") -> String {
    let indented = body.split(separator: "\n", omittingEmptySubsequences: false).map { "        \($0)" }
    return """
        \(top)
        class Plugin:
            def run(self\(parameters.isEmpty ? "" : ", \(parameters)")):
        \(indented.joined(separator: "\n"))
        """
}
