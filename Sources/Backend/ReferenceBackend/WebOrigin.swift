/// Scheme, host and port of a site (RFC 6454, section 4), as browsers write it in `Origin`.
public struct WebOrigin: Hashable, Sendable, CustomStringConvertible {
    public let isSecure: Bool
    /// Host and port as they stand in an address, in lower case; without the scheme's own port.
    public let authority: String

    /// Reads `https://backend.example.com`, with or without a port and a slash at the end.
    /// - Throws: `ReferenceBackendError.invalidField` when the text is anything else.
    public init(_ text: String) throws(ReferenceBackendError) {
        let lowercased = text.lowercased()
        let isSecure = lowercased.hasPrefix("https://")
        guard isSecure || lowercased.hasPrefix("http://") else {
            throw .invalidField("public-url", problem: "it begins with https:// or http://")
        }
        var authority = lowercased.dropFirst(isSecure ? 8 : 7)
        if authority.hasSuffix("/") { authority = authority.dropLast() }
        guard let origin = WebOrigin(isSecure: isSecure, authority: String(authority)) else {
            throw .invalidField(
                "public-url", problem: "it is a host, and a port if needed, such as https://backend.example.com:8443")
        }
        self = origin
    }

    /// - Parameter authority: As a request's `Host` field has it; nil comes back for what is no host.
    public init?(isSecure: Bool, authority: String) {
        var authority = authority.lowercased()
        let ownPort = isSecure ? ":443" : ":80"
        if authority.hasSuffix(ownPort) { authority.removeLast(ownPort.count) }
        var host = authority[...]
        if let colon = authority.lastIndex(of: ":"), !authority.hasSuffix("]") {
            guard UInt16(authority[authority.index(after: colon)...]) != nil else { return nil }
            host = authority[..<colon]
        }
        if host.hasPrefix("["), host.hasSuffix("]") {
            guard host.dropFirst().dropLast().utf8.allSatisfy(Self.isAddressByte), host.count > 3 else { return nil }
        } else {
            guard !host.isEmpty, host.utf8.count <= 255, host.utf8.allSatisfy(Self.isHostByte) else { return nil }
        }
        self.isSecure = isSecure
        self.authority = authority
    }

    public var description: String { (isSecure ? "https://" : "http://") + authority }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."),
            UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    private static func isAddressByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."),
            UInt8(ascii: ":"):
            true
        default: false
        }
    }
}
