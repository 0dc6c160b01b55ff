extension SHA512 {
    /// The 64 bytes that SHA-512 gives.
    public struct Digest: Hashable, Sendable, CustomStringConvertible {
        /// How many bytes a digest has.
        public static let byteCount = 64

        private let storage: SIMD64<UInt8>

        /// - Parameter fill: writes all ``byteCount`` bytes.
        init(fill: (UnsafeMutablePointer<UInt8>) -> Void) {
            var storage = SIMD64<UInt8>()
            withUnsafeMutableBytes(of: &storage) { buffer in
                // The buffer of a value that isn't empty has an address, and SIMD64<UInt8> is 64 bytes.
                fill(buffer.baseAddress!.assumingMemoryBound(to: UInt8.self))
            }
            self.storage = storage
        }

        /// Reads 128 hexadecimal digits, in either case and nothing beside them.
        /// - Throws: `CryptographyError.invalidDigest`, which says what is wrong with the text.
        public init(hex: String) throws(CryptographyError) {
            let digits = Array(hex.utf8)
            guard digits.count == 2 * Self.byteCount else {
                throw .invalidDigest(text: hex, problem: "it has \(digits.count) characters")
            }
            var storage = SIMD64<UInt8>()
            for index in 0..<Self.byteCount {
                guard let high = Self.value(ofDigit: digits[2 * index]),
                    let low = Self.value(ofDigit: digits[2 * index + 1])
                else {
                    throw .invalidDigest(text: hex, problem: "it has a character that is no hexadecimal digit")
                }
                storage[index] = high << 4 | low
            }
            self.storage = storage
        }

        /// 128 hexadecimal digits, in lower case.
        public var hex: String {
            let digits = Array("0123456789abcdef".utf8)
            return String(unsafeUninitializedCapacity: 2 * Self.byteCount) { buffer in
                for index in 0..<Self.byteCount {
                    buffer[2 * index] = digits[Int(storage[index] >> 4)]
                    buffer[2 * index + 1] = digits[Int(storage[index] & 0x0F)]
                }
                return 2 * Self.byteCount
            }
        }

        /// The digest as bytes.
        public var bytes: [UInt8] { storage.indices.map { storage[$0] } }

        public var description: String { hex }

        private static func value(ofDigit digit: UInt8) -> UInt8? {
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
            default: nil
            }
        }
    }
}
