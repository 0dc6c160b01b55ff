public import AgentModel
import Threads

extension SandboxPolicy {
    /// What a plugin may do that asks for this: never more than the policy, and less where it asks for less.
    ///
    /// Paths are granted that lie within allowed ones, as they are written and as they are once their symbolic links
    /// are followed, and granted in the latter form. Looks at the file system for that.
    /// - Returns: the policy to load the plugin with, and what it asked for in vain.
    public func narrowed(by request: SandboxRequest) -> (policy: SandboxPolicy, refused: [SandboxRefusal]) {
        var policy = self
        var refused: [SandboxRefusal] = []
        func note(_ field: SandboxRequest.Field, _ asked: String, _ granted: String) {
            refused.append(SandboxRefusal(setting: field.rawValue, asked: asked, granted: granted))
        }

        // What may be written may be read.
        let paths = [
            (SandboxRequest.Field.readPaths, request.readPaths, readPaths + writePaths, \SandboxPolicy.readPaths),
            (.writePaths, request.writePaths, writePaths, \.writePaths),
        ]
        for (field, asked, allowed, target) in paths {
            guard let asked else { continue }
            let (granted, denied) = Self.paths(asked, within: allowed)
            policy[keyPath: target] = granted
            for path in denied { note(field, path, "") }
        }
        if let text = request.network {
            // What can't be read is nothing.
            let asked = SandboxNetwork(text) ?? .none
            policy.network = network.intersection(asked)
            if !asked.isWithin(policy.network) { note(.network, asked.description, policy.network.description) }
        }
        for limit in SandboxLimit.all {
            guard let asked = request.limits[limit] else { continue }
            let allowed = limits[limit]
            if asked > allowed {
                refused.append(SandboxRefusal(setting: limit.name, asked: "\(asked)", granted: "\(allowed)"))
            }
            policy.limits[limit] = min(asked, allowed)
        }
        if let seconds = request.cpuSeconds {
            let asked = Duration.milliseconds(Int64((seconds * 1000).rounded(.up)))
            if let cpuTime, asked > cpuTime { note(.cpuSeconds, "\(seconds)", "\(cpuTime.seconds)") }
            policy.cpuTime = min(asked, cpuTime ?? asked)
        }
        if let asked = request.startsPrograms {
            if asked && !startsPrograms { note(.programs, "true", "false") }
            policy.startsPrograms = asked && startsPrograms
        }
        if let text = request.api {
            let asked = APIAccess(rawValue: text) ?? .none
            if asked > api { note(.api, asked.rawValue, api.rawValue) }
            policy.api = min(asked, api)
        }
        policy.dropNestedPaths()
        return (policy, refused)
    }

    /// Leaves out paths that lie in others which may be changed, and so are there anyhow: the plugin could put a link in
    /// their place, and the rules of its next process would bind to where that leads.
    public mutating func dropNestedPaths() {
        let writable = writePaths.compactMap { SandboxPath($0) }
        func isNested(_ text: String, _ others: [SandboxPath]) -> Bool {
            SandboxPath(text).map { path in others.contains { $0 != path && path.lies(in: $0) } } ?? false
        }
        readPaths.removeAll { text in isNested(text, writable) || writePaths.contains(text) }
        writePaths.removeAll { isNested($0, writable) }
    }

    private static func paths(_ asked: [String], within allowed: [String]) -> (granted: [String], denied: [String]) {
        // As they are: their links were followed when the configuration was read, and one that is there now was put there
        // by someone else.
        let folders = allowed.compactMap { SandboxPath($0) }
        var granted: [SandboxPath] = []
        var denied: [String] = []
        for text in asked {
            guard let written = SandboxPath(text) else {
                denied.append(text)
                continue
            }
            // Both: where a link in a folder that plugins write to leads, is not for them to say.
            let resolved = SandboxPath(resolving: text)
            let isWithin = folders.contains { folder in
                written.lies(in: folder) && resolved?.lies(in: folder) ?? false
            }
            if isWithin, let resolved {
                granted.append(resolved)
            } else {
                denied.append(text)
            }
        }
        return (Set(granted).map(\.description).sorted(), denied)
    }
}
