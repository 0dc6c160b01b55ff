import AgentModel
import Diagnostics
import Foundation
import Testing

@Suite struct PluginIDTests {
    @Test(arguments: [
        "9ab56426-f429-4c4b-9755-40c92449f0be", "0123456789abcdef0123456789ABCDEF", "a", "A.b_c-d",
        String(repeating: "x", count: 128),
    ])
    func isAccepted(_ text: String) throws {
        #expect(try PluginID(text).rawValue == text)
    }

    @Test(arguments: [
        "", ".", "..", "../../etc/x", "a/b", "-a", "_a", ".hidden", "a b", "a\n", "a\0", "é",
        String(repeating: "x", count: 129),
    ])
    func isRefusedAndNeverCleanedUp(_ text: String) {
        #expect(throws: AgentModelError.invalidPluginID(text)) { try PluginID(text) }
    }
}

@Suite struct DocumentTests {
    private func decode<Document: Decodable>(_ type: Document.Type, _ json: String) throws -> Document {
        try JSONDecoder().decode(Envelope<Document>.self, from: Data(json.utf8)).data
    }

    @Test func anAgentThatWasJustMetHasNulls() throws {
        let document = try decode(
            AgentDocument.self, #"{"data": {"id": "a", "name": null, "team_id": null, "plugins": null, "x": 1}}"#)
        #expect(document == AgentDocument(id: "a", name: nil, teamID: nil, plugins: []))
        #expect(document.lacksTeam)
    }

    @Test func aScriptKeepsItsBytes() throws {
        let script = "class Plugin:\r\n\tpass  \r\n# ünïcode \u{1F600}"
        let json = JSONValue.object([
            "data": ["id": "p", "name": "n", "script": .string(script), "hash": "", "commands": []]
        ]).text
        let document = try decode(PluginDocument.self, json)
        #expect(Array(document.script.utf8) == Array(script.utf8))
        #expect(document.commands.isEmpty)
        let again = try JSONDecoder().decode(PluginDocument.self, from: JSONEncoder().encode(document))
        #expect(Array(again.script.utf8) == Array(script.utf8))
    }

    @Test(arguments: [("0", "0"), (#""v0.0.1""#, "v0.0.1"), ("1.5", "1.5")])
    func aVersionIsANumberOrAText(_ json: String, _ text: String) throws {
        let document = try decode(
            PluginDocument.self, #"{"data": {"id": "p", "name": "n", "version": \#(json), "script": "", "hash": ""}}"#)
        #expect(document.version?.description == text)
    }

    @Test(arguments: [
        ("null", "{}"), (#""""#, "{}"), (#""[]""#, "{}"), (#""[ ]""#, "{}"), (#""{}""#, "{}"),
        (#""{\"number\":2}""#, #"{"number":2}"#), (#"{"number": 2}"#, #"{"number": 2}"#),
        (#"{"big": 18446744073709551615}"#, #"{"big": 18446744073709551615}"#), (#""\n {\"a\": 1}""#, "\n {\"a\": 1}"),
    ])
    func argumentsInTheirManyForms(_ json: String, _ normalized: String) throws {
        let text = #"{"data": [{"id": "t", "command": "c", "cron": null, "arguments": \#(json)}]}"#
        let kept = JSONText.keepingObjects(of: "arguments", atDepth: 3, in: Data(text.utf8))
        let list = try decode(TaskList.self, String(decoding: kept, as: UTF8.self))
        #expect(try list.tasks.first?.normalizedArguments() == normalized)
    }

    @Test(arguments: [#""[1]""#, #""null""#, #""7""#, "[1]", "7", "true"])
    func argumentsThatAreNoObjectAreRefused(_ json: String) throws {
        let list = try decode(
            TaskList.self, #"{"data": [{"id": "t", "command": "c", "cron": null, "arguments": \#(json)}]}"#)
        #expect(throws: AgentModelError.self) { try list.tasks.first?.normalizedArguments() }
    }

    @Test func aTaskThatCanNotBeReadLeavesTheOthers() throws {
        let list = try decode(
            TaskList.self,
            #"""
            {"data": [{"id": "a", "command": "c"}, 7, {"id": 8, "command": "c"}, {"id": "b"}, null,
                      {"id": "d", "command": "c", "cron": " "}]}
            """#)
        #expect(list.tasks.map(\.id) == ["a", "d"])
        #expect(list.tasks.last?.cron == nil)
        #expect(
            list.unreadable.map(\.error.code) == [
                "backend.invalid_document", "backend.invalid_document", "task.invalid_document",
                "backend.invalid_document",
            ])
        #expect(list.unreadable.map(\.id) == [nil, nil, "b", nil])
        #expect(
            list.unreadable[2].error.message
                == #"the task "b" can't be run: "command" is missing; correct it in the backend"#
        )
    }

    @Test(arguments: [
        (#""cron": 5"#, #""cron" is not a text"#), (#""cron": [1]"#, #""cron" is not a text"#),
        (#""command": null"#, #""command" is null where a text is needed"#),
    ])
    func aWrongFieldOfATaskIsNamedInTheWordsOfJSON(_ member: String, _ problem: String) throws {
        let list = try decode(TaskList.self, #"{"data": [{"id": "t", \#(member)}]}"#)
        let message = try #require(list.unreadable.first?.error.message)
        #expect(message.contains(problem), "\(message)")
        #expect(list.unreadable.first?.id == "t")
    }

    /// No name of a Swift type is in a message for people.
    @Test(arguments: [
        (#"{"data": 7}"#, "an object"), (#"{"data": {"id": "p", "plugins": 7}}"#, "a list"),
        (#"{"data": {"id": 7}}"#, "a text"),
    ])
    func whatIsNeededIsSaidInTheWordsOfJSON(_ json: String, _ words: String) {
        let error = #expect(throws: DecodingError.self) { try decode(AgentDocument.self, json) }
        #expect(error?.sentence.hasSuffix("is not \(words)") == true, "\(error?.sentence ?? "")")
    }

    // MARK: The text of arguments

    @Test(arguments: [
        #"{"x":1.0,"big":123456789012345678901234567890,"e":1e5,"n":-0.0}"#,
        #"{ "nested" : { "arguments" : { "a" : [ 1.0 , {"b": "}\"{" } ] } } }"#,
        #"{"a": "\\", "b": "\"", "é": "\u00e9"}"#, "{}", "{\n\t\"a\": 1.50\r\n}",
    ])
    func aBareObjectIsItsTextToTheByte(_ object: String) throws {
        for member in ["arguments", #"argument\u0073"#] {
            let json = #"""
                {"more": {"x": {"arguments": {"a": 1.0}}}, "data": [
                  {"id": "a", "command": "c", "\#(member)" : \#(object), "cron": null},
                  {"id": "b", "command": "arguments", "arguments": "{\"y\": 2.0}"}, {"id": "c", "command": "c"}]}
                """#
            let kept = JSONText.keepingObjects(of: "arguments", atDepth: 3, in: Data(json.utf8))
            let list = try decode(TaskList.self, String(decoding: kept, as: UTF8.self))
            #expect(list.tasks.map(\.arguments) == [object, #"{"y": 2.0}"#, "{}"])
        }
    }

    @Test(arguments: [
        #"{"data": [{"arguments": {"a": 1"#, #"{"data": [{"arguments": {"a": "#, #"{"data": [{"arguments": {"a": "x\"#,
        "", "}}]]", #"{"data": [{"arguments""#, #"{"data": [{"arguments":"#, #"{"data": [{"arguments": [{}]}]}"#,
    ])
    func whatIsNoJSONOrNoObjectStaysAsItIs(_ json: String) {
        #expect(JSONText.keepingObjects(of: "arguments", atDepth: 3, in: Data(json.utf8)) == Data(json.utf8))
    }

    @Test func ofEqualNamesEachObjectIsKept() throws {
        let kept = JSONText.keepingObjects(
            of: "arguments", atDepth: 1, in: Data(#"{"arguments": {"a": 1.0}, "arguments": {"a": 2.0}}"#.utf8))
        #expect(
            String(decoding: kept, as: UTF8.self)
                == #"{"arguments": "{\"a\": 1.0}", "arguments": "{\"a\": 2.0}"}"#)
    }

    @Test func textsThatOnlyLookTheSameAreTwo() {
        let (one, two) = ("caf\u{E9}", "cafe\u{301}")
        #expect(one == two)
        #expect(TaskID(one) != TaskID(two))
        #expect(Set([TaskID(one), TaskID(two), TaskID(one)]).count == 2)
        func task(_ id: String, _ arguments: String) -> TaskDocument {
            TaskDocument(id: id, command: "c", cron: nil, arguments: arguments)
        }
        #expect(task("t", one) != task("t", two))
        #expect(task(one, "") != task(two, ""))
        #expect(task(one, two) == task(one, two))
    }

    @Test(arguments: ["weird", "timed_out_twice", "Great"])
    func aStatusOfANewerAgentIsKept(_ text: String) throws {
        let result = try JSONDecoder().decode(
            TaskResult.self, from: Data(#"{"data": null, "status": "\#(text)"}"#.utf8))
        #expect(result.status == .other(text))
        #expect(String(decoding: try JSONEncoder().encode(result), as: UTF8.self).contains(#""status":"\#(text)""#))
    }

    @Test(arguments: [#""""#, #""two words""#, "7", #""\#(String(repeating: "x", count: 65))""#])
    func whatIsNoWordIsNoStatus(_ json: String) {
        let error = #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(TaskResult.self, from: Data(#"{"data": null, "status": \#(json)}"#.utf8))
        }
        #expect(error?.sentence.contains("RunStatus") == false)
    }

    @Test func aMinimalResultIsDataAlone() throws {
        let result = TaskResult(data: nil, runID: "r", status: .failed, stdout: "x")
        let json = String(decoding: try JSONEncoder().encode(result.minimal), as: UTF8.self)
        #expect(json == #"{"data":null}"#)
    }

    @Test func anExtendedResultSurvivesTheWire() throws {
        let start = Date(timeIntervalSince1970: 1_700_000_000.25)
        let result = TaskResult(
            data: "x", runID: "r", status: .timedOut,
            error: RunError(code: "task.timed_out", type: "T", message: "m", traceback: "t"), stdout: "o", stderr: "e",
            startedAt: start, finishedAt: start.addingTimeInterval(1), durationMilliseconds: 1000, scheduledFor: start,
            isolation: "in-process", agentVersion: "1")
        #expect(try JSONDecoder().decode(TaskResult.self, from: JSONEncoder().encode(result)) == result)
    }

    @Test(arguments: ["greet", "a1", "été", "camelCase"])
    func isAPublicMethodName(_ name: String) { #expect(CommandDocument.isPublicMethodName(name)) }

    @Test(arguments: ["", "_x", "__init__", "1a", "a b", "a.b", "a-b", "a()", "a\n"])
    func isNoPublicMethodName(_ name: String) { #expect(!CommandDocument.isPublicMethodName(name)) }

    @Test func quotedTextCanNotMoveTheCursor() {
        #expect(quoted("a\u{1B}[2J\"\n") == #""a\u{1b}[2J\"\n""#)
        #expect(quoted(String(repeating: "x", count: 300)).count == 203)
    }
}

@Suite struct RFC3339Tests {
    @Test func millisecondsAreRoundedAndNotCut() {
        for milliseconds in 0..<1000 {
            let date = Date(timeIntervalSince1970: 1_700_000_600 + Double(milliseconds) / 1000)
            let text = String(milliseconds)
            let padded = String(repeating: "0", count: 3 - text.count) + text
            #expect(RFC3339.string(from: date) == "2023-11-14T22:23:20.\(padded)Z")
        }
    }

    @Test(arguments: ["2026-11-23T21:07:00Z", "2026-11-23T22:07:00+01:00", "2026-11-23T21:07:00.000Z"])
    func offsetsAndFractionsAreRead(_ text: String) {
        #expect(RFC3339.date(from: text) == Date(timeIntervalSince1970: 1_795_468_020))
    }

    @Test(arguments: ["", "yesterday", "2026-11-23", "2026-13-01T00:00:00Z"])
    func otherTextIsNone(_ text: String) { #expect(RFC3339.date(from: text) == nil) }
}
