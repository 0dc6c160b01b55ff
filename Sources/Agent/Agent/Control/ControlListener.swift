import CProcess
import Foundation
import Threads

/// A socket at a path of the file system, and who connects to it (unix(7)).
final class ControlListener: Sendable {
    private let descriptor: Int32
    private let path: String

    /// - Throws: ``ControlError/unreachable(path:problem:)``.
    init(path: String) throws(ControlError) {
        self.path = path
        descriptor = try ControlConnection.open(path)
        // Of an agent that was killed. The directory is this agent's: two never have one.
        unlink(path)
        let isListening = ControlConnection.withAddress(of: path) { address, length in
            bind(descriptor, address, length) == 0
        }
        // Before anybody can connect.
        guard isListening, chmod(path, 0o600) == 0, listen(descriptor, 16) == 0 else {
            let problem = String(cString: strerror(errno))
            Foundation.close(descriptor)
            throw .unreachable(path: path, problem: problem)
        }
    }

    /// Waits for a connection; nil once it is closed.
    func accept() -> ControlConnection? {
        while true {
            let connection = runbook_accept(descriptor)
            if connection >= 0 { return ControlConnection(descriptor: connection) }
            switch errno {
            case EINTR, ECONNABORTED: continue
            // There are no descriptors left: others give some back.
            case EMFILE, ENFILE, ENOMEM, ENOBUFS: usleep(100_000)
            default: return nil
            }
        }
    }

    /// Ends ``accept()``. The descriptor stays, so that a thread that is about to use it finds no other one's.
    func close() {
        unlink(path)
        shutdown(descriptor, Int32(SHUT_RDWR))
    }
}

/// A connection to or from a running agent.
struct ControlConnection {
    fileprivate let descriptor: Int32

    /// Connects to a running agent.
    /// - Throws: ``ControlError/unreachable(path:problem:)``.
    init(to path: String) throws(ControlError) {
        descriptor = try Self.open(path)
        let isConnected = Self.withAddress(of: path) { address, length in connect(descriptor, address, length) == 0 }
        guard isConnected else {
            let problem = errno == ENOENT ? "nobody listens there" : String(cString: strerror(errno))
            close()
            throw .unreachable(path: path, problem: problem)
        }
    }

    fileprivate init(descriptor: Int32) { self.descriptor = descriptor }

    func close() { Foundation.close(descriptor) }

    fileprivate static func open(_ path: String) throws(ControlError) -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw .unreachable(path: path, problem: String(cString: strerror(errno))) }
        return descriptor
    }

    /// An address has room for 107 bytes: a longer path is named by its folder's descriptor.
    fileprivate static func withAddress(
        of path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Bool
    ) -> Bool {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let room = MemoryLayout.size(ofValue: address.sun_path) - 1
        var name = path
        var folder: Int32 = -1
        defer { if folder >= 0 { Foundation.close(folder) } }
        if name.utf8.count > room {
            folder = Foundation.open((path as NSString).deletingLastPathComponent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            name = "/proc/self/fd/\(folder)/\((path as NSString).lastPathComponent)"
            guard folder >= 0, name.utf8.count <= room else { return false }
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name.utf8) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }

    /// Whether the other end is the agent's own user or root (unix(7), SO_PEERCRED).
    var isTrusted: Bool {
        guard let user = Self.peer(of: descriptor) else { return false }
        return user == geteuid() || user == 0
    }

    private static func peer(of descriptor: Int32) -> uid_t? {
        var user: uid_t = 0
        return runbook_peer_user(descriptor, &user) == 0 ? user : nil
    }

    /// Of each wait for the other end.
    func setTimeLimit(seconds: Int) {
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
    }

    /// Up to a line end; nil where none comes in that time, or within so many bytes.
    func readLine(limit: Int, within time: Duration) -> Data? {
        let end = ContinuousClock.now + time
        var line = Data()
        var buffer = [UInt8](repeating: 0, count: min(limit, 64 << 10))
        while line.count < limit {
            let left = ContinuousClock.now.duration(to: end)
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard left > .zero else { return nil }
            if poll(&entry, 1, Int32(clamping: Int(left.seconds * 1000) + 1)) <= 0 { continue }
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return nil }
            line += buffer.prefix(count)
            if let end = line.firstIndex(of: UInt8(ascii: "\n")) { return line[..<end] }
        }
        return nil
    }

    func write(_ data: Data) {
        var rest = data[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}

/// Asks the agent that runs on a state directory.
public struct ControlClient: Sendable {
    private let path: String

    /// Longer than an answer takes where the interpreter is held.
    private static let patience = Duration.seconds(40)
    private static let longestAnswer = 8 << 20

    public init(stateDirectory: String) { path = ControlSocket.path(in: stateDirectory) }

    /// Where runs are in their code. Blocks.
    ///
    /// - Parameter run: a run's id, the end of it, or the id of a task; nil for all that are under way.
    /// - Returns: The stacks, and how many runs more there are.
    /// - Throws: ``ControlError``.
    public func stacks(of run: String?) throws(ControlError) -> (stacks: [RunStackView], leftOut: Int) {
        let connection = try ControlConnection(to: path)
        defer { connection.close() }
        connection.setTimeLimit(seconds: 5)
        let request = (try? JSONEncoder().encode(ControlRequest(run: run))) ?? Data()
        connection.write(request + Data("\n".utf8))
        guard let line = connection.readLine(limit: Self.longestAnswer, within: Self.patience),
            let answer = try? JSONDecoder().decode(ControlAnswer.self, from: line)
        else { throw .noAnswer(path: path) }
        switch answer {
        case .stacks(let views, let leftOut): return (views, leftOut)
        case .failed(let error): throw error
        }
    }
}
