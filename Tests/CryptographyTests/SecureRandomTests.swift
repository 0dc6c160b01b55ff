import Cryptography
import Testing

@Suite struct SecureRandomTests {
    @Test(arguments: [0, 1, 32, 4096]) func givesAsManyBytesAsAskedFor(count: Int) throws {
        #expect(try SecureRandom.bytes(count).count == count)
    }

    @Test func neverRepeats() throws {
        let tokens = try (0..<1000).map { _ in try SecureRandom.bytes(16) }
        #expect(Set(tokens).count == tokens.count)
    }

    @Test func comparesAllOfBothSides() {
        #expect(ConstantTime.isEqual([], []))
        #expect(ConstantTime.isEqual("secret".utf8, Array("secret".utf8)))
        #expect(!ConstantTime.isEqual("secret".utf8, "secreT".utf8))
        #expect(!ConstantTime.isEqual("secret".utf8, "Secret".utf8))
        #expect(!ConstantTime.isEqual("secret".utf8, "secrets".utf8))
        #expect(!ConstantTime.isEqual("secret".utf8, "".utf8))
    }
}
