import Foundation

/// Which agent is known at an address, and when it was last heard of.
struct AgentContact: Sendable {
    var agentID: String
    var lastSeenAt: Date?
}
