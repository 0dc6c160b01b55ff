import AgentModel
public import Diagnostics

/// What is wrong with a configuration: everything that was found, in the order of the sources.
public struct ConfigurationError: CodedError, Equatable {
    /// Never empty.
    public let problems: [ConfigurationProblem]

    /// - Parameter problems: at least one.
    init(_ first: ConfigurationProblem, _ others: [ConfigurationProblem] = []) {
        problems = [first] + others
    }

    /// Of the first problem.
    public var code: String { problems[0].code }

    public var message: String {
        guard problems.count > 1 else { return problems[0].message }
        return "the configuration has \(problems.count) errors: "
            + problems.enumerated().map { "(\($0 + 1)) \($1.message)" }.joined(separator: "; ")
    }
}

/// One thing that is wrong in a configuration.
public enum ConfigurationProblem: Sendable, Equatable {
    case unreadableFile(path: String, problem: String)
    /// A line that is not of the INI dialect.
    case syntax(origin: ConfigurationOrigin, problem: String)
    /// A key or section that was there before, at `first`.
    case duplicate(name: String, origin: ConfigurationOrigin, first: Int)
    case unknownKey(name: String, origin: ConfigurationOrigin, nearest: String?)
    /// A setting stands in a section that doesn't have it. `sections` do, and aren't empty.
    case misplacedKey(name: String, origin: ConfigurationOrigin, sections: [String])
    case unknownSection(name: String, origin: ConfigurationOrigin, nearest: String?)
    /// `value` is nil where it is secret or may hold a secret.
    case invalidValue(key: String, value: String?, origin: ConfigurationOrigin, allowed: String)
    case missingValue(key: ConfigurationKey)
    /// Somebody else than root and the user may change a file, or a folder on the way to it. `setting` is what names it;
    /// nil for the configuration file itself.
    case untrustedFile(setting: String?, path: String, problem: String)
    /// Sandboxed plugins may read a folder in which something of the agent's own lies.
    case exposedFile(path: String, folder: String)
    /// A path of a policy leads through a link that a sandboxed plugin may have put there.
    case linkOfPlugin(key: String, origin: ConfigurationOrigin, link: String, target: String)

    public var code: String {
        switch self {
        case .unreadableFile: "configuration.unreadable_file"
        case .syntax: "configuration.syntax"
        case .duplicate: "configuration.duplicate"
        case .unknownKey, .misplacedKey: "configuration.unknown_key"
        case .unknownSection: "configuration.unknown_section"
        case .invalidValue: "configuration.invalid_value"
        case .missingValue: "configuration.missing_value"
        case .untrustedFile: "configuration.untrusted_file"
        case .exposedFile: "configuration.exposed_file"
        case .linkOfPlugin: "configuration.link_of_plugin"
        }
    }

    public var message: String {
        switch self {
        case .unreadableFile(let path, let problem):
            "the configuration file \(quoted(path)) cannot be read: \(problem)"
        case .syntax(let origin, let problem): "\(origin): \(problem)"
        case .duplicate(let name, let origin, let first):
            "\(origin): \(quoted(name)) is set twice, first in line \(first); remove one of them"
        case .unknownKey(let name, let origin, let nearest):
            "\(origin): there is no setting \(quoted(name))" + Self.suggestion(nearest)
        case .misplacedKey(let name, let origin, let sections):
            "\(origin): \(quoted(name)) is not a setting of this section; write it in \(sections.joined(separator: " or "))"
        case .unknownSection(let name, let origin, let nearest):
            "\(origin): there is no section \(quoted(name))" + Self.suggestion(nearest)
        case .invalidValue(let key, let value, let origin, let allowed):
            "\(origin): \(quoted(key)) is \(value.map { quoted($0) } ?? "wrong"), which must be \(allowed)"
        case .untrustedFile(let setting, let path, let problem):
            (setting.map { "\(quoted($0)) names \(quoted(path))" } ?? "the configuration file \(quoted(path))")
                + (setting == nil ? " is not used: " : ", which is not used: ")
                + "\(problem); make root or yourself its owner and remove everybody else's write permission, or use "
                + "another file"
        case .exposedFile(let path, let folder):
            "\(quoted(path)) is the agent's own and lies in \(quoted(folder)), which sandboxed plugins may read; put "
                + "one of them elsewhere"
        case .linkOfPlugin(let key, let origin, let link, let target):
            "\(origin): \(quoted(key)) leads to \(quoted(target)) through the symbolic link \(quoted(link)), which a "
                + "sandboxed plugin may have put there; remove the link, or write the path without it"
        case .missingValue(let key):
            "\(quoted(key.rawValue)) is not set; write it in the section [agent] of the configuration file or set "
                + "\(key.environmentName)"
        }
    }

    private static func suggestion(_ nearest: String?) -> String {
        nearest.map { "; did you mean \(quoted($0))?" } ?? "; see docs/configuration.md for the list"
    }
}

/// Where a setting comes from.
public enum ConfigurationOrigin: Sendable, Equatable, CustomStringConvertible {
    case commandLine
    case environment(name: String)
    /// `line` counts from 1.
    case file(path: String, line: Int)

    public var description: String {
        switch self {
        case .commandLine: "on the command line"
        case .environment(let name): "in the environment variable \(quoted(name))"
        case .file(let path, let line): "in \(quoted(path)), line \(line)"
        }
    }
}
