import AgentModel
import Diagnostics
import Foundation
import Sandbox

extension SettingParser {
    static func network(_ text: String) throws(Refusal) -> SandboxNetwork {
        guard let network = SandboxNetwork(text) else {
            throw Refusal(allowed: "none, full, or a list such as \"dns,tcp:443,tcp:8000-8100\"")
        }
        return network
    }

    /// `NAME=value`, or `NAME` alone for what the agent's own environment has, separated by commas or line ends.
    static func variables(_ text: String, inherited: [String: String]) throws(Refusal) -> [String: String] {
        var result: [String: String] = [:]
        for part in text.split(whereSeparator: { $0 == "," || $0.isNewline }) {
            let entry = part.trimmingCharacters(in: .whitespaces)
            guard !entry.isEmpty else { continue }
            let halves = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = String(halves[0])
            guard name.wholeMatch(of: /[A-Za-z_][A-Za-z0-9_]*/) != nil, !name.hasPrefix("LD_"),
                !name.hasPrefix(ConfigurationKey.environmentPrefix)
            else {
                throw Refusal(
                    allowed: "a list of NAME=value, or NAME alone for what the agent's environment has; not LD_… and "
                        + "not \(ConfigurationKey.environmentPrefix)…", hidesValue: true)
            }
            if halves.count == 2 {
                result[name] = String(halves[1])
            } else if let value = inherited[name] {
                result[name] = value
            }
        }
        return result
    }

    /// A user by name or number, as root's children run as (getpwnam(3)).
    static func user(_ text: String) throws(Refusal) -> SandboxUser {
        let entry = UInt32(text).map { getpwuid($0) } ?? getpwnam(text)
        guard let entry else { throw Refusal(allowed: "the name or the number of a user of this host") }
        guard entry.pointee.pw_uid != 0 else { throw Refusal(allowed: "a user other than root") }
        return SandboxUser(user: entry.pointee.pw_uid, group: entry.pointee.pw_gid)
    }

    /// Paths that a sandboxed plugin may be given, with their links followed, so that none can be made to lead elsewhere
    /// later.
    ///
    /// - Parameter keptOut: what must stay out of its reach: files and folders of the agent.
    static func sandboxPaths(
        _ text: String, in directory: String, keptOut: [String]
    ) throws(Refusal) -> [(path: String, links: [SandboxPath.Link])] {
        var result: [(path: String, links: [SandboxPath.Link])] = []
        for text in try paths(text, in: directory) {
            let resolved = SandboxPath.resolve(text)
            let path = resolved?.path
            for name in [SandboxPath(text), path].compactMap(\.self) {
                guard name != SandboxPath("/"), !name.lies(in: "/proc") else {
                    throw Refusal(allowed: "paths other than / and outside of /proc")
                }
                for own in keptOut where name.overlaps(own) {
                    throw Refusal(
                        allowed: "paths that neither hold nor lie in what is the agent's own, which \(quoted(own)) is")
                }
            }
            guard let path, let links = resolved?.links else {
                throw Refusal(
                    allowed: "paths that the agent can look at, without links that lead nowhere; "
                        + "\(quoted(text)) isn't one")
            }
            result.append((path.description, links))
        }
        return result
    }

    /// Whether a path lies in a folder, as they are written or where their links lead.
    static func lies(_ path: String, in folder: String) -> Bool {
        let folders = [SandboxPath(folder), SandboxPath(resolving: folder)].compactMap(\.self)
        return [SandboxPath(path), SandboxPath(resolving: path)].compactMap(\.self)
            .contains { path in folders.contains { path.lies(in: $0) } }
    }
}

extension SandboxPath {
    fileprivate func lies(in folder: String) -> Bool { SandboxPath(folder).map(lies(in:)) ?? false }

    /// Whether one of the two lies in the other, as it is written or where its links lead.
    fileprivate func overlaps(_ text: String) -> Bool {
        [SandboxPath(text), SandboxPath(resolving: text)].compactMap(\.self)
            .contains { lies(in: $0) || $0.lies(in: self) }
    }
}
