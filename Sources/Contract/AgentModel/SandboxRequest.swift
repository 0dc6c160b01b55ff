import Diagnostics

/// What a plugin's document asks of the sandbox: the object `sandbox` of part 2 of the contract.
///
/// A field that is nil asks for nothing in particular and leaves what the host allows; one that is there can only make
/// it less. What can't be read asks for nothing at all of its kind, so that a mistake never widens what its author
/// meant to narrow: no path, no network, no programs, no `api`. It stands in ``problems``.
public struct SandboxRequest: Hashable, Sendable {
    /// Files and folders to read; absolute, each with no component `.` or `..`.
    public let readPaths: [String]?
    /// Files and folders to change; as `readPaths`.
    public let writePaths: [String]?
    /// `none`, `full`, or a list such as `dns,tcp:443,tcp:8000-8100`.
    public let network: String?
    /// What there is at most of each thing that the sandbox limits.
    public let limits: [SandboxLimit: Int]
    /// Seconds of processor time of one run.
    public let cpuSeconds: Double?
    /// Whether other programs may be started.
    public let startsPrograms: Bool?
    /// `none`, `results` or `full`.
    public let api: String?
    /// What could not be read, 20 at most.
    public let problems: [Problem]

    /// Something in the object that isn't as the contract has it.
    public struct Problem: Hashable, Sendable {
        /// The field's name within `sandbox`; empty for the object itself.
        public var field: String
        public var problem: String

        public init(field: String, problem: String) {
            self.field = field
            self.problem = problem
        }
    }

    /// As it was written, unreadable parts included: a stored document must not ask for more than the one fetched.
    public let source: JSONValue

    /// The names of the fields, beside those of limits.
    public enum Field: String, CaseIterable, Sendable {
        case readPaths = "read_paths"
        case writePaths = "write_paths"
        case network
        case cpuSeconds = "cpu_seconds"
        case programs
        case api
    }

    /// The names of all fields.
    public static let fieldNames = Field.allCases.map(\.rawValue) + SandboxLimit.all.map(\.name)

    public init(_ source: JSONValue) {
        var reader = SandboxRequestReader(source)
        self.source = source
        readPaths = reader.paths(.readPaths)
        writePaths = reader.paths(.writePaths)
        network = reader.text(
            .network, otherwise: "none", allowed: "none, full, or a list such as dns,tcp:443,tcp:8000-8100",
            where: Self.isNetwork)
        limits = Dictionary(
            uniqueKeysWithValues: SandboxLimit.all.compactMap { limit in reader.count(limit).map { (limit, $0) } })
        cpuSeconds = reader.seconds(.cpuSeconds)
        startsPrograms = reader.boolean(.programs)
        api = reader.text(.api, otherwise: "none", allowed: "none, results or full") {
            ["none", "results", "full"].contains($0)
        }
        problems = Array(reader.problems.prefix(20))
    }

    /// Whether a text names a network as the sandbox's configuration does.
    private static func isNetwork(_ text: String) -> Bool {
        guard text.utf8.count <= 4096 else { return false }
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
            .map { part in part.filter { $0 != " " && $0 != "\t" }.lowercased() }
        if parts == ["none"] || parts == ["full"] { return true }
        return parts.allSatisfy { part in
            if part == "dns" { return true }
            guard part.hasPrefix("tcp:") else { return false }
            let bounds = part.dropFirst(4).split(separator: "-", omittingEmptySubsequences: false)
                .map { UInt16($0) ?? 0 }
            return (1...2).contains(bounds.count) && bounds[0] > 0 && bounds[0] <= bounds[bounds.count - 1]
        }
    }
}

extension SandboxRequest: Codable {
    public init(from decoder: any Decoder) throws {
        self.init(try JSONValue(from: decoder))
    }

    public func encode(to encoder: any Encoder) throws { try source.encode(to: encoder) }
}

/// Takes the fields out of the object, collecting what is wrong with them.
private struct SandboxRequestReader {
    private let fields: [String: JSONValue]
    /// There is no object: every field counts as unreadable.
    private let isUnreadable: Bool
    private(set) var problems: [SandboxRequest.Problem] = []

