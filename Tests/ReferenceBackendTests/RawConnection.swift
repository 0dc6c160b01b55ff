import AgentTestSupport
import Foundation

/// A connection over which anything can be sent, also what is no whole request.
final class RawConnection {
    private let descriptor: Int32
    private(set) var received = Data()
    private(set) var isClosed = false

    /// - Parameter source: Another address of the loopback network, to be another client.
    init(to port: Int, from source: String = "127.0.0.1") throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        func call(_ function: (Int32, UnsafePointer<sockaddr>?, socklen_t) -> Int32, _ host: String, _ port: Int)
            -> Int32
        {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = in_port_t(port).bigEndian
            inet_pton(AF_INET, host, &address.sin_addr)
            return withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    function(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
        guard call(bind, source, 0) == 0, call(connect, "127.0.0.1", port) == 0 else {
            throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO)
        }
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    }

    deinit { close(descriptor) }

    /// Sends as much as the other end takes now.
    /// - Returns: How many bytes it took.
    @discardableResult
    func send(_ text: String) -> Int { send(Data(text.utf8)) }

    @discardableResult
    func send(_ data: Data) -> Int {
        max(
            0,
            data.withUnsafeBytes { Foundation.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        )
    }

    /// Takes what is there.
    func receive() {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count > 0 {
                received += buffer[..<count]
                continue
            }
            if count == 0 || errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR { isClosed = true }
            return
        }
    }

    func untilClosed(_ name: String = "") async throws {
        try await eventually("the server closes the connection \(name)", within: .seconds(60)) {
            receive()
            return isClosed
        }
    }

    /// The status of the first answer.
    func status() async throws -> Int {
        try await eventually("an answer comes", within: .seconds(60)) {
            receive()
            return isClosed || received.range(of: Data("\r\n\r\n".utf8)) != nil
        }
        let line = String(decoding: received.prefix { $0 != 0x0D }, as: UTF8.self)
        return line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    }
}
