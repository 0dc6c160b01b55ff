public import Diagnostics

/// What can go wrong in this module.
public enum CryptographyError: CodedError, Equatable {
    /// A text that isn't the hexadecimal form of a digest. `problem` says in which way.
    case invalidDigest(text: String, problem: String)
    /// The system's random generator gave nothing (RAND_bytes(3)).
    case randomUnavailable
    /// A key of another length than AES-256 has.
    case invalidKeyLength(bytes: Int)

    public var code: String {
        switch self {
        case .invalidDigest: "cryptography.invalid_digest"
        case .randomUnavailable: "cryptography.random_unavailable"
        case .invalidKeyLength: "cryptography.invalid_key_length"
        }
    }

    public var message: String {
        switch self {
        case .invalidDigest(let text, let problem):
            "\(quoted(text, limit: 140)) is not a SHA-512 digest: \(problem); write 128 hexadecimal digits"
        case .randomUnavailable:
            "the system's random number generator failed; check the host's OpenSSL configuration"
        case .invalidKeyLength(let bytes): "a key of \(bytes) bytes is refused; a key has 32"
        }
    }
}
