public import Foundation

/// A login that waits for a person's approval (RFC 8628, section 3.2).
public struct DeviceCode: Codable, Sendable, Equatable, CustomStringConvertible, CustomReflectable {
    /// Whoever has it can fetch the tokens once the login is approved.
    let deviceCode: String
    /// What the person types at ``verificationURI``.
    public let userCode: String
    public let verificationURI: String
    /// The address with the code in it, where the backend gives one.
    public let verificationURIComplete: String?
    /// How long the code is good, in seconds from ``issuedAt``.
    public let lifetime: Int
    /// The least time between two polls, in seconds.
    public internal(set) var interval: Int
    /// By this host's clock.
    public let issuedAt: Date
    /// Whom the code was asked for.
    let clientID: String

    /// When it ends, by this host's clock.
    public var expiresAt: Date { issuedAt.addingTimeInterval(TimeInterval(lifetime)) }

    public var description: String { "\(userCode) at \(verificationURI)" }

    // `dump` goes through the mirror and not through `description`.
    public var customMirror: Mirror { Mirror(self, children: ["description": description]) }

    static let defaultInterval = 5
    static let longestInterval = 3600
    /// Where the backend's own figure is missing or makes no sense.
    static let defaultLifetime = 600
    static let longestLifetime = 86_400
}
