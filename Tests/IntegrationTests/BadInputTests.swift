import AgentModel
import AgentTestSupport
import Cryptography
import Diagnostics
import Foundation
import Testing

/// Whatever is wrong with one thing gets an error with a code, and the good plugin's task runs all the same.
@Suite struct BadInputTests {
    /// Something wrong that a backend says, and what comes of it.
    struct Case: Sendable, CustomTestStringConvertible {
        enum Expectation: Sendable {
            /// The log has an entry with this code.
            case logged(String)
            /// The task's result has this code and status.
            case result(String, task: String = "bad", status: RunStatus = .rejected)
            /// The task's result is good, with this data.
            case success(String?, task: String = "bad")
        }

        let name: String
        let expectations: [Expectation]
        let arrange: @Sendable (ScriptedBackend) -> Void

        init(
            _ name: String, _ expectations: Expectation..., arrange: @escaping @Sendable (ScriptedBackend) -> Void
        ) {
            self.name = name
            self.expectations = expectations
            self.arrange = arrange
        }

        var testDescription: String { name }
    }

    @Test(arguments: pluginCases + scriptCases + taskCases + argumentCases)
    func isReportedAndEverythingElseGoesOn(_ example: Case) async throws {
        let backend = try ScriptedBackend()
        example.arrange(backend)
        let folder = try TemporaryFolder()
        let (_, codes) = try await TestAgent.once(serverURL: backend.server.url, folder: folder)

        #expect(try backend.results(of: "good").map(\.data) == ["hello"])
        for expectation in example.expectations {
            switch expectation {
            case .logged(let code):
                #expect(codes.contains(code), "logged were \(codes.sorted())")
            case .result(let code, let task, let status):
                let results = try backend.results(of: task)
                #expect(results.map(\.error?.code) == [code])
                #expect(results.map(\.status) == [status])
            case .success(let data, let task):
                #expect(try backend.results(of: task).map(\.data) == [data])
                #expect(try backend.results(of: task).map(\.status) == [.succeeded])
            }
        }
    }

    // MARK: Plugins

    static let answer = "class Plugin:\n    def answer(self): return '42'\n"

    static func callAnswer(_ plugin: String = "p") -> String {
        #"{"id": "bad", "command": "\#(plugin).answer", "cron": null, "arguments": "{}"}"#
    }

