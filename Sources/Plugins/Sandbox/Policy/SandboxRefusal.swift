internal import AgentModel
import Diagnostics

/// Something that a plugin asked for and doesn't get, because the host doesn't allow as much.
public struct SandboxRefusal: Hashable, Sendable, Encodable {
    /// The name of the field that asked, which the host's setting has too.
    public var setting: String
    /// As the plugin wrote it.
    public var asked: String
    /// What it gets instead, as the configuration would write it; empty for nothing.
    public var granted: String

    /// Whether what isn't there looks like something else than a refusal: a port that the kernel's rules refuse is
    /// taken for one that a firewall filters, and scans report it with success.
    public var misleadsScans: Bool { setting == "network" && asked == "full" }

    /// What it comes to, for people.
    public var sentence: String {
        let instead = granted.isEmpty ? "it does not get that" : "it gets \(quoted(granted))"
        let scans = "; ports that it may not reach look filtered to scans such as nmap's, which don't notice"
        return "the plugin asks for \(quoted(setting)) \(quoted(asked)) and the host allows less: \(instead)"
            + (misleadsScans ? scans : "")
    }
}
