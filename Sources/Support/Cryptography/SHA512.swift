import COpenSSL

/// SHA-512 (FIPS 180-4), in one call or piece by piece.
///
/// ```swift
/// let digest = SHA512.hash("abc".utf8)
///
/// var hasher = SHA512()
/// hasher.update(firstPiece)
/// hasher.update(secondPiece)
/// let same = hasher.finalize()
/// ```
public struct SHA512: ~Copyable {
    private let context: OpaquePointer

    /// Begins a digest over pieces.
    public init() {
        guard let context = EVP_MD_CTX_new() else { preconditionFailure("no memory for a digest") }
        self.context = context
        begin()
    }

    deinit { EVP_MD_CTX_free(context) }

    /// Adds bytes. An empty buffer changes nothing.
    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        let status = EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
        precondition(status == 1, "EVP_DigestUpdate fails only on a context that was finished")
    }

    /// Adds bytes, without a copy where the sequence keeps them in one piece.
    public mutating func update(_ bytes: some Sequence<UInt8>) {
        let isContiguous: Void? = bytes.withContiguousStorageIfAvailable { update(UnsafeRawBufferPointer($0)) }
        if isContiguous == nil { Array(bytes).withUnsafeBytes { update($0) } }
    }

    /// The digest of all bytes that were added.
    public consuming func finalize() -> Digest {
        Digest { buffer in
            let status = EVP_DigestFinal_ex(context, buffer, nil)
            precondition(status == 1, "EVP_DigestFinal_ex fails only on a context that was finished")
        }
    }

    /// The digest of bytes in memory.
    public static func hash(_ bytes: UnsafeRawBufferPointer) -> Digest {
        var hasher = SHA512()
        hasher.update(bytes)
        return hasher.finalize()
    }

    /// The digest of bytes, without a copy where the sequence keeps them in one piece: `[UInt8]`, `Data`,
    /// `String.UTF8View`.
    public static func hash(_ bytes: some Sequence<UInt8>) -> Digest {
        var hasher = SHA512()
        hasher.update(bytes)
        return hasher.finalize()
    }

    private func begin() {
        let status = EVP_DigestInit_ex(context, Algorithm.sha512.pointer, nil)
        precondition(status == 1, "EVP_DigestInit_ex fails only without memory")
    }
}

/// The implementation of SHA-512 that OpenSSL's providers offer.
///
/// `@unchecked Sendable` because an `EVP_MD` never changes once it was fetched and may be used from any thread
/// (EVP_MD_fetch(3), openssl-threads(7)).
private struct Algorithm: @unchecked Sendable {
    let pointer: OpaquePointer

    // Fetched once: OpenSSL 3 looks it up by name in every call otherwise, which costs more than a short digest.
    static let sha512: Algorithm = {
        guard let pointer = EVP_MD_fetch(nil, "SHA2-512", nil) else {
            preconditionFailure("OpenSSL's configuration on this host offers no SHA-512: see openssl.cnf")
        }
        return Algorithm(pointer: pointer)
    }()
}
