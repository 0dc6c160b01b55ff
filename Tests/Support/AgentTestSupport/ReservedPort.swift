import Foundation
import Synchronization

/// Ports that stay a test's own while nothing listens at them.
///
/// A port that the system chose is taken again by any connection of another test once its listener is gone. These lie
/// below those that connections are given (`ip(7)`, `ip_local_port_range`), and each is given out once.
public enum ReservedPort {
    private static let next = Mutex(Int.random(in: 0..<8000))

    /// A port of 127.0.0.1 that nothing listens at and that no connection is given.
    /// - Throws: `POSIXError` when no port of 100 could be bound.
    public static func take() throws -> Int {
        let last = try firstEphemeralPort() - 1
        for _ in 0..<100 {
            let offset = next.withLock { next in
                next += 1
                return next % 8000
            }
            if isFree(last - offset) { return last - offset }
        }
        throw POSIXError(.EADDRINUSE)
    }

    private static func firstEphemeralPort() throws -> Int {
        let range = try String(contentsOfFile: "/proc/sys/net/ipv4/ip_local_port_range", encoding: .utf8)
        return range.split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) } ?? 32768
    }

    private static func isFree(_ port: Int) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }
}
