/// What a host gets when it asks to be let in (RFC 8628, section 3.2), without the addresses.
public struct DeviceAuthorization: Sendable {
    /// What the host polls with. It is kept as a hash only.
    public var deviceCode: String
    public var userCode: UserCode
    /// In seconds.
    public var expiresIn: Int
    /// Between two polls, in seconds.
    public var interval: Int
}
