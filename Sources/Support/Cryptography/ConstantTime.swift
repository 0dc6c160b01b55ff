import COpenSSL

/// Comparison whose duration doesn't tell where two secrets differ.
public enum ConstantTime {
    /// Whether two byte sequences are equal. Only their lengths can be learned from the time it takes
    /// (CRYPTO_memcmp(3)).
    public static func isEqual(_ left: some Sequence<UInt8>, _ right: some Sequence<UInt8>) -> Bool {
        let left = Array(left)
        let right = Array(right)
        guard left.count == right.count else { return false }
        return CRYPTO_memcmp(left, right, left.count) == 0
    }
}
