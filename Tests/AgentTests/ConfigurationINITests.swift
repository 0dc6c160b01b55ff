import Testing

@testable import Agent

@Suite struct ConfigurationINITests {
    private func sections(_ text: String) -> [String: [String: String]] {
        let document = INIDocument(text, path: "c.ini")
        #expect(document.problems == [])
        return Dictionary(
            uniqueKeysWithValues: document.sections.map { section in
                (section.name, Dictionary(uniqueKeysWithValues: section.entries.map { ($0.name, $0.value) }))
            })
    }

    struct Reading: Sendable, CustomTestStringConvertible {
        let name: String
        let text: String
        let values: [String: String]

        var testDescription: String { name }
    }

    // Each was compared with what configparser of Python 3.11 reads.
    @Test(arguments: [
        Reading(name: "both delimiters", text: "[s]\na = 1\nb: 2\nc=3\n", values: ["a": "1", "b": "2", "c": "3"]),
        Reading(
            name: "the first delimiter counts", text: "[s]\nu = http://h:1/?a=b\nv: a=b\n",
            values: ["u": "http://h:1/?a=b", "v": "a=b"]),
        Reading(name: "keys in any case", text: "[s]\nServer_URL = X\n", values: ["server_url": "X"]),
        Reading(
            name: "comments on lines of their own", text: "# c\n[s]\n; c\na = 1\n  # c\nb = 2 ; kept # kept\n",
            values: ["a": "1", "b": "2 ; kept # kept"]),
        Reading(
            name: "continuation by indentation", text: "[s]\na = 1\n  2\n\t3\nb =\n  4\n",
            values: ["a": "1\n2\n3", "b": "\n4"]),
        Reading(
            name: "empty lines within a value only", text: "[s]\na = 1\n\n  2\n\nb = 3\n\n\n",
            values: ["a": "1\n\n2", "b": "3"]),
        Reading(name: "a comment within a value", text: "[s]\na = 1\n# c\n  2\n", values: ["a": "1\n2"]),
        Reading(name: "an indented section", text: "  [s]\n  a = 1\n  b = 2\n", values: ["a": "1", "b": "2"]),
        Reading(
            name: "byte order mark, CRLF and no last line end", text: "\u{FEFF}[s]\r\na = 1\r\nb = 2",
            values: ["a": "1", "b": "2"]),
        Reading(name: "empty values", text: "[s]\na =\nb:\n", values: ["a": "", "b": ""]),
        Reading(name: "spaces within", text: "[s]\n a b  =  c d  \n", values: ["a b": "c d"]),
        Reading(name: "not ASCII", text: "[s]\nname = Zoë — ☕\n", values: ["name": "Zoë — ☕"]),
    ])
    func reads(_ reading: Reading) {
        #expect(sections(reading.text) == ["s": reading.values])
    }

    struct Mistake: Sendable, CustomTestStringConvertible {
        let name: String
        let text: String
        let line: Int

        var testDescription: String { name }
    }

    @Test(arguments: [
        Mistake(name: "a setting before any section", text: "\na = 1\n", line: 2),
        Mistake(name: "a line without a delimiter", text: "[s]\na\n", line: 2),
        Mistake(name: "no name", text: "[s]\n= 1\n", line: 2),
        Mistake(name: "an unclosed section", text: "[s\na = 1\n", line: 1),
        Mistake(name: "a section without a name", text: "[]\n", line: 1),
        Mistake(name: "something after a section", text: "[s] x\n", line: 1),
    ])
    func refuses(_ mistake: Mistake) {
        let problems = INIDocument(mistake.text, path: "c.ini").problems
        #expect(problems.map(\.code) == ["configuration.syntax"])
        #expect(problems.first?.message.hasPrefix("in \"c.ini\", line \(mistake.line): ") == true)
    }

    @Test func namesBothLinesOfADuplicate() {
        let document = INIDocument("[s]\na = 1\nA = 2\n[t]\n[s]\nb = 1\n", path: "c.ini")
        #expect(
            document.problems == [
                .duplicate(name: "a", origin: .file(path: "c.ini", line: 3), first: 2),
                .duplicate(name: "[s]", origin: .file(path: "c.ini", line: 5), first: 1),
            ])
    }

    private func interpolated(_ text: String) -> ([String: String], [ConfigurationProblem]) {
        let document = INIDocument(text, path: "c.ini")
        var used: Set<String> = []
        var problems = document.problems
        let settings = document.settings(of: document.sections[0], used: &used, problems: &problems)
        return (Dictionary(uniqueKeysWithValues: settings.map { ($0.name, $0.value) }), problems)
    }

    @Test func replacesReferences() {
        let (values, problems) = interpolated(
            "[DEFAULT]\nbase = /srv\nhome = %(base)s/home\n[s]\na = %(HOME)s/x\nb = 100%%\nbase = /opt\n")
        #expect(problems == [])
        #expect(values == ["a": "/opt/home/x", "b": "100%", "base": "/opt", "home": "/opt/home"])
    }

    @Test(arguments: ["50%", "%(missing)s", "%(a)s", "%x", "%(a", "%(a)d"])
    func refusesAReferenceThatLeadsNowhere(_ value: String) {
        let (_, problems) = interpolated("[s]\na = \(value)\n")
        #expect(problems.map(\.code) == ["configuration.syntax"])
        #expect(problems.first?.message.hasPrefix("in \"c.ini\", line 2: \"a\" ") == true)
    }

    @Test(arguments: [("", "", 0), ("a", "", 1), ("pool", "poll", 1), ("wrokers", "workers", 1), ("abc", "xyz", 3)])
    func distance(_ first: String, _ second: String, _ distance: Int) {
        #expect(editDistance(first, second) == distance)
        #expect(editDistance(second, first) == distance)
    }
}
