/// What of the network a sandboxed plugin may use.
public enum SandboxNetwork: Sendable, Hashable {
    case none
    /// TCP connections to these ports, of any host: the kernel's rules know ports and not hosts. No UDP, nothing that
    /// listens. Name resolution is a connection to port 53.
    case ports([ClosedRange<UInt16>], resolvesNames: Bool)
    case full

    /// Reads `none`, `full`, or a list such as `dns,tcp:443,tcp:8000-8100`; nil where it is none of these.
    public init?(_ text: String) {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
            .map { part in String(part.filter { $0 != " " && $0 != "\t" }).lowercased() }
        switch parts {
        case ["none"]: self = .none
        case ["full"]: self = .full
        default:
            var ranges: [ClosedRange<UInt16>] = []
            for part in parts where part != "dns" {
                guard let range = Self.ports(part) else { return nil }
                ranges.append(range)
            }
            self = .ports(Self.joined(ranges), resolvesNames: parts.contains("dns"))
        }
    }

    private static func ports(_ text: String) -> ClosedRange<UInt16>? {
        guard text.hasPrefix("tcp:") else { return nil }
        let bounds = text.dropFirst(4).split(separator: "-", omittingEmptySubsequences: false).map { UInt16($0) }
        switch (bounds.first ?? nil, bounds.last ?? nil, bounds.count) {
        case (let first?, let last?, 1...2) where first > 0 && first <= last: return first...last
        default: return nil
        }
    }

    /// Sorted, with what overlaps or touches made one.
    private static func joined(_ ranges: [ClosedRange<UInt16>]) -> [ClosedRange<UInt16>] {
        ranges.sorted { $0.lowerBound < $1.lowerBound }.reduce(into: []) { result, range in
            if let last = result.last, Int(range.lowerBound) <= Int(last.upperBound) + 1 {
                result[result.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
            } else {
                result.append(range)
            }
        }
    }

    /// The port that names are resolved through.
    static let nameService: UInt16 = 53

    /// Ports to which connections may be made; nil for all.
    public var openPorts: [ClosedRange<UInt16>]? {
        switch self {
        case .none: []
        case .ports(let ranges, let resolvesNames):
            Self.joined(ranges + (resolvesNames ? [Self.nameService...Self.nameService] : []))
        case .full: nil
        }
    }

    /// Whether everything that this allows the other allows as well.
    public func isWithin(_ other: SandboxNetwork) -> Bool {
        guard let theirs = other.openPorts else { return true }
        guard let ours = openPorts else { return false }
        return ours.allSatisfy { range in
            theirs.contains { $0.lowerBound <= range.lowerBound && range.upperBound <= $0.upperBound }
        }
    }

    /// What both allow.
    public func intersection(_ other: SandboxNetwork) -> SandboxNetwork {
        switch (self, other) {
        case (.none, _), (_, .none): return .none
        case (.full, let narrower), (let narrower, .full): return narrower
        case (.ports(let ours, let oursResolves), .ports(let theirs, let theirsResolves)):
            let common = ours.flatMap { one in
                theirs.compactMap { other in one.overlaps(other) ? one.clamped(to: other) : nil }
            }
            let resolves = oursResolves && theirsResolves
            return common.isEmpty && !resolves ? .none : .ports(Self.joined(common), resolvesNames: resolves)
        }
    }
}

extension SandboxNetwork: CustomStringConvertible {
    /// As the configuration writes it.
    public var description: String {
        switch self {
        case .none: "none"
        case .full: "full"
        case .ports(let ranges, let resolvesNames):
            ((resolvesNames ? ["dns"] : [])
                + ranges.map { range in
                    range.count == 1 ? "tcp:\(range.lowerBound)" : "tcp:\(range.lowerBound)-\(range.upperBound)"
                }).joined(separator: ",")
        }
    }
}
