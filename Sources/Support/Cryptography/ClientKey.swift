import COpenSSL
public import Foundation

/// Looks at a client's certificate and private key in PEM files before they are used.
///
/// OpenSSL asks for a password where a key is encrypted, on the terminal and on whatever thread reads the key. Here
/// nobody is asked.
public enum ClientKey {
    /// Why a file can't be used.
    public enum Problem: Error, Equatable, Sendable {
        /// The private key is encrypted with a password.
        case encrypted
        /// There is no private key in PEM.
        case noKey
        /// There is no certificate in PEM.
        case noCertificate
        /// The key is not the certificate's.
        case mismatch
    }

    /// Which of the two files it is about.
    public enum File: Sendable { case certificate, key }

    /// - Parameters:
    ///   - certificate: the bytes of the file with the certificate, which may hold the key too.
    ///   - key: those of the file with the key; nil where it is in the same file.
    /// - Returns: what is wrong and with which file; nil where both fit.
    public static func problem(certificate: Data, key: Data?) -> (file: File, problem: Problem)? {
        let keyFile: File = key == nil ? .certificate : .key
        var wasAsked = false
        let privateKey = read(key ?? certificate) { PEM_read_bio_PrivateKey($0, nil, refuseToAsk, &wasAsked) }
        defer { EVP_PKEY_free(privateKey) }
        let leaf = read(certificate) { PEM_read_bio_X509($0, nil, refuseToAsk, nil) }
        defer { X509_free(leaf) }
        // Not left for another caller on this thread to find.
        ERR_clear_error()
        if wasAsked { return (keyFile, .encrypted) }
        guard let leaf else { return (.certificate, .noCertificate) }
        guard let privateKey else { return (keyFile, .noKey) }
        guard X509_check_private_key(leaf, privateKey) == 1 else {
            ERR_clear_error()
            return (keyFile, .mismatch)
        }
        return nil
    }

    private static func read<Value>(_ bytes: Data, _ body: (OpaquePointer) -> Value?) -> Value? {
        bytes.withUnsafeBytes { buffer in
            guard let base = buffer.baseAddress, let bio = BIO_new_mem_buf(base, Int32(clamping: buffer.count)) else {
                return nil
            }
            defer { BIO_free(bio) }
            return body(bio)
        }
    }
}

/// The password callback (pem_password_cb(3)): notes that it was called, and gives none.
private func refuseToAsk(
    _ buffer: UnsafeMutablePointer<CChar>?, _ size: Int32, _ isForWriting: Int32, _ context: UnsafeMutableRawPointer?
) -> Int32 {
    context?.assumingMemoryBound(to: Bool.self).pointee = true
    return -1
}
