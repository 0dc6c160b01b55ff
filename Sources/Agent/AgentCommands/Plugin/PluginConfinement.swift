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
            var lines = [
                "asks for     \(asks.map { Terminal.sanitized($0.text) } ?? "nothing in particular")", "gets",
            ]
            for (label, value) in gets.rows {
                let label = label.padding(toLength: 12, withPad: " ", startingAt: 0)
                lines.append("  \(label) " + (value.isEmpty ? "none" : Terminal.sanitized(value)))
            }
            for problem in refused.map(\.sentence) + problems { lines.append("! \(problem)") }
            return lines.joined(separator: "\n")
        }
    }

    struct Policy: Encodable {
        let readPaths: [String]
        let writePaths: [String]
        let network: String
        let limits: SandboxLimits
        let cpuSeconds: Double?
        /// Names alone: the values may be secrets.
        let environment: [String]
        let programs: Bool
        let proc: Bool
        let api: String

        var rows: [(label: String, value: String)] {
            var rows: [(String, String)] = [
                ("read", readPaths.joined(separator: ":")), ("write", writePaths.joined(separator: ":")),
                ("network", network),
            ]
            for limit in SandboxLimit.all {
                rows.append((limit.name, "\(limits[limit])" + (limit.isBytes ? " bytes" : "")))
            }
            rows.append(("cpu", cpuSeconds.map { "\($0) seconds" } ?? "no limit"))
            rows.append(("environment", environment.joined(separator: ", ")))
            rows.append(("programs", programs ? "yes" : "no"))
            rows.append(("api", api))
            return rows
        }

        init(_ policy: SandboxPolicy) {
            readPaths = policy.readPaths
            writePaths = policy.writePaths
            network = policy.network.description
            limits = policy.limits
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
            case network, environment, programs, proc, api
        }

        /// The limits stand beside the rest, under their names.
        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(readPaths, forKey: .readPaths)
            try container.encode(writePaths, forKey: .writePaths)
            try container.encode(network, forKey: .network)
            try container.encodeIfPresent(cpuSeconds, forKey: .cpuSeconds)
            try container.encode(environment, forKey: .environment)
            try container.encode(programs, forKey: .programs)
            try container.encode(proc, forKey: .proc)
            try container.encode(api, forKey: .api)
            try Dictionary(uniqueKeysWithValues: SandboxLimit.all.map { ($0.name, limits[$0]) }).encode(to: encoder)
        }
    }
}
