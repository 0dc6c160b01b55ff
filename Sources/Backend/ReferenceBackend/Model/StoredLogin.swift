import Foundation

/// A login with a device code as it is stored: what is shown of it, and what its host's polls need.
struct StoredLogin: Sendable {
    /// `state` is never `.expired` here: that comes of the time at which it is looked at.
    var login: DeviceLogin
    var code: UserCode
    /// Where it counts when logins are counted.
    var network: String
    /// Between two polls, in seconds.
    var interval: Int
    var polledAt: Date?

    /// The login as it is at a time.
    func shown(at now: Date) -> DeviceLogin {
        var shown = login
        if shown.state == .pending, shown.expiresAt <= now { shown.state = .expired }
        return shown
    }
}
