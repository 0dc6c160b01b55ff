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
                let kind: Kind = record.denied == nil ? .loggedOut : .denied
                return LoginState(kind: pending == nil ? kind : .waiting, pending: pending)
            }
            return LoginState(
                kind: .loggedIn, since: tokens.obtainedAt, expiresAt: tokens.expiresAt,
                isRefreshable: tokens.isRefreshable, pending: pending)
        } catch {
            return LoginState(kind: .unusable, problem: error)
        }
    }

    /// Whether anything of a login lies in a state directory, also of one that has ended.
    public static func exists(directory: String) -> Bool {
        [LoginStore.name, LoginLock.Purpose.change.rawValue].contains { access(directory + "/" + $0, F_OK) == 0 }
    }
}