    static let pluginCases: [Case] = [
        Case("an id that leaves the folder", .logged("plugin.invalid_id")) {
            $0.listPlugin(#""../../etc/x""#)
        },
        Case("an id with a slash at its end", .logged("plugin.invalid_id")) { $0.listPlugin(#""p/""#) },
        Case("a document with another id", .logged("plugin.id_mismatch"), .result("plugin.id_mismatch")) {
            $0.addPlugin("p", script: answer, functions: ["answer"]) { $0["id"] = "q" }
            $0.addTask(callAnswer())
        },
        Case("a wrong hash", .logged("plugin.hash_mismatch"), .result("plugin.hash_mismatch")) {
            $0.addPlugin("p", script: answer, functions: ["answer"]) {
                $0["hash"] = .string(SHA512.hash("other".utf8).hex)
            }
            $0.addTask(callAnswer())
        },
        Case("a wrong hash, and a command without the id in front", .result("plugin.hash_mismatch")) {
            $0.addPlugin("p", script: answer, functions: []) {
                $0["hash"] = .string(SHA512.hash("other".utf8).hex)
                $0["commands"] = ["answer": ["id": "x", "name": "answer", "function": "answer"]]
            }
            $0.addTask(#"{"id": "bad", "command": "answer", "cron": null, "arguments": "{}"}"#)
        },
        Case("a wrong hash beside a plugin with the same command", .success("42")) { backend in
            for id in ["one", "two"] {
                backend.addPlugin(id, script: answer, functions: []) {
                    if id == "one" { $0["hash"] = .string(SHA512.hash("other".utf8).hex) }
                    $0["commands"] = ["shared": ["id": "x", "name": "shared", "function": "answer"]]
                }
            }
            backend.addTask(#"{"id": "bad", "command": "shared", "cron": null, "arguments": "{}"}"#)
        },
        Case("a hash that is none", .logged("plugin.invalid_hash"), .result("plugin.invalid_hash")) {
            $0.addPlugin("p", script: answer, functions: []) {
                $0["hash"] = "x"
                $0["commands"] = ["answer": ["id": "x", "name": "answer", "function": "answer"]]
            }
            $0.addTask(#"{"id": "bad", "command": "answer", "cron": null, "arguments": "{}"}"#)
        },
        Case("a hash in capitals is fine", .success("42")) {
            $0.addPlugin("p", script: answer, functions: ["answer"]) {
                $0["hash"] = .string(SHA512.hash(answer.utf8).hex.uppercased())
            }
            $0.addTask(callAnswer())
        },
        Case("commands as an empty list are fine", .result("task.unknown_command")) {
            $0.addPlugin("p", script: answer, functions: []) { $0["commands"] = [] }
            $0.addTask(callAnswer())
        },
        Case("a document without a script", .logged("backend.invalid_document")) {
            $0.addPlugin("p", script: answer, functions: []) { $0["script"] = nil }
        },
        Case("a missing document", .logged("backend.status")) { $0.listPlugin(#""nowhere""#) },
        Case(
            "two plugins with one command", .result("command.ambiguous")
        ) { backend in
            for id in ["one", "two"] {
                backend.addPlugin(id, script: answer, functions: []) {
                    $0["commands"] = ["shared": ["id": "x", "name": "shared", "function": "answer"]]
                }
            }
            backend.addTask(#"{"id": "bad", "command": "shared", "cron": null, "arguments": "{}"}"#)
        },
    ]

    static let functionCases = ["__init__", "_x", "not-a-name", "a.b", ""].map { function in
        Case(
            "the function \(quoted(function))", .logged("plugin.invalid_function"), .result("plugin.invalid_function"),
            .success("42", task: "sibling")
        ) {
            $0.addPlugin("p", script: answer, functions: ["answer"]) {
                $0["commands"] = [
                    "p.answer": ["id": "x", "name": "p.answer", "function": "answer"],
                    "p.bad": ["id": "y", "name": "p.bad", "function": .string(function)],
                ]
            }
            $0.addTask(#"{"id": "bad", "command": "p.bad", "cron": null, "arguments": "{}"}"#)
            $0.addTask(#"{"id": "sibling", "command": "p.answer", "cron": null, "arguments": "{}"}"#)
        }
    }

    static let scriptCases: [Case] =
        functionCases + [
            Case("a missing method", .logged("plugin.function_missing"), .result("plugin.function_missing")) {
                $0.addPlugin("p", script: "class Plugin: pass\n", functions: ["answer"])
                $0.addTask(callAnswer())
            },
            Case("a method that can't be called", .result("plugin.function_not_callable")) {
                $0.addPlugin("p", script: "class Plugin:\n    answer = 42\n", functions: ["answer"])
                $0.addTask(callAnswer())
            },
            Case("a script that is not Python", .logged("plugin.syntax_error"), .result("plugin.syntax_error")) {
                $0.addPlugin("p", script: "class Plugin:\n  def answer(self:\n", functions: ["answer"])
                $0.addTask(callAnswer())
            },
            Case("a script without Plugin", .logged("plugin.class_missing"), .result("plugin.class_missing")) {
                $0.addPlugin("p", script: "def answer(): pass\n", functions: ["answer"])
                $0.addTask(callAnswer())
            },
            Case(
                "a constructor that raises", .logged("plugin.constructor_failed"), .result("plugin.constructor_failed")
            ) {
                $0.addPlugin(
                    "p", script: "class Plugin:\n    def __init__(self): raise OSError('no')\n", functions: ["answer"])
                $0.addTask(callAnswer())
            },
            Case("a module that is missing", .logged("plugin.script_failed"), .result("plugin.script_failed")) {
                $0.addPlugin("p", script: "import not_there_at_all\n", functions: ["answer"])
                $0.addTask(callAnswer())
            },
            Case("a method that raises", .result("plugin.exception", status: .failed)) {
                $0.addPlugin("p", script: "class Plugin:\n    def answer(self): return 1 / 0\n", functions: ["answer"])
                $0.addTask(callAnswer())
            },
            Case("sys.exit", .result("plugin.exit", status: .failed)) {
                $0.addPlugin(
                    "p", script: "import sys\nclass Plugin:\n    def answer(self): sys.exit(3)\n",
                    functions: ["answer"])
                $0.addTask(callAnswer())
            },
            Case("a result that is not JSON", .result("plugin.result_not_json", status: .failed)) {
                $0.addPlugin(
                    "p", script: "class Plugin:\n    def answer(self): return float('nan')\n", functions: ["answer"])
                $0.addTask(callAnswer())
            },
        ]

    // MARK: Tasks

    static let taskCases: [Case] = [
        Case("an unknown command", .result("task.unknown_command")) {
            $0.addTask(#"{"id": "bad", "command": "nobody.knows", "cron": null, "arguments": "{}"}"#)
        },
        Case("a cron that is none", .logged("task.invalid_cron"), .result("task.invalid_cron")) {
            $0.addTask(#"{"id": "bad", "command": "good-plugin.hello", "cron": "every day", "arguments": "{}"}"#)
        },
        Case("an empty cron is a one-off", .success("hello")) {
            $0.addTask(#"{"id": "bad", "command": "good-plugin.hello", "cron": "", "arguments": "{}"}"#)
        },
        Case("two tasks with one id", .logged("task.duplicate_id"), .success("hello")) {
            $0.addTask(#"{"id": "bad", "command": "good-plugin.hello", "cron": null, "arguments": "{}"}"#)
            $0.addTask(#"{"id": "bad", "command": "nobody.knows", "cron": null, "arguments": "{}"}"#)
        },
        Case("a task without a command", .logged("task.invalid_document"), .result("task.invalid_document")) {
            $0.addTask(#"{"id": "bad", "cron": null, "arguments": "{}"}"#)
        },
        Case("a cron that is a number", .logged("task.invalid_document"), .result("task.invalid_document")) {
            $0.addTask(#"{"id": "bad", "command": "good-plugin.hello", "cron": 5, "arguments": "{}"}"#)
        },
        Case("a task that can't be read with the id of another", .logged("task.invalid_document"), .success("hello")) {
            $0.addTask(#"{"id": "bad", "command": "good-plugin.hello", "cron": null, "arguments": "{}"}"#)
            $0.addTask(#"{"id": "bad", "command": 5}"#)
        },
        Case("a task whose id is a number", .logged("backend.invalid_document")) {
            $0.addTask(#"{"id": 5, "command": "good-plugin.hello"}"#)
        },
        Case("a task without an id", .logged("task.invalid_id")) {
            $0.addTask(#"{"id": "", "command": "good-plugin.hello", "cron": null, "arguments": "{}"}"#)
        },
        Case("an id with a NUL", .logged("task.invalid_id")) {
            $0.addTask(#"{"id": "a\u0000b", "command": "good-plugin.hello", "cron": null, "arguments": "{}"}"#)
        },
        Case("a task that is a number", .logged("backend.invalid_document")) { $0.addTask("7") },
    ]

    // MARK: Arguments

    static func echo(_ arguments: String, _ expectation: Case.Expectation, name: String? = nil) -> Case {
        Case("the arguments \(name ?? quoted(arguments))", expectation) {
            $0.addPlugin(
                "p", script: "class Plugin:\n    def echo(self, value='none'): return str(value)[:20]\n",
                functions: ["echo"])
            $0.addTask(
                JSONValue.object([
                    "id": "bad", "command": "p.echo", "cron": nil, "arguments": .string(arguments),
                ]).text)
        }
    }

    static let argumentCases: [Case] = [
        echo("[1]", .result("task.invalid_arguments")),
        echo("{", .result("task.invalid_arguments")),
        echo("null", .result("task.invalid_arguments")),
        echo(#"{"value": 1} x"#, .result("task.invalid_arguments")),
        echo(#"{"value": NaN}"#, .result("task.invalid_arguments")),
        echo(#"{"unknown": 1}"#, .result("task.argument_mismatch")),
        echo("", .success("none")),
        echo("[]", .success("none")),
        echo(#"{"value": 123456789012345678901234567890}"#, .success("12345678901234567890")),
        echo(
            #"{"value": ""# + String(repeating: "x", count: 10_000_000) + #""}"#, .success("xxxxxxxxxxxxxxxxxxxx"),
            name: "of 10 MB"),
        Case("a missing keyword", .result("task.argument_mismatch")) {
            $0.addPlugin("p", script: "class Plugin:\n    def answer(self, value): return 1\n", functions: ["answer"])
            $0.addTask(callAnswer())
        },
        Case("an object instead of a text", .success("7")) {
            $0.addPlugin(
                "p", script: "class Plugin:\n    def answer(self, value): return str(value)\n", functions: ["answer"])
            $0.addTask(#"{"id": "bad", "command": "p.answer", "cron": null, "arguments": {"value": 7}}"#)
        },
    ]
}
