import AgentModel
import Diagnostics
public import Foundation

/// A host that asks to be let in, as the one who decides sees it.
public struct DeviceLogin: Equatable, Sendable {
    /// Where a login stands.
    public enum State: String, Sendable {
        /// Nobody decided yet.
        case pending
        /// The host has not fetched its tokens yet.
        case approved
        case denied
        /// Approved, and the host has its tokens.
        case used
        /// Nobody decided in time.
        case expired
    }

    /// As the host shows it: `WDJB-MJHT`.
    public var userCode: String
    public var clientID: String
    /// Empty where none was asked for.
    public var scope: String
    /// Where the request came from.
    public var address: String
    public var state: State
    /// The agent that it was approved as.
    public var agentID: String?
    public var createdAt: Date
    public var expiresAt: Date
    /// As the host calls itself, which nothing vouches for; nil where it doesn't say.
    public var hostName: String?
}

extension DeviceLogin: Encodable {
    private enum CodingKeys: String, CodingKey {
        case userCode = "user_code"
        case clientID = "client_id"
        case scope, address, state
        case agentID = "agent_id"
        case createdAt = "created_at"
        case expiresAt = "expires_at"
        case hostName = "host_name"
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(userCode, forKey: .userCode)
        try container.encode(clientID, forKey: .clientID)
        try container.encode(scope, forKey: .scope)
        try container.encode(address, forKey: .address)
        try container.encode(state.rawValue, forKey: .state)
        try container.encode(agentID, forKey: .agentID)
        try container.encode(RFC3339.string(from: createdAt), forKey: .createdAt)
        try container.encode(RFC3339.string(from: expiresAt), forKey: .expiresAt)
        try container.encode(hostName, forKey: .hostName)
    }
}

/// Which agent a login is approved as.
public enum AgentChoice: Equatable, Sendable {
    /// An agent that is made now.
    case new(name: String?)
    /// One that is there; a name renames it.
    case existing(id: String, name: String? = nil)
}
