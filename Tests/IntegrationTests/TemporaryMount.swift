import AgentTestSupport
import Foundation
import Subprocess
import SystemPackage

/// A small file system of its own, for what only a real one does: being full, or read-only. Needs root.
final class TemporaryMount: Sendable {
    let path: String
    private let folder: TemporaryFolder

    /// Whether this process may mount.
    static let isPossible = (try? TemporaryMount(kibibytes: 64)) != nil

    /// - Parameter place: a folder, made where it isn't there; nil for one of its own.
    /// - Throws: `POSIXError` where this process may not mount.
    init(kibibytes: Int, at place: String? = nil) throws {
        folder = try TemporaryFolder()
        path = place ?? folder.path("disk")
        mkdir(path, 0o700)
        guard mount("tmpfs", path, "tmpfs", 0, "size=\(kibibytes)k,mode=0700") == 0 else { throw systemError() }
    }

    deinit { umount2(path, Int32(MNT_DETACH)) }

    /// Takes all the room that is left, with a file; returns its path.
    func fill() throws -> String {
        let path = path + "/filling"
        let file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw systemError() }
        defer { close(file) }
        let block = [UInt8](repeating: 7, count: 512)
        while write(file, block, block.count) > 0 {}
        return path
    }

    /// Only while nobody has a file open for writing.
    func makeReadOnly() throws {
        let flags = UInt(MS_REMOUNT | MS_RDONLY)
        guard mount("tmpfs", path, "tmpfs", flags, nil) == 0 else { throw systemError() }
    }
}

/// An ext4 in a file that can be made to fail as one on a dying disk does: it turns read-only under its writers
/// (ext4(5), `errors=remount-ro`). Needs root and loop devices.
final class BrittleDisk: Sendable {
    let path: String
    private let folder: TemporaryFolder
    private let device: String

    init() async throws {
        folder = try TemporaryFolder()
        path = folder.path("disk")
        mkdir(path, 0o700)
        let image = folder.path("image")
        try Data().write(to: URL(filePath: image))
        guard truncate(image, 16 << 20) == 0 else { throw systemError() }
        _ = try await Self.run("mkfs.ext4", "-q", image)
        _ = try await Self.run("mount", "-o", "loop,errors=remount-ro", image, path)
        device = try await Self.run("findmnt", "-no", "SOURCE", path)
    }

    deinit { umount2(path, Int32(MNT_DETACH)) }

    func fail() throws {
        let name = URL(filePath: device).lastPathComponent
        try Data("1".utf8).write(to: URL(filePath: "/sys/fs/ext4/\(name)/trigger_fs_error"))
    }

    private static func run(_ command: String, _ arguments: String...) async throws -> String {
        let result = try await Subprocess.run(
            .name(command), arguments: Arguments(arguments), environment: .inherit, output: .string(limit: 4096),
            error: .string(limit: 4096))
        guard case .exited(0) = result.terminationStatus else {
            throw CommandFailed(command: command, stderr: result.standardError)
        }
        return result.standardOutput.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}

private struct CommandFailed: Error {
    let command: String
    let stderr: String
}

private func systemError() -> POSIXError { POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
