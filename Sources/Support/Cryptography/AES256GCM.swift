import COpenSSL

/// AES-256 in Galois/Counter Mode (NIST SP 800-38D): nobody without the key can read what is sealed, or change it
/// unnoticed.
///
/// A nonce must never come twice with one key. Random ones keep that promise for far more than the 2^32 messages that
/// the standard allows one key.
public enum AES256GCM {
    public static let keyByteCount = 32
    public static let nonceByteCount = 12
    public static let tagByteCount = 16

    /// Encrypts and authenticates.
    /// - Parameters:
    ///   - nonce: ``nonceByteCount`` bytes, used once with this key.
    ///   - header: authenticated and not encrypted; the same bytes are needed to open.
    /// - Returns: as many bytes as `plaintext` has, and the tag behind them.
    public static func seal(_ plaintext: [UInt8], key: SecretKey, nonce: [UInt8], header: [UInt8]) -> [UInt8] {
        precondition(nonce.count == nonceByteCount, "a nonce of 96 bits")
        precondition(
            plaintext.count <= Int(Int32.max) - tagByteCount && header.count <= Int(Int32.max), "lengths of int")
        var context = CipherContext(encrypts: true, key: key, nonce: nonce)
        context.authenticate(header)
        var sealed = context.update(plaintext)
        let isFinal = context.finish()
        precondition(isFinal, "EVP_EncryptFinal_ex fails only on a context that was finished")
        sealed += context.tag()
        return sealed
    }

    /// Checks and decrypts.
    /// - Returns: nil where key, nonce, header, ciphertext or tag isn't what it was: nothing of it may be used.
    public static func open(_ sealed: [UInt8], key: SecretKey, nonce: [UInt8], header: [UInt8]) -> [UInt8]? {
        precondition(nonce.count == nonceByteCount, "a nonce of 96 bits")
        precondition(sealed.count <= Int(Int32.max) && header.count <= Int(Int32.max), "lengths of int")
        guard sealed.count >= tagByteCount else { return nil }
        var context = CipherContext(encrypts: false, key: key, nonce: nonce)
        context.authenticate(header)
        let plaintext = context.update(Array(sealed.dropLast(tagByteCount)))
        context.expect(tag: Array(sealed.suffix(tagByteCount)))
        return context.finish() ? plaintext : nil
    }
}

/// One encryption or decryption (EVP_EncryptInit(3), "AEAD Interface").
private struct CipherContext: ~Copyable {
    private let context: OpaquePointer

    init(encrypts: Bool, key: SecretKey, nonce: [UInt8]) {
        guard let context = EVP_CIPHER_CTX_new() else { preconditionFailure("no memory for a cipher") }
        self.context = context
        let status = key.withBytes { key in
            EVP_CipherInit_ex2(
                context, Cipher.aes256GCM.pointer, key.bindMemory(to: UInt8.self).baseAddress, nonce, encrypts ? 1 : 0,
                nil)
        }
        precondition(status == 1, "EVP_CipherInit_ex2 fails only without memory")
    }

    // Wipes the key schedule too.
    deinit { EVP_CIPHER_CTX_free(context) }

    mutating func authenticate(_ header: [UInt8]) {
        guard !header.isEmpty else { return }
        var count: Int32 = 0
        let status = EVP_CipherUpdate(context, nil, &count, header, Int32(header.count))
        precondition(status == 1, "EVP_CipherUpdate fails only on a context that was finished")
    }

    mutating func update(_ input: [UInt8]) -> [UInt8] {
        guard !input.isEmpty else { return [] }
        return [UInt8](unsafeUninitializedCapacity: input.count) { buffer, initialized in
            var count: Int32 = 0
            let status = EVP_CipherUpdate(context, buffer.baseAddress, &count, input, Int32(input.count))
            precondition(status == 1 && Int(count) == input.count, "a stream cipher gives as much as it takes")
            initialized = input.count
        }
    }

    /// False where the tag doesn't fit.
    mutating func finish() -> Bool {
        // GCM has no padding, so nothing is written; a place for it must be there all the same.
        var rest = [UInt8](repeating: 0, count: AES256GCM.tagByteCount)
        var count: Int32 = 0
        return EVP_CipherFinal_ex(context, &rest, &count) == 1
    }

    mutating func tag() -> [UInt8] {
        var tag = [UInt8](repeating: 0, count: AES256GCM.tagByteCount)
        let status = EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, Int32(tag.count), &tag)
        precondition(status == 1, "a finished encryption has a tag")
        return tag
    }

    mutating func expect(tag: [UInt8]) {
        var tag = tag
        let status = EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, Int32(tag.count), &tag)
        precondition(status == 1, "a decryption takes a tag of 16 bytes")
    }
}

/// The implementation of AES-256-GCM that OpenSSL's providers offer.
///
/// `@unchecked Sendable` because an `EVP_CIPHER` never changes once it was fetched and may be used from any thread
/// (EVP_CIPHER_fetch(3), openssl-threads(7)).
private struct Cipher: @unchecked Sendable {
    let pointer: OpaquePointer

    static let aes256GCM: Cipher = {
        guard let pointer = EVP_CIPHER_fetch(nil, "AES-256-GCM", nil) else {
            preconditionFailure("OpenSSL's configuration on this host offers no AES-256-GCM: see openssl.cnf")
        }
        return Cipher(pointer: pointer)
    }()
}
