import AgentModel
import Cryptography
import Foundation

/// Logins with a device code, up to the decision (RFC 8628).
extension BackendService {
    /// Begins a login.
    /// - Parameters:
    ///   - address: Where the request came from.
    ///   - hostName: As the host calls itself, which nothing vouches for.
    /// - Throws: `OAuthError`.
    public func beginLogin(
        clientID: String, scope: String, address: String, hostName: String? = nil
    ) async throws -> DeviceAuthorization {
        try checkClient(clientID)
        let address = Self.canonical(address)
        let network = Self.network(of: address)
        let now = now()
        let deviceCode = try OpaqueToken.make(.deviceCode)
        let (lifetime, interval) = (login.codeLifetime, login.pollInterval)
        let userCode = try await storage.write { [login] storage -> UserCode in
            try storage.deleteLogins(expiredBefore: now.addingTimeInterval(-Self.keptAfterExpiry))
            try Self.checkRoom(for: network, login, at: now, in: storage)
            let userCode = try Self.unusedUserCode(in: storage)
            let pending = DeviceLogin(
                userCode: userCode.description, clientID: clientID, scope: scope, address: address, state: .pending,
                createdAt: now, expiresAt: now.addingTimeInterval(TimeInterval(lifetime)), hostName: hostName)
            try storage.insert(
                StoredLogin(login: pending, code: userCode, network: network, interval: interval),
                deviceCode: OpaqueToken.hash(deviceCode).hex)
            return userCode
        }
        return DeviceAuthorization(deviceCode: deviceCode, userCode: userCode, expiresIn: lifetime, interval: interval)
    }

    /// Logins that wait for a decision or for their host, the oldest first.
    public func deviceLogins(_ page: PageRequest = .first) async throws -> Page<DeviceLogin> {
        let now = now()
        let stored = try await storage.read { try $0.liveLogins(at: now, page) }
        return Page(elements: stored.elements.map { $0.shown(at: now) }, nextCursor: stored.nextCursor)
    }

    /// The login that a host shows a code for, while it can be decided on.
    /// - Parameter code: As it was typed.
    /// - Throws: `ReferenceBackendError.notFound`, `.notPending`.
    public func pendingLogin(_ code: String) async throws -> DeviceLogin {
        let now = now()
        return try await storage.read { try Self.pendingLogin(code, at: now, in: $0).shown(at: now) }
    }

    /// Lets the host in that shows a code.
    /// - Parameter code: As it was typed.
    /// - Returns: The agent that the host is from now on.
    /// - Throws: `ReferenceBackendError.notFound` for the code or the agent, `.notPending`, `.invalidField`.
    public func approveLogin(_ code: String, as choice: AgentChoice) async throws -> RegisteredAgent {
        let now = now()
        let name: String? =
            switch choice {
            case .new(let name), .existing(_, let name): name
            }
        if let name { try Self.checkText(name, field: "name") }
        let agent = try await storage.write { storage in
            let login = try Self.pendingLogin(code, at: now, in: storage)
            let id: String
            switch choice {
            case .new:
                id = Self.newID()
                try storage.insertAgent(id, at: now)
            case .existing(let existing, _):
                id = existing
            }
            let agent = try storage.requireAgent(id)
            if let name { try storage.updateAgent(id, name: name, teamID: agent.teamID) }
            try storage.setState(.approved, agentID: id, ofLogin: login.code)
            return try storage.requireAgent(id)
        }
        waits.wake([agent.id])
        return agent
    }

    /// Turns the host away that shows a code.
    /// - Throws: `ReferenceBackendError.notFound`, `.notPending`.
    @discardableResult
    public func denyLogin(_ code: String) async throws -> DeviceLogin {
        let now = now()
        return try await storage.write { storage in
            var stored = try Self.pendingLogin(code, at: now, in: storage)
            try storage.setState(.denied, agentID: nil, ofLogin: stored.code)
            stored.login.state = .denied
            return stored.login
        }
    }

    func checkClient(_ clientID: String) throws(OAuthError) {
        guard login.clientIDs.isEmpty || login.clientIDs.contains(clientID) else {
            throw OAuthError(.invalidClient, "this backend does not know this client_id")
        }
    }

    /// What counts as one place when attempts are counted: an IPv4 address, or the first half of an IPv6 address, since
    /// whoever has one has all that begin with it (RFC 6177).
    static func network(of address: String) -> String {
        let address = canonical(address)
        var bytes = in6_addr()
        guard inet_pton(AF_INET6, address, &bytes) == 1 else { return address }
        return withUnsafeBytes(of: bytes) { buffer in
            buffer.prefix(8).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() + "/64"
        }
    }

    // An hour longer than they are good for, so that a host that polls late is told that its code expired.
    private static let keptAfterExpiry: TimeInterval = 3600

    private static func pendingLogin(
        _ code: String, at now: Date, in storage: any StorageReader
    ) throws -> StoredLogin {
        guard let userCode = UserCode(typed: code), let login = try storage.login(userCode: userCode) else {
            throw ReferenceBackendError.notFound(.device, id: code)
        }
        let state = login.shown(at: now).state
        guard state == .pending else {
            throw ReferenceBackendError.notPending(userCode: login.login.userCode, state: state)
        }
        return login
    }

    // Among all that are kept and not only the live ones, so that a code never means two logins within the hour.
    private static func unusedUserCode(in storage: any StorageReader) throws -> UserCode {
        while true {
            let code = try UserCode.make()
            if try storage.login(userCode: code) == nil { return code }
        }
    }

    private static func checkRoom(
        for network: String, _ limits: LoginConfiguration, at now: Date, in storage: any StorageWriter
    ) throws {
        let since = now.addingTimeInterval(-TimeInterval(limits.codeLifetime))
        let ofNetwork = try storage.logins(ofNetwork: network, since: since)
        if ofNetwork.count >= limits.maximumCodesPerNetwork, let first = ofNetwork.first {
            throw OAuthError(
                .temporarilyUnavailable, "this network asked for too many codes; try again later",
                retryAfter: max(1, Int(first.timeIntervalSince(since).rounded(.up))))
        }
        guard try storage.pendingLoginCount(at: now) >= limits.maximumLiveCodes else { return }
        // Room is made at the cost of who takes the most of it, so that nobody keeps all others out.
        guard let largest = try storage.networkWithMostPendingLogins(at: now), largest != network else {
            throw OAuthError(
                .temporarilyUnavailable, "too many codes wait for a decision; try again later", retryAfter: 60)
        }
        try storage.deleteOldestPendingLogin(ofNetwork: largest, at: now)
    }
}
