import Cryptography

/// The code that a person carries from a host to the backend: eight consonants, in which no word can be read and no
/// two letters are taken for each other (RFC 8628, section 6.1).
public struct UserCode: Hashable, Sendable, CustomStringConvertible {
    /// Eight letters in upper case, without the dash.
    public let letters: String

    static let alphabet = Array("BCDFGHJKLMNPQRSTVWXZ")
    static let length = 8

    /// Reads a code as people type it: in either case, with dashes and spaces anywhere or nowhere. Nil for what can't
    /// be a code.
    public init?(typed text: String) {
        // A code pasted along with a page of text is no code, and need not be looked through.
        guard text.utf8.count <= 64 else { return nil }
        let letters = text.uppercased().filter { !$0.isWhitespace && !"-‐‑–—".contains($0) }
        guard letters.count == Self.length, letters.allSatisfy(Self.alphabet.contains) else { return nil }
        self.letters = letters
    }

    private init(letters: String) { self.letters = letters }

    /// A random code.
    static func make() throws(CryptographyError) -> UserCode {
        var letters = ""
        while letters.count < length {
            // 240 is the largest multiple of 20 in a byte: a remainder of all 256 would favour the first letters.
            for byte in try SecureRandom.bytes(length) where byte < 240 && letters.count < length {
                letters.append(alphabet[Int(byte) % alphabet.count])
            }
        }
        return UserCode(letters: letters)
    }

    /// As it is shown: `WDJB-MJHT`.
    public var description: String { "\(letters.prefix(4))-\(letters.suffix(4))" }
}
