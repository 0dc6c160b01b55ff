public import AgentModel
import Diagnostics

/// Something about the sections of plugins that is allowed and probably not meant.
struct SectionNotice: Equatable {
    let code: String
    let message: String
    /// Whether a plugin has less protection than was meant.
    let isProblem: Bool
}

extension AgentConfiguration {
    /// Names of plugins that have a section by their id, by id: they tell which versions of a plugin came before.
    ///
    /// - Parameters:
    ///   - names: of the plugins whose document has come.
    ///   - before: as this returned it before; what has no section any more is dropped.
    func sectionNames(_ names: [PluginID: String], before: [String: String]) -> [String: String] {
        var result: [String: String] = [:]
        for case .id(let id) in pluginSections.map(\.subject) {
            result[id.rawValue] = names[id].map { String($0.prefix(500)) } ?? before[id.rawValue]
        }
        return result
    }

    /// Compares the sections of plugins with the plugins that the backend lists.
    ///
    /// - Parameters:
    ///   - listed: with their names; nil for one whose document has not come.
    ///   - earlierNames: see ``sectionNames(_:before:)``.
    func reviewSections(listed: [PluginID: String?], earlierNames: [String: String]) -> [SectionNotice] {
        let areNamesKnown = listed.values.allSatisfy { $0 != nil }
        let unmatched = pluginSections.filter { section in
            switch section.subject {
            case .id(let id): id.rawValue != PluginSection.fileID && listed[id] == nil
            // One that isn't known yet may be the one.
            case .name, .pattern: areNamesKnown && !listed.contains { section.matches($0.key, named: $0.value) }
            }
        }
        let leftSandbox = listed.sorted { $0.key < $1.key }.compactMap { id, name -> SectionNotice? in
            guard let name, let section = sandboxLeft(by: id, named: name, earlierNames: earlierNames) else {
                return nil
            }
            return SectionNotice(
                code: "plugin.left_sandbox",
                message: "the plugin \(quoted(id.rawValue)) named \(quoted(name)) runs in the agent's process, though "
                    + "the section \(section.title) of an earlier version says isolation = sandbox; name the section "
                    + "[plugin-name:\(name)], which holds for every version",
                isProblem: true)
        }
        return leftSandbox
            + unmatched.map { section in
                SectionNotice(
                    code: "configuration.unmatched_section",
                    message:
                        "the section \(section.title) matches no plugin that the backend lists; correct or remove it"
                        + Self.hint(for: section, listed, earlierNames), isProblem: false)
            }
    }

    /// The section of an earlier version of a plugin that says `isolation = sandbox`, where the plugin now runs in the
    /// agent's process; nil where it doesn't, or there is none.
    ///
    /// - Parameter earlierNames: see ``sectionNames(_:before:)``.
    public func sandboxLeft(
        by id: PluginID, named name: String, earlierNames: [String: String]
    ) -> PluginSection? {
        guard settings(for: id, named: name).isolation == .inProcess else { return nil }
        return pluginSections.first { section in
            guard case .id(let other) = section.subject else { return false }
            return other != id && section.isolation == .sandbox && earlierNames[other.rawValue] == name
        }
    }

    /// Which plugin a section by an id may be meant for now.
    private static func hint(
        for section: PluginSection, _ listed: [PluginID: String?], _ earlierNames: [String: String]
    ) -> String {
        guard case .id(let id) = section.subject, let name = earlierNames[id.rawValue],
            listed.values.contains(name)
        else { return "" }
        return ", or name it [plugin-name:\(name)], which holds for every version of that plugin"
    }
}
