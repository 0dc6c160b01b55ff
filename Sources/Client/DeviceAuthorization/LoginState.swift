public import Foundation

/// What is stored of a login, looked at from outside: nothing is changed, asked or locked.
public struct LoginState: Sendable, Equatable {
    public enum Kind: String, Sendable, Codable {
        case loggedIn = "logged in"
        /// A code waits for approval.
        case waiting = "waiting for approval"
        case loggedOut = "logged out"
        /// A person said no to the code.
        case denied
        /// The backend doesn't know the login any more; it is tried again until ``setAsideUntil``.
        case setAside = "not known to the backend, tried again"
        /// It is there and can't be used.
        case unusable
    }

    public var kind: Kind
    /// When the tokens were obtained.
    public var since: Date?
    /// When the access token ends, which is renewed before.
    public var expiresAt: Date?
    public var isRefreshable = false
    public var pending: DeviceCode?
    /// When a login that the backend doesn't know any more ends.
    public var setAsideUntil: Date?
    /// The `backend_id` of the backend that answers where that of the login is another.
    public var otherBackendID: String?
    /// Why it can't be used.
    public var problem: LoginError?

    /// - Parameter serverURL: nil for whichever backend it is for.
    public static func read(
        directory: String, keySource: KeySource, serverURL: String?, clientID: String?, now: Date = .now
    ) async -> LoginState {
        do throws(LoginError) {
            guard
                let record = try await LoginStore(directory: directory, keySource: keySource).read(setsAside: false)?
                    .record,
                record.isFor(serverURL: serverURL, clientID: clientID)
            else { return LoginState(kind: .loggedOut) }
            let pending = record.pending.flatMap { $0.expiresAt > now ? $0 : nil }
            guard let tokens = record.tokens else {
                if let aside = record.setAside {
                    return LoginState(
                        kind: .setAside, since: aside.since, pending: pending, setAsideUntil: aside.end,
                        otherBackendID: record.otherBackendID)
                }
                let kind: Kind = record.denied == nil ? .loggedOut : .denied
                return LoginState(kind: pending == nil ? kind : .waiting, pending: pending)
            }
            return LoginState(
                kind: .loggedIn, since: tokens.obtainedAt, expiresAt: tokens.expiresAt,
                isRefreshable: tokens.isRefreshable, pending: pending, otherBackendID: record.otherBackendID)
        } catch {
            return LoginState(kind: .unusable, problem: error)
        }
    }

    /// Whether anything of a login lies in a state directory, also of one that has ended.
    public static func exists(directory: String) -> Bool {
        [LoginStore.name, LoginLock.Purpose.change.rawValue].contains { access(directory + "/" + $0, F_OK) == 0 }
    }
}
