import PythonEmbedding
import Testing

/// One call and what must become of it. The tables are read twice: by the test of the behaviour, and by the leak gate.
struct CallCase: Sendable, CustomTestStringConvertible {
    enum Expectation: Sendable {
        case value(String?)
        case invalidArguments(containing: String)
        case mismatch(containing: String)
        case raised(String, containing: String = "")
        case exited(String)
        case notJSON(String, containing: String = "")
        case missing
        case notCallable(String)
    }

    let name: String
    var script: String
    var arguments = "{}"
    var expectation: Expectation
    var stdout: String?
    var stderr: String?

    var testDescription: String { name }

    static func result(_ name: String, _ expression: String, _ value: String?, top: String = "") -> CallCase {
        CallCase(name: name, script: plugin("", "return \(expression)", top: top), expectation: .value(value))
    }

    static func refused(_ name: String, _ expression: String, _ type: String, top: String = "") -> CallCase {
        CallCase(name: name, script: plugin("", "return \(expression)", top: top), expectation: .notJSON(type))
    }

    func check(_ result: CallResult) {
        switch (expectation, result.value) {
        case (.value(let expected), .success(let text)):
            #expect(text == expected, "\(name)")
        case (.invalidArguments(let part), .failure(.invalidArguments(let problem))):
            #expect(part.isEmpty || problem.contains(part), "\(name): \(problem)")
        case (.mismatch(let part), .failure(.argumentMismatch(let exception))):
            #expect(exception.message.contains(part), "\(name)")
        case (.raised(let type, let part), .failure(.raised(let exception))),
            (.notJSON(let type, let part), .failure(.resultNotJSON(let exception))):
            #expect(exception.type == type, "\(name)")
            #expect(part.isEmpty || exception.message.contains(part), "\(name): \(exception.message)")
        case (.exited(let message), .failure(.exited(let exception))):
            #expect(exception.message == message, "\(name)")
        case (.missing, .failure(.functionMissing)): break
        case (.notCallable(let type), .failure(.functionNotCallable(let actual))):
            #expect(actual == type, "\(name)")
        default:
            Issue.record("\(name): expected \(expectation), got \(result.value)")
        }
        if let stdout { #expect(result.stdout == stdout, "\(name)") }
        if let stderr { #expect(result.stderr == stderr, "\(name)") }
    }

    static let all = arguments + results + exceptions + output
}
