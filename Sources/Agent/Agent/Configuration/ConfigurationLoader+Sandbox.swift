import AgentModel
import Foundation
import PythonEmbedding
import Sandbox

/// A link that a path of a policy leads through.
struct FollowedLink {
    var setting: String
    var origin: ConfigurationOrigin
    /// Where the path leads.
    var path: String
    var link: SandboxPath.Link
}

extension ConfigurationLoader {
    static let sandboxSection = "sandbox"

    /// The section `[sandbox]`: what all sandboxed plugins have in common, and the policy of those without one of
    /// their own.
    mutating func readSandbox() {
        guard let document, let section = document.sections.first(where: { $0.name == Self.sandboxSection }) else {
            return
        }
        let own = Set(section.entries.map(\.name))
        let known = SandboxKey.allCases.map(\.rawValue) + PolicyKey.names
        var policy = configuration.pluginDefaults.policy
        for entry in document.settings(of: section, used: &used, problems: &problems) {
            let origin = document.origin(entry.line)
            if let key = SandboxKey(rawValue: entry.name) {
                read(key, entry.value, origin)
            } else if let key = PolicyKey(entry.name) {
                read(key, entry.value, origin, into: &policy)
            } else if own.contains(entry.name) {
                refuse(entry, known: known, elsewhere: Self.sections(with: entry.name))
            }
        }
        policy.dropNestedPaths()
        configuration.pluginDefaults.policy = policy
    }

    private mutating func read(_ key: SandboxKey, _ text: String, _ origin: ConfigurationOrigin) {
        switch key {
        case .mode:
            read(key.rawValue, text, origin) { text throws(SettingParser.Refusal) in
                try SettingParser.choice(text, of: SandboxMode.self)
            }.map { configuration.sandbox.mode = $0 }
        case .user:
            guard !text.isEmpty else { return }
            read(key.rawValue, text, origin, SettingParser.user).map { configuration.sandbox.user = $0 }
        case .idleTimeout:
            read(key.rawValue, text, origin, SettingParser.timeLimit).map { configuration.sandbox.idleTimeout = $0 }
        }
    }

    mutating func read(
        _ key: PolicyKey, _ text: String, _ origin: ConfigurationOrigin, into policy: inout SandboxPolicy
    ) {
        switch key {
        case .access(let key): read(key, text, origin, into: &policy)
        case .limit(let limit):
            read(limit.name, text, origin) { text throws(SettingParser.Refusal) in
                let allowed = limit.least...limit.most
                return limit.isBytes
                    ? try SettingParser.bytes(text, allowed) : try SettingParser.integer(text, allowed)
            }.map { policy.limits[limit] = $0 }
        }
    }

    private mutating func read(
        _ key: AccessKey, _ text: String, _ origin: ConfigurationOrigin, into policy: inout SandboxPolicy
    ) {
        switch key {
        case .readPaths: readPaths(key, text, origin).map { policy.readPaths = $0 }
        case .writePaths: readPaths(key, text, origin).map { policy.writePaths = $0 }
        case .network: read(key.rawValue, text, origin, SettingParser.network).map { policy.network = $0 }
        case .cpuSeconds:
            read(key.rawValue, text, origin, SettingParser.timeLimit).map { policy.cpuTime = $0 }
        case .environment:
            let inherited = environment
            read(key.rawValue, text, origin) { text throws(SettingParser.Refusal) in
                try SettingParser.variables(text, inherited: inherited)
            }.map { policy.environment = $0 }
        case .programs:
            read(key.rawValue, text, origin, SettingParser.boolean).map { policy.startsPrograms = $0 }
        case .proc:
            read(key.rawValue, text, origin, SettingParser.boolean).map { policy.hasProc = $0 }
        case .api:
            read(key.rawValue, text, origin) { text throws(SettingParser.Refusal) in
                try SettingParser.choice(text, of: APIAccess.self)
            }.map { policy.api = $0 }
        }
    }

    private mutating func readPaths(
        _ key: AccessKey, _ text: String, _ origin: ConfigurationOrigin
    ) -> [String]? {
        let directory = directory(for: origin)
        let keptOut = key == .writePaths ? keptOut + keptUnchanged : keptOut
        let found = read(key.rawValue, text, origin) { text throws(SettingParser.Refusal) in
            try SettingParser.sandboxPaths(text, in: directory, keptOut: keptOut)
        }
        for (path, links) in found ?? [] {
            followedLinks += links.map { FollowedLink(setting: key.rawValue, origin: origin, path: path, link: $0) }
        }
        return found?.map(\.path)
    }

    /// The agent's own files and folders.
    private var keptOut: [String] {
        [
            configuration.stateDirectory, configuration.pluginDirectory,
            configuration.keyFile ?? configuration.defaultKeyFile, configuration.credentialsDirectory,
            // The key of the certificate may be in one file with it.
            configuration.clientKey, configuration.clientCertificate, configuration.file,
        ].compactMap(\.self)
    }

    /// What the agent believes or runs, and others may read.
    private var keptUnchanged: [String] {
        [configuration.caFile, SandboxPath(resolving: "/proc/self/exe")?.description].compactMap(\.self)
            + configuration.pythonPath + PythonInterpreter.libraryFolders
    }

    /// A link that leads where a policy's rules bind must not be a plugin's to put there.
    mutating func refuseLinksOfPlugins() {
        let policies = [configuration.pluginDefaults.policy] + configuration.pluginSections.map(\.values.policy)
        let writable = policies.flatMap(\.writePaths).compactMap { SandboxPath($0) }
        for followed in followedLinks {
            let owner = followed.link.owner
            let isOfAPlugin =
                SandboxPath.isChild(owner) || owner == configuration.sandbox.user?.user
                || writable.contains { followed.link.path.lies(in: $0) }
            guard isOfAPlugin else { continue }
            problems.append(
                .linkOfPlugin(
                    key: followed.setting, origin: followed.origin, link: followed.link.path.description,
                    target: followed.path))
        }
    }

    /// What every sandboxed plugin may read, whatever its policy says, must not hold what is the agent's own.
    mutating func refuseExposedFiles() {
        let isolations = [configuration.pluginDefaults.isolation] + configuration.pluginSections.map(\.values.isolation)
        guard isolations.contains(.sandbox) else { return }
        for folder in SandboxPlan.programFolders + configuration.pythonPath {
            guard let own = keptOut.first(where: { SettingParser.lies($0, in: folder) }) else { continue }
            problems.append(.exposedFile(path: own, folder: folder))
        }
    }
}