    private static let pathLimit = 100

    init(_ source: JSONValue) {
        switch source {
        case .object(let object):
            (fields, isUnreadable) = (object, false)
            let known = SandboxRequest.fieldNames
            for name in object.keys.sorted() where !known.contains(name) {
                refuse(name, "there is no such field; known are \(known.joined(separator: ", "))")
            }
        // PHP backends write an empty map as an empty list.
        case .array([]): (fields, isUnreadable) = ([:], false)
        default:
            (fields, isUnreadable) = ([:], true)
            refuse("", "it is not an object")
        }
    }

    private mutating func refuse(_ field: String, _ problem: String) {
        problems.append(SandboxRequest.Problem(field: field, problem: problem))
    }

    private func value(_ field: String) -> JSONValue? {
        if isUnreadable { return .object([:]) }
        let value = fields[field]
        return value == .null ? nil : value
    }

    /// Says it of a field, but not of each that is missing where there is no object.
    private mutating func refuse(field: String, _ problem: String) {
        if !isUnreadable { refuse(field, problem) }
    }

    private mutating func refuse(_ field: SandboxRequest.Field, _ problem: String) {
        refuse(field: field.rawValue, problem)
    }

    mutating func paths(_ field: SandboxRequest.Field) -> [String]? {
        guard let value = value(field.rawValue) else { return nil }
        guard case .array(let elements) = value else {
            refuse(field, "it is not a list of paths")
            return []
        }
        guard elements.count <= Self.pathLimit else {
            refuse(field, "it has more than \(Self.pathLimit) paths")
            return []
        }
        return elements.compactMap { element in
            if case .string(let path) = element, Self.isPlainPath(path) { return path }
            let text = if case .string(let path) = element { path } else { element.text }
            refuse(field, "\(quoted(text)) is not an absolute path without . and .. in it")
            return nil
        }
    }

    private static func isPlainPath(_ path: String) -> Bool {
        path.hasPrefix("/") && path.utf8.count < 4096 && !path.unicodeScalars.contains { $0.value < 0x20 }
            && !path.split(separator: "/").contains { $0 == "." || $0 == ".." }
    }

    mutating func text(
        _ field: SandboxRequest.Field, otherwise: String, allowed: String, where isAllowed: (String) -> Bool
    ) -> String? {
        guard let value = value(field.rawValue) else { return nil }
        if case .string(let text) = value, isAllowed(text) { return text }
        let text = if case .string(let text) = value { text } else { value.text }
        refuse(field, "\(quoted(text)) is not \(allowed)")
        return otherwise
    }

    /// What is too little counts as the least; what is no number leaves what the host allows.
    mutating func count(_ limit: SandboxLimit) -> Int? {
        guard let value = value(limit.name) else { return nil }
        let number: Int? =
            switch value {
            case .integer(let number): Int(clamping: number)
            case .unsigned(let number): Int(clamping: number)
            default: nil
            }
        guard let number, number > 0 else {
            refuse(field: limit.name, "it is not a whole number above 0")
            return nil
        }
        if number < limit.least { refuse(field: limit.name, "it is less than \(limit.least), which is the least") }
        return max(number, limit.least)
    }

    mutating func seconds(_ field: SandboxRequest.Field) -> Double? {
        guard let value = value(field.rawValue) else { return nil }
        let seconds: Double =
            switch value {
            case .integer(let number): Double(number)
            case .number(let number): number
            default: 0
            }
        guard seconds > 0, seconds <= 31_536_000 else {
            refuse(field, "it is not a number of seconds above 0 and up to 31536000")
            return nil
        }
        return seconds
    }

    mutating func boolean(_ field: SandboxRequest.Field) -> Bool? {
        guard let value = value(field.rawValue) else { return nil }
        if case .bool(let boolean) = value { return boolean }
        refuse(field, "it is neither true nor false")
        return false
    }
}
