import Cryptography
import Foundation

/// Where the key is that tokens are sealed with.
///
/// By default not in the state directory, so that a copy of that alone opens nothing.
public struct KeySource: Sendable, Equatable {
    /// The name below `$CREDENTIALS_DIRECTORY` (systemd.exec(5), `LoadCredential=`).
    public static let credentialName = "runbook-agent.key"

    /// What the configuration names; it comes first.
    private let configured: String?
    private let credentialsDirectory: String?
    private let fallback: String

    /// - Parameters:
    ///   - configured: the setting `key_file`.
    ///   - credentialsDirectory: `$CREDENTIALS_DIRECTORY`.
    ///   - fallback: where a key is made where none of these is there.
    public init(configured: String?, credentialsDirectory: String?, fallback: String) {
        self.configured = configured
        self.credentialsDirectory = credentialsDirectory
        self.fallback = fallback
    }

    /// The file that is used now.
    public var path: String { file.path }

    /// systemd may hand a credential on through an access control list, which shows as a right of the group.
    private var file: SecretFile {
        if configured == nil, let credential, access(credential, F_OK) == 0 {
            return SecretFile(path: credential, limit: 1024, forbiddenMode: 0o037)
        }
        return SecretFile(path: configured ?? fallback, limit: 1024)
    }

    private var credential: String? {
        credentialsDirectory.flatMap { $0.hasPrefix("/") ? $0 + "/" + Self.credentialName : nil }
    }

    /// The key; nil where there is none yet.
    /// - Throws: `login.unsafe_file`, `login.invalid_key`, `login.storage`.
    func load(owners: Set<uid_t>) throws(LoginError) -> SecretKey? {
        let file = file
        guard let bytes = try file.read(owners: owners) else { return nil }
        return try Self.key(of: bytes, path: file.path)
    }

    /// What a process left that ended as it made the key.
    func removeLeftovers() { file.removeLeftovers() }

    /// The key, made where there is none.
    func loadOrCreate(owners: Set<uid_t>, newOwner: uid_t) throws(LoginError) -> SecretKey {
        if let key = try load(owners: owners) { return key }
        let file = file
        let bytes: [UInt8]
        do throws(CryptographyError) {
            bytes = try SecureRandom.bytes(AES256GCM.keyByteCount)
        } catch {
            throw .cryptography(error)
        }
        let digits = Array("0123456789abcdef".utf8)
        let text = bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 0x0F)]] } + [UInt8(ascii: "\n")]
        try file.write(text, owner: newOwner, replaces: false)
        // Another process may have been faster; its key is as good.
        guard let key = try load(owners: owners) else {
            throw .storage(path: file.path, problem: "it went away as it was made")
        }
        return key
    }

    private static func key(of bytes: [UInt8], path: String) throws(LoginError) -> SecretKey {
        var bytes = bytes
        if bytes.count == 2 * AES256GCM.keyByteCount + 1, bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        if bytes.count == 2 * AES256GCM.keyByteCount {
            let text = String(decoding: bytes, as: UTF8.self)
            let values = stride(from: 0, to: bytes.count, by: 2).compactMap { index in
                UInt8(text.dropFirst(index).prefix(2), radix: 16)
            }
            if values.count == AES256GCM.keyByteCount, text.allSatisfy(\.isHexDigit) { bytes = values }
        }
        do throws(CryptographyError) {
            return try SecretKey(bytes)
        } catch {
            throw .invalidKey(path: path, bytes: bytes.count)
        }
    }
}
