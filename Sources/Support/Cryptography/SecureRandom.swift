import COpenSSL

/// Random bytes fit for keys and tokens.
public enum SecureRandom {
    /// As many random bytes as asked for (RAND_bytes(3)).
    /// - Throws: `CryptographyError.randomUnavailable` when the generator isn't seeded, which a host's OpenSSL
    ///   configuration can bring about.
    public static func bytes(_ count: Int) throws(CryptographyError) -> [UInt8] {
        precondition(count >= 0 && count <= Int(Int32.max), "a count of bytes")
        var failed = false
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            buffer.initialize(repeating: 0)
            failed = RAND_bytes(buffer.baseAddress, Int32(count)) != 1
            initialized = count
        }
        if failed { throw .randomUnavailable }
        return bytes
    }
}
