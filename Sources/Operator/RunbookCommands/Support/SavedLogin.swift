import Diagnostics
import Foundation
import Glibc

/// Which backend, and the administration token: `~/.config/runbook/login.json`, that only its owner can read.
struct SavedLogin: Codable, Equatable {
    var url: String
    var token: String
    /// A PEM bundle that is trusted instead of the system's.
    var caFile: String?

    private enum CodingKeys: String, CodingKey {
        case url, token
        case caFile = "ca_file"
    }

    /// Follows the XDG Base Directory Specification.
    static func path(_ environment: [String: String]) -> String {
        let home = environment["HOME"] ?? NSHomeDirectory()
        let folder = environment["XDG_CONFIG_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil } ?? home + "/.config"
        return folder + "/runbook/login.json"
    }

    /// - Returns: Nil where there is none.
    /// - Throws: `ClientError.storage` where it can't be read, or others can.
    static func load(from path: String) throws(ClientError) -> SavedLogin? {
        let file = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            throw .storage(path: path, problem: String(cString: strerror(errno)))
        }
        let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw .storage(path: path, problem: "it is no file")
        }
        guard status.st_mode & 0o077 == 0, status.st_uid == geteuid() else {
            throw .storage(path: path, problem: "others can use it; delete it and run \"runbook login\" again")
        }
        do {
            return try JSONDecoder().decode(SavedLogin.self, from: try handle.read(upToCount: 1 << 16) ?? Data())
        } catch {
            throw .storage(path: path, problem: "it is not what \"runbook login\" writes; run that again")
        }
    }

    /// Replaces the file as a whole.
    /// - Throws: `ClientError.storage`.
    func save(to path: String) throws(ClientError) {
        let folder = (path as NSString).deletingLastPathComponent
        do {
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw .storage(path: folder, problem: "it can't be made")
        }
        let temporary = "\(path).\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        let file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw .storage(path: temporary, problem: String(cString: strerror(errno))) }
        defer { unlink(temporary) }
        let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
        do {
            try handle.write(contentsOf: try JSONEncoder().encode(self))
            try handle.synchronize()
        } catch {
            throw .storage(path: temporary, problem: "it can't be written")
        }
        guard rename(temporary, path) == 0 else {
            throw .storage(path: path, problem: String(cString: strerror(errno)))
        }
    }
}
