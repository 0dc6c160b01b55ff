/// Where a server listens: a host name or address, and a port.
public struct ListenAddress: Hashable, Sendable, CustomStringConvertible {
    /// Without the brackets of an IPv6 address.
    public var host: String
    /// 0 lets the system choose.
    public var port: Int

    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Reads `HOST:PORT`, with an IPv6 address in brackets: `127.0.0.1:8787`, `[::1]:0`.
    /// - Throws: `ReferenceBackendError.listen` when the text is anything else.
    public init(_ text: String) throws(ReferenceBackendError) {
        guard let colon = text.lastIndex(of: ":") else {
            throw .listen(address: text, problem: "write HOST:PORT, such as 127.0.0.1:8787")
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            throw .listen(address: text, problem: "an IPv6 address stands in brackets, such as [::1]:8787")
        }
        guard !host.isEmpty else {
            throw .listen(address: text, problem: "the host is missing; 0.0.0.0 is every address of this machine")
        }
        guard let port = UInt16(text[text.index(after: colon)...]) else {
            throw .listen(address: text, problem: "the port is a number from 0 to 65535")
        }
        self.init(host: String(host), port: Int(port))
    }

    /// Whether only this machine can reach it.
    public var isLoopback: Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }

    /// `http://127.0.0.1:8787`.
    public var url: String { "http://\(self)" }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}
