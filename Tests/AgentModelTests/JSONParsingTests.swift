import AgentModel
import Foundation
import Testing

@Suite struct JSONParsingTests {
    @Test(arguments: [
        "null", " true ", "false", "0", "-0", "-12", "9223372036854775807",
        "18446744073709551615", "-1.5E-2", "1.5e300",
        "123456789012345678901234567890", #""""#, #""a\"\\\/\b\f\n\r\tz""#, #""\u00e9\ud83d\ude00\u0000""#,
        #""ü😀""#,
        "[]", "[ ]", "{}", "{ }", "[1,[2,[3]],{}]", #" { "a" : [ 1 , null ] , "b" : { "c" : "d" } } "#,
        #"{"a": {"a": {"a": []}}, "é": "x"}"#,
    ])
    func aTextIsWhatFoundationsDecoderMakesOfIt(text: String) throws {
        let expected = try JSONDecoder().decode(JSONValue.self, from: Data(text.utf8))
        #expect(try JSONValue(parsing: Data(text.utf8)) == expected)
    }

    @Test func aFractionStaysOneAndOfTwoMembersOfOneNameTheLastCounts() throws {
        #expect(try JSONValue(parsing: Data("[1, 1.0]".utf8)) == [1, 1.0])
        #expect(try JSONValue(parsing: Data(#"{"a": 1, "a": 2}"#.utf8)) == ["a": 2])
    }

    @Test(arguments: [
        ("", 0), ("  ", 2), ("nul", 0), ("tru e", 0), ("01", 0), ("-", 0), ("1.", 0), (".5", 0), ("1e", 0), ("+1", 0),
        ("1e999", 0), ("[1 2]", 3), ("[1,]", 3), ("[1", 2), (#"{"a"}"#, 4), (#"{"a": 1,}"#, 8), ("{a: 1}", 1),
        (#"{"a": 1 "b": 2}"#, 8), ("[] []", 3), (#""a"#, 2), (#""a\"#, 3), (#""\x""#, 1), (#""\u12""#, 1),
        (#""\ud800""#, 1), (#""\ud800\u0041""#, 1), (#""\udc00""#, 1), ("\"a\nb\"", 2),
    ])
    func whatIsNotJSONIsRefusedWithItsPlace(text: String, offset: Int) {
        let problem = #expect(throws: JSONProblem.self) { try JSONValue(parsing: Data(text.utf8)) }
        #expect(problem?.offset == offset)
    }

    @Test func whatIsNotUTF8IsRefused() {
        let text = Data([0x5B, 0x22, 0xFF, 0x22, 0x5D])
        #expect(throws: JSONProblem(offset: 2, problem: "a string is not UTF-8")) { try JSONValue(parsing: text) }
    }

    @Test(arguments: ["[", #"{"a":"#, #"[{"a":"#])
    func nestingHasALimitWhichIsFoundBeforeAnythingIsDecoded(opening: String) {
        let levels = opening.utf8.count { $0 == UInt8(ascii: "[") || $0 == UInt8(ascii: "{") }
        let closing = String(opening.reversed().compactMap { $0 == "[" ? "]" : $0 == "{" ? "}" : nil })
        func text(_ count: Int) -> Data {
            Data((String(repeating: opening, count: count) + "1" + String(repeating: closing, count: count)).utf8)
        }
        let allowed = text(JSONText.maximumNesting / levels)
        #expect(!JSONText.isNested(allowed))
        #expect(throws: Never.self) { try JSONValue(parsing: allowed) }
        for depth in [JSONText.maximumNesting / levels + 1, 1_000_000] {
            #expect(JSONText.isNested(text(depth)))
            let problem = #expect(throws: JSONProblem.self) { try JSONValue(parsing: text(depth)) }
            #expect(problem?.problem.contains("nested deeper") == true)
        }
    }

    @Test func bracketsInStringsAreNoNesting() throws {
        let text = Data((#"["\"\\"# + String(repeating: "[{", count: 1000) + #"\"", 1]"#).utf8)
        #expect(!JSONText.isNested(text, deeperThan: 1))
        #expect(throws: Never.self) { try JSONValue(parsing: text) }
    }
}

/// What is written without an encoder is what one would write.
@Suite struct JSONWriterTests {
    @Test func aTaskListIsReadAsItWas() throws {
        let texts = ["", "a", "\"\\/", "line\nend\r\t", "\u{0}\u{1f}\u{7f}", "ä€😀", "{\"path\": \"/\"}", "\u{2028}"]
        let tasks = texts.flatMap { text in
            [nil, "* * * * *", text + "x"].map {
                TaskDocument(id: "id" + text, command: text, cron: $0, arguments: text)
            }
        }
        var writer = JSONWriter()
        tasks.writeJSON(to: &writer)
        #expect(try JSONDecoder().decode([TaskDocument].self, from: Data(writer.bytes)) == tasks)
        var empty = JSONWriter()
        [TaskDocument]().writeJSON(to: &empty)
        #expect(empty.bytes == Array("[]".utf8))
    }
}
