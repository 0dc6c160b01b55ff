public import AgentModel
import Sandbox

/// A section `[plugin:PLUGIN_ID]` or `[plugin-name:NAME]`: settings of the plugins that it matches.
///
/// Two are equal where they match the same plugins and set the same.
public struct PluginSection: Sendable, Equatable {
    /// Which plugins a section is for.
    public enum Subject: Sendable, Equatable {
        /// One version of a plugin: each publication has an id of its own.
        case id(PluginID)
        /// Every version of a plugin, by the document's `name`.
        case name(String)
        /// Every plugin whose name matches.
        case pattern(NamePattern)
    }

    /// `[plugin:file]` is for `plugin call FILE`: a script in a file has this id.
    public static let fileID = "file"

    public let subject: Subject
    /// What the section says, and the default where it says nothing.
    var values = PluginSettings()
    /// The settings that stand in the section itself.
    var own: Set<PluginSettingKey> = []
    /// Those that it has of `[DEFAULT]`: any section that says something itself is stronger.
    var inherited: Set<PluginSettingKey> = []

    init(subject: Subject) { self.subject = subject }

    /// As it stands in the file.
    public var title: String {
        switch subject {
        case .id(let id): "[plugin:\(id)]"
        case .name(let name): "[plugin-name:\(name)]"
        case .pattern(let pattern): "[plugin-name:\(pattern.text)]"
        }
    }

    /// Where plugins of this section run; nil where it doesn't say.
    public var isolation: Isolation? { own.contains(.plugin(.isolation)) ? values.isolation : nil }

    /// - Parameter name: nil where it isn't known: then no section with a name matches.
    public func matches(_ id: PluginID, named name: String?) -> Bool {
        switch subject {
        case .id(let own): own == id
        case .name(let own): own == name
        case .pattern(let pattern): name.map(pattern.matches) ?? false
        }
    }

    /// Whether this is stronger than another one for a plugin that both match: the id, then the name, then the longest
    /// pattern.
    fileprivate func outranks(_ other: PluginSection) -> Bool {
        switch (subject, other.subject) {
        case (.id, .name), (.id, .pattern), (.name, .pattern): true
        case (.pattern(let one), .pattern(let other)): one.length > other.length
        default: false
        }
    }
}

/// A pattern for names of plugins: `*` stands for any characters, also none, and `?` for exactly one.
public struct NamePattern: Sendable, Equatable {
    public let text: String

    /// Nil for a text without `*` and `?`, which is a name.
    init?(_ text: String) {
        guard text.contains(where: { $0 == "*" || $0 == "?" }) else { return nil }
        self.text = text
    }

    /// The characters that must be there as they are.
    var length: Int { text.count { $0 != "*" && $0 != "?" } }

    public func matches(_ name: String) -> Bool {
        let pattern = Array(text)
        let name = Array(name)
        var (position, index) = (0, 0)
        // Where to go on if what follows the last star doesn't fit: that takes in one more character.
        var retry: (position: Int, index: Int)?
        while index < name.count {
            if position < pattern.count, pattern[position] == "*" {
                retry = (position + 1, index)
                position += 1
            } else if position < pattern.count, pattern[position] == "?" || pattern[position] == name[index] {
                position += 1
                index += 1
            } else if let last = retry {
                retry = (last.position, last.index + 1)
                (position, index) = (last.position, last.index + 1)
            } else {
                return false
            }
        }
        return pattern[position...].allSatisfy { $0 == "*" }
    }
}

/// A setting that a plugin's section may have.
enum PluginSettingKey: Hashable {
    case plugin(PluginKey)
    case policy(PolicyKey)

    init?(_ name: String) {
        if let key = PluginKey(rawValue: name) {
            self = .plugin(key)
        } else if let key = PolicyKey(name) {
            self = .policy(key)
        } else {
            return nil
        }
    }
}

extension PluginSettings {
    /// Takes one setting from another.
    fileprivate mutating func take(_ key: PluginSettingKey, from other: PluginSettings) {
        switch key {
        case .plugin(.isolation): isolation = other.isolation
        case .plugin(.taskTimeout): taskTimeout = other.taskTimeout
        case .plugin(.concurrency): concurrency = other.concurrency
        case .plugin(.keepPrograms): keepsPrograms = other.keepsPrograms
        case .plugin(.idempotent): isIdempotent = other.isIdempotent
        case .policy(.limit(let limit)): policy.limits[limit] = other.policy.limits[limit]
        case .policy(.access(.readPaths)): policy.readPaths = other.policy.readPaths
        case .policy(.access(.writePaths)): policy.writePaths = other.policy.writePaths
        case .policy(.access(.network)): policy.network = other.policy.network
        case .policy(.access(.cpuSeconds)): policy.cpuTime = other.policy.cpuTime
        case .policy(.access(.environment)): policy.environment = other.policy.environment
        case .policy(.access(.programs)): policy.startsPrograms = other.policy.startsPrograms
        case .policy(.access(.proc)): policy.hasProc = other.policy.hasProc
        case .policy(.access(.api)): policy.api = other.policy.api
        }
    }
}

extension AgentConfiguration {
    /// The settings of a plugin, each from the first of these that has it: the section of its id, that of its name,
    /// those of patterns that its name matches, the longest first, and `[sandbox]` or `[agent]`.
    ///
    /// - Parameter name: the document's; nil where it isn't known.
    public func settings(for id: PluginID, named name: String? = nil) -> PluginSettings {
        // In the file's order where none outranks the other. The weakest first, so that the strongest is taken last.
        let sections = pluginSections.filter { $0.matches(id, named: name) }.enumerated()
            .sorted { one, other in
                if one.element.outranks(other.element) { return true }
                return !other.element.outranks(one.element) && one.offset < other.offset
            }
            .map(\.element).reversed()
        guard !sections.isEmpty else { return pluginDefaults }
        var settings = pluginDefaults
        for section in sections { for key in section.inherited { settings.take(key, from: section.values) } }
        for section in sections { for key in section.own { settings.take(key, from: section.values) } }
        settings.policy.dropNestedPaths()
        return settings
    }
}
