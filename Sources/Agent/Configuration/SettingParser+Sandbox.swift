import AgentModel
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
                        + "not \(ConfigurationKey.environmentPrefix)…")
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

    /// Paths that a sandboxed plugin may be given.
    ///
    /// - Parameter kept: what must stay out of its sight: files and folders of the agent.
    static func sandboxPaths(_ text: String, in directory: String, keptOut: [String]) throws(Refusal) -> [String] {
        let paths = try paths(text, in: directory)
        for path in paths {
            let resolved = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
            for name in Set([path, resolved]) {
                guard name != "/", !contains("/proc", name) else {
                    throw Refusal(allowed: "folders that are neither / nor in /proc")
                }
                if let own = keptOut.first(where: { contains($0, name) || contains(name, $0) }) {
                    throw Refusal(
                        allowed: "paths that neither hold nor lie in what is the agent's own, which \(quoted(own)) is")
                }
            }
        }
        return paths
    }

    private static func contains(_ folder: String, _ path: String) -> Bool {
        path == folder || path.hasPrefix(folder.hasSuffix("/") ? folder : folder + "/")
    }
}
