import AgentTestSupport
import Foundation

/// A small file system of its own, for what only a real one does: being full. Needs root.
final class TemporaryMount: Sendable {
    let path: String
    private let folder: TemporaryFolder

    /// Whether this process may mount.
    static let isPossible = (try? TemporaryMount(kibibytes: 64)) != nil

    /// - Throws: `POSIXError` where this process may not mount.
    init(kibibytes: Int) throws {
        folder = try TemporaryFolder()
        path = folder.path("disk")
        mkdir(path, 0o700)
        guard mount("tmpfs", path, "tmpfs", 0, "size=\(kibibytes)k,mode=0700") == 0 else {
            throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO)
        }
    }

    deinit { umount2(path, Int32(MNT_DETACH)) }

    /// Takes all the room that is left, with a file; returns its path.
    func fill() throws -> String {
        let path = path + "/filling"
        let file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        defer { close(file) }
        let block = [UInt8](repeating: 7, count: 512)
        while write(file, block, block.count) > 0 {}
        return path
    }
}
