public import AgentModel
internal import CSandbox
import Glibc

/// A mechanism of the kernel that confines a child.
public enum SandboxMechanism: Int, Sendable, CaseIterable {
    case noNewPrivileges, limits, landlockFiles, landlockNetwork, landlockScope, seccomp, ownUser, userNamespace,
        pidNamespace, mountNamespace, readOnlyMounts, ipcNamespace, networkNamespace, noCapabilities, ownProc
}

/// Something that is kept from a sandboxed plugin, by whichever mechanism does it.
public enum SandboxProtection: String, Sendable, CaseIterable {
    /// Files outside of what the policy names.
    case files
    /// System calls that plugins don't need.
    case systemCalls = "system-calls"
    /// The part of the network that the policy doesn't name.
    case network
    /// Processes that aren't its own, in both directions: none is signalled, and none of its own stays behind.
    case processes
    /// Modes, owners and times of files, which can be changed without opening them.
    case attributes
    /// Rights beyond the user's.
    case privileges
    /// Memory and descriptors.
    case limits
    /// How many processes it starts.
    case processCount = "process-count"
    /// How much it writes into its scratch folder.
    case scratch
}

/// How far a child is confined.
public struct SandboxReport: Sendable, Hashable {
    /// The version of Landlock's interface; 0 where there is none.
    public var landlockVersion = 0
    public var reached: Set<SandboxMechanism> = []
    /// Why others are not, as errno values.
    public var errors: [SandboxMechanism: Int32] = [:]

    /// What is missing for a policy.
    public func missing(for network: SandboxNetwork) -> [SandboxProtection] {
        SandboxProtection.allCases.filter { !has($0, network) }
    }

    private func has(_ protection: SandboxProtection, _ network: SandboxNetwork) -> Bool {
        switch protection {
        case .files: reached.contains(.landlockFiles)
        case .systemCalls: reached.contains(.seccomp)
        case .network:
            switch network {
            case .none: reached.contains(.networkNamespace) || reached.contains(.seccomp)
            case .ports: reached.contains(.landlockNetwork) && reached.contains(.seccomp)
            case .full: true
            }
        case .processes: reached.contains(.pidNamespace) || reached.contains(.landlockScope)
        case .attributes:
            reached.contains(.readOnlyMounts) || reached.contains(.ownUser) || reached.contains(.seccomp)
        case .privileges: reached.contains(.noNewPrivileges) && reached.contains(.noCapabilities)
        case .limits: reached.contains(.limits)
        case .processCount:
            reached.contains(.limits) && (reached.contains(.userNamespace) || reached.contains(.ownUser))
        case .scratch: reached.contains(.mountNamespace)
        }
    }

    /// How far a child with such a network is confined.
    public func isolation(for network: SandboxNetwork) -> RunIsolation {
        let missing = missing(for: network)
        return missing.isEmpty ? .sandbox : .partialSandbox(missing: missing.map(\.rawValue))
    }

    init() {}

    init(_ report: rb_report) {
        landlockVersion = Int(report.landlock_abi)
        let errors = withUnsafeBytes(of: report.error) { Array($0.bindMemory(to: Int32.self)) }
        for mechanism in SandboxMechanism.allCases {
            if report.reached & (1 << UInt32(mechanism.rawValue)) != 0 { reached.insert(mechanism) }
            if errors[mechanism.rawValue] != 0 { self.errors[mechanism] = errors[mechanism.rawValue] }
        }
    }
}

extension SandboxReport {
    func write(to writer: inout WireWriter) {
        writer.integer(UInt64(landlockVersion))
        writer.integer(reached.bits)
        writer.integer(UInt64(errors.count))
        for (mechanism, error) in errors {
            writer.integer(UInt64(mechanism.rawValue))
            writer.integer(UInt64(error))
        }
    }

    init(from reader: inout WireReader) throws(WireError) {
        landlockVersion = Int(truncatingIfNeeded: try reader.integer())
        reached = Set(bits: try reader.integer())
        for _ in 0..<min(try reader.integer(), 64) {
            let mechanism = SandboxMechanism(rawValue: Int(truncatingIfNeeded: try reader.integer()))
            let error = Int32(truncatingIfNeeded: try reader.integer())
            if let mechanism { errors[mechanism] = error }
        }
    }
}

extension Set<SandboxMechanism> {
    /// A bit for each.
    var bits: UInt64 { reduce(0) { $0 | 1 << UInt64($1.rawValue) } }

    init(bits: UInt64) {
        self = Set(SandboxMechanism.allCases.filter { bits & (1 << UInt64($0.rawValue)) != 0 })
    }
}
