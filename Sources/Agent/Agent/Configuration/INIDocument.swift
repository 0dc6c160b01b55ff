import AgentModel
import Diagnostics

/// A configuration file in the dialect of Python's `configparser` with its defaults, which the first agent used
/// (Python library reference, "Supported INI File Structure").
///
/// Values are as they stand; ``INIDocument+Interpolation`` resolves `%`.
struct INIDocument {
    struct Entry: Equatable {
        /// Lower case.
        var name: String
        /// The lines of the value, joined by newlines.
        var value: String
        /// Where it begins, from 1.
        var line: Int
    }

    struct Section: Equatable {
        var name: String
        var line: Int
        var entries: [Entry] = []
    }

    /// In the order of the file, without `[DEFAULT]`.
    private(set) var sections: [Section] = []
    /// Of `[DEFAULT]`: they hold in every section that doesn't have the key itself.
    private(set) var defaults = Section(name: INIDocument.defaultName, line: 0)
    private(set) var problems: [ConfigurationProblem] = []

    private let path: String
    static let defaultName = "DEFAULT"

    private enum Place {
        case beforeAnySection
        case defaults
        case section
        /// A section whose header is wrong or there twice: its lines are read for their own problems only.
        case refused
    }

    /// - Parameter path: for the problems.
    init(_ text: String, path: String) {
        self.path = path
        var parser = Parser()
        // Swift takes CRLF for one character, and configparser for one line end.
        let lines = text.split(
            omittingEmptySubsequences: false, whereSeparator: { $0 == "\n" || $0 == "\r\n" || $0 == "\r" })
        for (index, line) in lines.enumerated() {
            read(index == 0 && line.first == "\u{FEFF}" ? line.dropFirst() : line, number: index + 1, &parser)
        }
        finishValue(&parser)
    }

    private struct Parser {
        var place = Place.beforeAnySection
        var open: (name: String, lines: [Substring], line: Int)?
        /// How far the line was indented that the open value began on.
        var indentation = 0
    }

    private mutating func read(_ line: Substring, number: Int, _ parser: inout Parser) {
        let content = line.trimmed
        guard let first = content.first else {
            // An empty line belongs to a value if the value goes on after it.
            parser.open?.lines.append("")
            return
        }
        if first == "#" || first == ";" { return }
        let indentation = line.prefix(while: \.isBlank).count
        if parser.open != nil, indentation > parser.indentation {
            parser.open?.lines.append(content)
            return
        }
        finishValue(&parser)
        parser.indentation = indentation
        if first == "[" {
            parser.place = readHeader(content, number: number)
        } else if case .beforeAnySection = parser.place {
            report(number, "a setting stands before any section; put [agent] above it")
        } else {
            parser.open = readSetting(content, number: number)
        }
    }

    private mutating func readHeader(_ content: Substring, number: Int) -> Place {
        guard let end = content.lastIndex(of: "]"), end > content.index(after: content.startIndex) else {
            report(number, "\(quoted(String(content))) is not a section's name in brackets")
            return .refused
        }
        let rest = content[content.index(after: end)...].trimmed
        guard rest.isEmpty else {
            report(number, "\(quoted(String(rest))) stands after a section's name; comments go on a line of their own")
            return .refused
        }
        let name = String(content[content.index(after: content.startIndex)..<end])
        if name == Self.defaultName {
            defaults.line = number
            return .defaults
        }
        if let first = sections.first(where: { $0.name == name }) {
            problems.append(.duplicate(name: "[\(name)]", origin: origin(number), first: first.line))
            return .refused
        }
        sections.append(Section(name: name, line: number))
        return .section
    }

    private mutating func readSetting(_ content: Substring, number: Int) -> (String, [Substring], Int)? {
        guard let delimiter = content.firstIndex(where: { $0 == "=" || $0 == ":" }) else {
            report(number, "\(quoted(String(content))) has neither = nor :, so that it sets nothing")
            return nil
        }
        let name = content[..<delimiter].trimmed.lowercased()
        guard !name.isEmpty else {
            report(number, "there is no name before the \(content[delimiter])")
            return nil
        }
        return (name, [content[content.index(after: delimiter)...].trimmed], number)
    }

    private mutating func finishValue(_ parser: inout Parser) {
        guard let (name, lines, line) = parser.open else { return }
        parser.open = nil
        let last = lines.lastIndex { !$0.isEmpty } ?? lines.startIndex
        let entry = Entry(name: name, value: lines[...last].joined(separator: "\n"), line: line)
        switch parser.place {
        case .beforeAnySection, .refused: break
        case .defaults: defaults.entries = adding(entry, to: defaults.entries)
        case .section:
            let current = sections.endIndex - 1
            sections[current].entries = adding(entry, to: sections[current].entries)
        }
    }

    private mutating func adding(_ entry: Entry, to entries: [Entry]) -> [Entry] {
        if let first = entries.first(where: { $0.name == entry.name }) {
            problems.append(.duplicate(name: entry.name, origin: origin(entry.line), first: first.line))
            return entries
        }
        return entries + [entry]
    }

    private mutating func report(_ number: Int, _ problem: String) {
        problems.append(.syntax(origin: origin(number), problem: problem))
    }

    func origin(_ line: Int) -> ConfigurationOrigin { .file(path: path, line: line) }
}

extension Character {
    fileprivate var isBlank: Bool { self == " " || self == "\t" || self == "\u{0B}" || self == "\u{0C}" }
}

extension Substring {
    fileprivate var trimmed: Substring {
        var text = drop(while: \.isWhitespace)
        while text.last?.isWhitespace == true { text.removeLast() }
        return text
    }
}
