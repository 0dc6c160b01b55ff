import Foundation

/// An IP address, or all that begin with the same bits: `10.0.0.1`, `10.0.0.0/8`, `fd00::/8`.
public struct AddressRange: Hashable, Sendable {
    // An IPv4 address is the IPv6 address that stands for it (RFC 4291, section 2.5.5.2).
    private let bytes: [UInt8]
    private let prefix: Int

    /// - Throws: `ReferenceBackendError.invalidField` when the text is anything else.
    public init(_ text: String) throws(ReferenceBackendError) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let problem = "write an address or a range, such as 10.0.0.1 or 10.0.0.0/8"
        guard let bytes = Self.bytes(of: parts[0]) else { throw .invalidField("trusted-proxy", problem: problem) }
        let width = parts[0].contains(":") ? 128 : 32
        var length = width
        if parts.count == 2 {
            guard let given = Int(parts[1]), (0...width).contains(given) else {
                throw .invalidField("trusted-proxy", problem: problem)
            }
            length = given
        }
        self.bytes = bytes
        prefix = 128 - width + length
    }

    func contains(_ address: String) -> Bool {
        guard let other = Self.bytes(of: address) else { return false }
        for index in 0..<16 {
            let bits = min(8, max(0, prefix - index * 8))
            let mask: UInt8 = bits == 0 ? 0 : 0xFF << UInt8(8 - bits)
            if (bytes[index] ^ other[index]) & mask != 0 { return false }
        }
        return true
    }

    static func isAddress(_ text: String) -> Bool { bytes(of: text) != nil }

    private static func bytes(of text: String) -> [UInt8]? {
        var short = in_addr()
        if inet_pton(AF_INET, text, &short) == 1 {
            return [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF] + withUnsafeBytes(of: short) { Array($0) }
        }
        var long = in6_addr()
        guard inet_pton(AF_INET6, text, &long) == 1 else { return nil }
        return withUnsafeBytes(of: long) { Array($0) }
    }
}
