import AgentModel
import Cryptography
import Foundation
import Testing

@Suite struct SHA512Tests {
    struct Vector: Sendable, CustomTestStringConvertible {
        var name: String
        var text: String
        var hex: String

        var testDescription: String { name }
    }

    /// FIPS 180-4 example vectors (NIST, "SHA512.pdf"), and the empty text.
    static let vectors = [
        Vector(
            name: "empty", text: "",
            hex: "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
                + "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"),
        Vector(
            name: "abc", text: "abc",
            hex: "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                + "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"),
        Vector(
            name: "two blocks",
            text: "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrs"
                + "mnopqrstnopqrstu",
            hex: "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018"
                + "501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909"),
    ]

    @Test(arguments: vectors) func hashesAsTheStandardSays(vector: Vector) {
        #expect(SHA512.hash(vector.text.utf8).hex == vector.hex)
        #expect(SHA512.hash(Array(vector.text.utf8)).hex == vector.hex)
        #expect(SHA512.hash(Data(vector.text.utf8)).hex == vector.hex)
        #expect(Array(vector.text.utf8).withUnsafeBytes { SHA512.hash($0).hex } == vector.hex)
        // A sequence that isn't in one piece.
        #expect(SHA512.hash(vector.text.utf8.lazy.filter { _ in true }).hex == vector.hex)
    }

    @Test func piecesGiveTheDigestOfTheWhole() {
        let whole = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        var hasher = SHA512()
        for start in stride(from: 0, to: whole.count, by: 777) {
            hasher.update(whole[start..<min(start + 777, whole.count)])
            hasher.update([])
        }
        #expect(hasher.finalize() == SHA512.hash(whole))
    }

    @Test func hexIsReadInEitherCase() throws {
        let digest = SHA512.hash("abc".utf8)
        #expect(try SHA512.Digest(hex: digest.hex) == digest)
        #expect(try SHA512.Digest(hex: digest.hex.uppercased()) == digest)
        #expect(digest.bytes.count == SHA512.Digest.byteCount)
        #expect(digest.bytes.first == 0xDD)
        #expect(digest.bytes.last == 0x9F)
    }

    @Test(arguments: [
        "", "ab", String(repeating: "g", count: 128), String(repeating: "a", count: 127),
        String(repeating: "a", count: 129), " " + String(repeating: "a", count: 127),
        String(repeating: "a", count: 126) + "é",
    ])
    func otherTextIsRefused(text: String) {
        let error = #expect(throws: CryptographyError.self) { try SHA512.Digest(hex: text) }
        #expect(error?.code == "cryptography.invalid_digest")
    }

    @Test func digestsThatDifferAreNotEqual() {
        #expect(SHA512.hash("a".utf8) != SHA512.hash("b".utf8))
        #expect(Set([SHA512.hash("a".utf8), SHA512.hash("a".utf8), SHA512.hash("b".utf8)]).count == 2)
    }
}
