import COpenSSL

/// Bytes of a secret key, kept in one place of the memory that is wiped when the last reference goes.
///
/// `@unchecked Sendable` because the bytes are written in `init` alone and only read until `deinit`.
public final class SecretKey: @unchecked Sendable, CustomStringConvertible, CustomReflectable {
    private let bytes: UnsafeMutableRawBufferPointer

    /// Copies a key.
    /// - Throws: `CryptographyError.invalidKeyLength` for another length than ``AES256GCM/keyByteCount``.
    public init(_ bytes: some Collection<UInt8>) throws(CryptographyError) {
        guard bytes.count == AES256GCM.keyByteCount else { throw .invalidKeyLength(bytes: bytes.count) }
        self.bytes = .allocate(byteCount: bytes.count, alignment: 16)
        self.bytes.copyBytes(from: bytes)
    }

    deinit {
        // A plain write before the memory is given back would be optimised away (OPENSSL_cleanse(3)).
        OPENSSL_cleanse(bytes.baseAddress, bytes.count)
        bytes.deallocate()
    }

    /// A new random key.
    /// - Throws: `CryptographyError.randomUnavailable`.
    public static func random() throws(CryptographyError) -> SecretKey {
        try SecretKey(SecureRandom.bytes(AES256GCM.keyByteCount))
    }

    /// Lends the bytes. They are to be copied nowhere.
    public func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        body(UnsafeRawBufferPointer(bytes))
    }

    public var description: String { "(hidden)" }

    // `dump` goes through the mirror and not through `description`.
    public var customMirror: Mirror { Mirror(self, children: []) }
}
