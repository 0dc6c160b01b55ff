import Cryptography

/// Secrets that the backend hands out and keeps as hashes only.
enum OpaqueToken {
    /// What a secret is for. It stands in front of it, so that one that turns up somewhere can be told.
    enum Kind: String {
        case administration = "rba_"
        case deviceCode = "rbd_"
        case access = "rbt_"
        case refresh = "rbr_"
        case session = "rbs_"
    }

    /// A new secret of 256 random bits.
    static func make(_ kind: Kind) throws(CryptographyError) -> String {
        try SecureRandom.bytes(32).reduce(into: kind.rawValue) { text, byte in
            text += (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
    }

    // 256 random bits, so that a plain hash suffices: there is nothing to guess that a slow one would protect.
    static func hash(_ token: String) -> SHA512.Digest { SHA512.hash(token.utf8) }
}
