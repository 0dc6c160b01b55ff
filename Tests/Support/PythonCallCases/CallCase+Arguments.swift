extension CallCase {
    private static func echo(
        _ name: String, _ arguments: String, _ value: String, returning expression: String = "repr(value)"
    ) -> CallCase {
        CallCase(
            name: name, script: plugin("value", "return \(expression)"), arguments: arguments,
            expectation: .value(value))
    }

    private static func invalid(_ name: String, _ arguments: String, _ part: String = "") -> CallCase {
        CallCase(
            name: name, script: plugin("value=None", "return 'called'"), arguments: arguments,
            expectation: .invalidArguments(containing: part))
    }

    public static let arguments: [CallCase] = [
        echo("big integer", #"{"value": 123456789012345678901234567890}"#, "123456789012345678901234567890"),
        echo("integer", #"{"value": 1}"#, "1"),
        echo("float", #"{"value": 1.0}"#, "1.0"),
        echo("bool", #"{"value": true}"#, "True"),
        echo("null", #"{"value": null}"#, "None"),
        echo("nested", #"{"value": {"a": [1, "x", {}]}}"#, "{'a': [1, 'x', {}]}"),
        echo("lone surrogate", #"{"value": "\ud800"}"#, "'\\ud800'"),
        echo("surrogate pair", #"{"value": "\ud83d\ude00"}"#, "😀", returning: "value"),
        echo("a zero character", #"{"value": "a\u0000b"}"#, "3", returning: "len(value)"),
        echo("duplicate keys: the last one counts", #"{"value": 1, "value": 2}"#, "2"),
        echo("leading white space", " \n\t\r{\"value\": 1}", "1"),
        echo("trailing white space", "{\"value\": 1} \r\n\t", "1"),
        echo(
            "ten megabytes", "{\"value\": \"\(String(repeating: "é", count: 5 << 20))\"}", "\(5 << 20)",
            returning: "len(value)"),
        CallCase(
            name: "keywords", script: plugin("a, b=2, *, c, **rest", "return [a, b, c, rest]"),
            arguments: #"{"c": 3, "a": 1, "d": 4}"#, expectation: .value(#"[1, 2, 3, {"d": 4}]"#)),
        invalid("NaN", #"{"value": NaN}"#, "NaN"),
        invalid("Infinity", #"{"value": -Infinity}"#, "Infinity"),
        invalid("depth bomb", "{\"value\": \(String(repeating: "[", count: 100_000))", "recursion"),
        invalid("depth bomb of objects", String(repeating: "{\"value\": ", count: 100_000), "recursion"),
        invalid("trailing garbage", #"{"value": 1} x"#, "character 12"),
        invalid("two objects", "{}{}", "character 2"),
        invalid("null at the top", "null", "not an object"),
        invalid("array", "[1]", "not an object"),
        invalid("number", "7", "not an object"),
        invalid("unfinished", "{"),
        invalid("unfinished value", #"{"value":"#, "character 9"),
        invalid("empty", "", "character 0"),
        invalid("white space only", " \n"),
        invalid("single quotes", "{'value': 1}"),
        CallCase(
            name: "missing argument", script: plugin("value", "return value"),
            expectation: .mismatch(containing: "value")),
        CallCase(
            name: "unknown argument", script: plugin("", "return 1"), arguments: #"{"x": 1}"#,
            expectation: .mismatch(containing: "unexpected keyword argument 'x'")),
        CallCase(
            name: "a TypeError of the method itself", script: plugin("value", "return len(value)"),
            arguments: #"{"value": 1}"#, expectation: .raised("TypeError")),
        CallCase(name: "no such method", script: "class Plugin: pass", expectation: .missing),
        CallCase(name: "not callable", script: "class Plugin:\n    run = 3", expectation: .notCallable("int")),
        CallCase(
            name: "property that raises AttributeError",
            script: "class Plugin:\n    @property\n    def run(self): return self.nothing",
            expectation: .raised("AttributeError", containing: "nothing")),
    ]
}
