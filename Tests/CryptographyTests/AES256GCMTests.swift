import Cryptography
import Testing

@Suite struct AES256GCMTests {
    /// Vectors of the mode's specification (McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B).
    struct Vector: Sendable, CustomTestStringConvertible {
        var name: String
        var key: String
        var nonce: String
        var header = ""
        var plaintext: String
        var sealed: String
        var testDescription: String { name }
    }

    static let text =
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    static let key = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
    static let vectors = [
        Vector(
            name: "13: nothing", key: String(repeating: "0", count: 64), nonce: String(repeating: "0", count: 24),
            plaintext: "", sealed: "530f8afbc74536b9a963b4f1c4cb738b"),
        Vector(
            name: "14: a block", key: String(repeating: "0", count: 64), nonce: String(repeating: "0", count: 24),
            plaintext: String(repeating: "0", count: 32),
            sealed: "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"),
        Vector(
            name: "16: with a header", key: key, nonce: "cafebabefacedbaddecaf888",
            header: "feedfacedeadbeeffeedfacedeadbeefabaddad2", plaintext: text,
            sealed:
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
                + "76fc6ece0f4e1768cddf8853bb2d551b"),
    ]

    @Test(arguments: vectors)
    func sealsAndOpensAsSpecified(_ vector: Vector) throws {
        let key = try SecretKey(bytes(vector.key))
        let sealed = AES256GCM.seal(
            bytes(vector.plaintext), key: key, nonce: bytes(vector.nonce), header: bytes(vector.header))
        #expect(sealed == bytes(vector.sealed))
        let opened = AES256GCM.open(sealed, key: key, nonce: bytes(vector.nonce), header: bytes(vector.header))
        #expect(opened == bytes(vector.plaintext))
    }

    @Test func whateverBitIsChangedItDoesNotOpen() throws {
        let key = try SecretKey.random()
        let nonce = try SecureRandom.bytes(AES256GCM.nonceByteCount)
        let header = Array("header".utf8)
        let sealed = AES256GCM.seal(Array("a token".utf8), key: key, nonce: nonce, header: header)
        for index in sealed.indices {
            var changed = sealed
            changed[index] ^= 1
            #expect(AES256GCM.open(changed, key: key, nonce: nonce, header: header) == nil)
            #expect(AES256GCM.open(Array(sealed[..<index]), key: key, nonce: nonce, header: header) == nil)
        }
        var other = nonce
        other[0] ^= 0x80
        #expect(AES256GCM.open(sealed, key: key, nonce: other, header: header) == nil)
        #expect(AES256GCM.open(sealed, key: key, nonce: nonce, header: header + [0]) == nil)
        #expect(try AES256GCM.open(sealed, key: SecretKey.random(), nonce: nonce, header: header) == nil)
        #expect(AES256GCM.open(sealed, key: key, nonce: nonce, header: header) == Array("a token".utf8))
    }

    @Test(arguments: [0, 16, 31, 33, 64])
    func aKeyOfAnotherLengthIsRefused(_ count: Int) {
        #expect(throws: CryptographyError.invalidKeyLength(bytes: count)) {
            try SecretKey([UInt8](repeating: 7, count: count))
        }
    }

    @Test func aKeyIsShownNowhere() throws {
        let key = try SecretKey([UInt8](repeating: 0x41, count: 32))
        var text = "\(key)"
        dump(key, to: &text)
        #expect(!text.contains("65") && !text.contains("AAAA"))
    }

    private func bytes(_ hex: String) -> [UInt8] {
        let digits = Array(hex)
        return stride(from: 0, to: digits.count, by: 2).compactMap { UInt8(String(digits[$0...($0 + 1)]), radix: 16) }
    }
}
