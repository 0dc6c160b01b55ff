import Agent
import AgentModel
import Foundation
import Sandbox
import Threads

/// What confines a plugin, as the host is configured and its document asks for it.
struct PluginConfinement {
    /// `in-process` or `sandbox`.
    let isolation: String
    /// Nil where its code runs in the agent's process.
    let sandbox: Sandbox?

    var policy: Policy? { sandbox?.gets }

    init(settings: PluginSettings, request: SandboxRequest?) {
        isolation = settings.isolation.rawValue
        sandbox = settings.sandboxPolicy(for: request).map { policy, refused in
            Sandbox(
                asks: request?.source, problems: Self.problems(of: request), gets: Policy(policy), refused: refused)
        }
    }

    private static func problems(of request: SandboxRequest?) -> [String] {
        (request?.problems ?? []).map {
            AgentModelError.invalidSandboxRequest(field: $0.field, problem: $0.problem).message
        }
    }

    struct Sandbox: Encodable {
        /// As the document has it; null where it doesn't say anything.
        let asks: JSONValue?
        /// What of that can't be read.
        let problems: [String]
        let gets: Policy
        let refused: [SandboxRefusal]

        var text: String {
            let limits = [
                ("read", gets.readPaths.joined(separator: ":")), ("write", gets.writePaths.joined(separator: ":")),
                ("network", gets.network), ("memory", "\(gets.memory) bytes"), ("scratch", "\(gets.scratch) bytes"),
                ("processes", "\(gets.processes)"), ("cpu", gets.cpuSeconds.map { "\($0) seconds" } ?? "no limit"),
                ("environment", gets.environment.joined(separator: ", ")),
                ("programs", gets.programs ? "yes" : "no"), ("api", gets.api),
            ]
            let lines =
                ["asks for     \(asks.map { Terminal.sanitized($0.text) } ?? "nothing in particular")", "gets"]
                + limits.map { label, value in
                    "  \(label.padding(toLength: 12, withPad: " ", startingAt: 0)) "
                        + (value.isEmpty ? "none" : Terminal.sanitized(value))
                }
                + (refused.map(\.sentence) + problems).map { "! \($0)" }
            return lines.joined(separator: "\n")
        }
    }

    struct Policy: Encodable {
        let readPaths: [String]
        let writePaths: [String]
        let network: String
        let memory: Int
        let scratch: Int
        let processes: Int
        let cpuSeconds: Double?
        /// Names alone: the values may be secrets.
        let environment: [String]
        let programs: Bool
        let proc: Bool
        let api: String

        init(_ policy: SandboxPolicy) {
            readPaths = policy.readPaths
            writePaths = policy.writePaths
            network = policy.network.description
            memory = policy.memory
            scratch = policy.scratch
            processes = policy.processes
            cpuSeconds = policy.cpuTime?.seconds
            environment = policy.environment.keys.sorted()
            programs = policy.startsPrograms
            proc = policy.hasProc
            api = policy.api.rawValue
        }

        private enum CodingKeys: String, CodingKey {
            case readPaths = "read_paths"
            case writePaths = "write_paths"
            case cpuSeconds = "cpu_seconds"
            case network, memory, scratch, processes, environment, programs, proc, api
        }
    }
}
