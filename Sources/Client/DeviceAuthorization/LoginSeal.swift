import Cryptography

/// The file format of a sealed login: a header that is authenticated, and the sealed bytes.
///
/// | bytes | |
/// | --- | --- |
/// | 0–6 | `RBLOGIN` |
/// | 7 | version, 1 |
/// | 8–15 | which key: the beginning of a SHA-512 over it |
/// | 16–27 | nonce |
/// | 28– | AES-256-GCM: ciphertext and tag |
enum LoginSeal {
    private static let magic = Array("RBLOGIN".utf8)
    private static let version: UInt8 = 1
    private static let keyIDByteCount = 8
    private static let headerByteCount = magic.count + 1 + keyIDByteCount + AES256GCM.nonceByteCount

    /// Why a file can't be opened.
    enum Problem: Error, Equatable {
        case damaged(String)
        case newer(version: Int)
        case wrongKey
    }

    static func seal(_ plaintext: [UInt8], key: SecretKey) throws(CryptographyError) -> [UInt8] {
        let nonce = try SecureRandom.bytes(AES256GCM.nonceByteCount)
        let header = magic + [version] + keyID(of: key) + nonce
        return header + AES256GCM.seal(plaintext, key: key, nonce: nonce, header: header)
    }

    static func open(_ bytes: [UInt8], key: SecretKey) throws(Problem) -> [UInt8] {
        guard bytes.starts(with: magic), bytes.count > magic.count else {
            throw .damaged(bytes.isEmpty ? "it is empty" : "it does not begin as a login does")
        }
        guard bytes[magic.count] == version else { throw .newer(version: Int(bytes[magic.count])) }
        guard bytes.count >= headerByteCount + AES256GCM.tagByteCount else {
            throw .damaged("it is cut off after \(bytes.count) bytes")
        }
        let header = Array(bytes[..<headerByteCount])
        let id = header[(magic.count + 1)...].prefix(keyIDByteCount)
        guard ConstantTime.isEqual(id, keyID(of: key)) else { throw .wrongKey }
        let nonce = Array(header.suffix(AES256GCM.nonceByteCount))
        guard let plaintext = AES256GCM.open(Array(bytes[headerByteCount...]), key: key, nonce: nonce, header: header)
        else { throw .damaged("its seal is broken") }
        return plaintext
    }

    /// Tells a wrong key from a damaged file. Nothing of the key can be learned from it.
    private static func keyID(of key: SecretKey) -> [UInt8] {
        var hasher = SHA512()
        hasher.update("runbook-agent login key".utf8)
        key.withBytes { hasher.update($0) }
        return Array(hasher.finalize().bytes.prefix(keyIDByteCount))
    }
}
