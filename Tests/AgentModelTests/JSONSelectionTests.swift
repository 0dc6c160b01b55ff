import AgentModel
import Foundation
import Testing

@Suite struct JSONSelectionTests {
    private func tasks(_ json: String, limit: Int = 10) throws -> TaskList {
        try TaskList.selection(limit: limit).select(from: Data(json.utf8)).decode(Envelope<TaskList>.self).data
    }

    private func tasks(_ bytes: [UInt8]) throws -> TaskList {
        try TaskList.selection(limit: 10).select(from: Data(bytes)).decode(Envelope<TaskList>.self).data
    }

    /// Foundation's decoder refuses 513 levels, and takes gigabytes for what is in `more`.
    @Test func whatIsNotKnownIsNotBuilt() throws {
        let deep = String(repeating: "[", count: 200_000) + String(repeating: "]", count: 200_000)
        let wide = "[" + Array(repeating: "[]", count: 150_000).joined(separator: ",") + "]"
        let json = #"""
            {"more": \#(deep), "data": [{"id": "a", "command": "c", "more": \#(deep), "cron": null, "arguments": null},
             {"id": \#(deep), "command": "c"}, {"command": {"x": \#(deep)}, "id": "b"}], "wide": \#(wide)}
            """#
        let selected = try TaskList.selection(limit: 3).select(from: Data(json.utf8))
        #expect(selected.text.count < 200)
        let list = try selected.decode(Envelope<TaskList>.self).data
        #expect(list.tasks.map(\.id) == ["a"])
        #expect(list.unreadable.map(\.id) == [nil, "b"])
        #expect(list.unreadable.last?.error.message.contains(#""command" is not a text"#) == true)
    }

    @Test func anUnknownFieldMayHaveMoreElementsThanTheList() throws {
        let wide = Array(repeating: "1", count: 20).joined(separator: ",")
        let json = #"{"more": [\#(wide)], "data": [{"id": "a", "command": "c", "x": [\#(wide)]}]}"#
        #expect(try tasks(json, limit: 2).tasks.count == 1)
        let error = #expect(throws: JSONSelectionError.self) { try tasks(#"{"data": [1, 2, 3]}"#, limit: 2) }
        #expect(error == .tooMany(path: "data", limit: 2))
    }

    @Test(arguments: [
        (#"\ud800"#, "half of a surrogate pair"), (#"\udc00x"#, "half of a surrogate pair"),
        (#"\ud83d\u0041"#, "half of a surrogate pair"), (#"\x"#, "an escape that JSON doesn't know"),
        (#"\u12G4"#, "four hexadecimal digits"), ("\n", "a control character"),
    ])
    func aStringThatIsNoTextTakesItsTaskAlone(_ text: String, _ problem: String) throws {
        let list = try tasks(
            #"""
            {"data": [{"id": "a", "command": "c"}, {"id": "\#(text)", "command": "c"},
              {"id": "b", "command": "\#(text)"}, {"id": "d", "cron": "\#(text)", "command": "c"},
              {"id": "\ud83d\ude00", "command": "c", "other": "\#(text)"}]}
            """#)
        #expect(list.tasks.map(\.id) == ["a", "\u{1F600}"])
        #expect(list.unreadable.map(\.id) == [nil, "b", "d"])
        let messages = list.unreadable.map(\.error.message)
        #expect(messages.allSatisfy { $0.contains(problem) && $0.contains("at byte ") }, "\(messages)")
        #expect(messages[0].contains("data[1]") && messages[0].contains(#"id"#))
        #expect(messages[2].contains(#""cron""#))
    }

    @Test func aByteOfLatin1TakesItsTaskAlone() throws {
        let json = #"""
            {"data": [{"id": "a", "command": "c"}, {"id": "caf?", "command": "c"},
              {"id": "b", "command": "c", "arguments": {"x": "?"}}]}
            """#
        let list = try tasks(json.utf8.map { $0 == UInt8(ascii: "?") ? 0xE9 : $0 })
        #expect(list.tasks.map(\.id) == ["a"])
        #expect(list.unreadable.map(\.id) == [nil, "b"])
        #expect(list.unreadable.allSatisfy { $0.error.message.contains("not UTF-8") })
    }

    @Test(arguments: [
        (#"{"data": [{"id": "a" "command": "c"}]}"#, "at byte 21, in \"data[0]\": a comma"),
        (#"{"data": [{"id": "a", "command": tru}]}"#, "at byte 33, in \"data[0].command\": there is no JSON value"),
        (#"{"data": [{"id": "a""#, "at byte 20, in \"data[0]\": the text ends here"),
        (#"{"data": [{"id": "a"#, "a string has no end"), (#"{"data": []} x"#, "something follows the end"),
        (#"{"data": [], "more": [1,]}"#, "in \"more\": there is no JSON value"), ("", "the text ends"),
        (#"{"data": [], "more": {"a" 1}}"#, "a colon is missing"), (#"{"data": [], }"#, "a name in quotes is missing"),
        (#"{"data": 01}"#, "no JSON value"), (#"{"data": 1.}"#, "no JSON value"), (#"{"data": [}"#, "no JSON value"),
    ])
    func errorsSayWhereAndWhy(_ json: String, _ words: String) {
        let error = #expect(throws: JSONSelectionError.self) { try tasks(json) }
        #expect(error?.sentence.contains(words) == true, "\(error?.sentence ?? "")")
    }

    /// Decoders built of the whole text differ in which of two members counts; ours is the one of Foundation.
    @Test func ofEqualNamesTheFirstCounts() throws {
        let list = try tasks(#"{"data": [{"id": "a", "i\u0064": "b", "command": "c", "command": "d"}]}"#)
        #expect(list.tasks.map(\.id) == ["a"])
        #expect(list.tasks.map(\.command) == ["c"])
    }

    @Test(arguments: [String.Encoding.utf16BigEndian, .utf16LittleEndian, .utf32BigEndian, .utf32LittleEndian, .utf16])
    func otherEncodingsOfUnicodeAreRead(_ encoding: String.Encoding) throws {
        let json = try #require(#"{"data": [{"id": "é", "command": "c"}]}"#.data(using: encoding))
        #expect(try tasks(Array(json)).tasks.map(\.id) == ["é"])
        #expect(try tasks([0xEF, 0xBB, 0xBF] + Array(#"{"data": []}"#.utf8)).tasks.isEmpty)
    }

    @Test func aPluginsSandboxIsBoundedAndItsCommandsAreTheirOwn() throws {
        let deep = String(repeating: "[", count: 40) + String(repeating: "]", count: 40)
        func document(_ sandbox: String, _ commands: String) throws -> PluginDocument {
            let json =
                #"{"data": {"id": "p", "name": "n", "script": "", "hash": "", "sandbox": \#(sandbox), "commands": \#(commands)}}"#
            return try PluginDocument.selection.select(from: Data(json.utf8)).decode(Envelope<PluginDocument>.self).data
        }
        let plain = try document(
            #"{"network": "full"}"#, #"{"a": {"function": "a", "x": {}}, "b": {"function": "\ud800"}}"#)
        #expect(plain.sandbox?.network == "full")
        #expect(plain.commands.mapValues(\.function) == ["a": "a", "b": ""])
        #expect(try document(deep, "[]").sandbox?.network == "none")
        let long = #"{"network": "\#(String(repeating: "x", count: 300 << 10))"}"#
        #expect(try document(long, "null").sandbox?.network == "none")
        #expect(throws: DecodingError.self) { try document("null", "[[]]") }
    }
}
