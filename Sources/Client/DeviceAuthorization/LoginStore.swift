import Cryptography
import Dispatch
import Foundation

/// The sealed login in the state directory.
final class LoginStore: Sendable {
    /// Which file it was that was read.
    struct Identity: Sendable, Equatable {
        var device: UInt
        var inode: UInt
        var size: Int
        var modified: Int
        var nanoseconds: Int
    }

    static let name = "login.sealed"

    let directory: String
    let keySource: KeySource
    var path: String { directory + "/" + Self.name }
    /// For files, which may block: not on the cooperative pool.
    private static let queue = DispatchQueue(label: "runbook-agent.login-store")

    init(directory: String, keySource: KeySource) {
        self.directory = directory
        self.keySource = keySource
    }

    /// The file as it is now; nil where there is none.
    var identity: Identity? {
        var status = stat()
        guard lstat(path, &status) == 0 else { return nil }
        return Identity(
            device: status.st_dev, inode: status.st_ino, size: status.st_size, modified: status.st_mtim.tv_sec,
            nanoseconds: status.st_mtim.tv_nsec)
    }

    /// What is stored, and of which file; nil where nothing is.
    /// - Parameter setsAside: whether a damaged file gets another name.
    func read(setsAside: Bool) async throws(LoginError) -> (record: LoginRecord, identity: Identity?)? {
        try await onQueue { () throws(LoginError) in
            let identity = self.identity
            let owners = self.owners
            guard let bytes = try SecretFile(path: self.path).read(owners: owners.all) else { return nil }
            guard let key = try self.keySource.load(owners: owners.all) else {
                throw .missingKey(path: self.keySource.path, sealed: self.path)
            }
            do throws(LoginSeal.Problem) {
                let plaintext = try LoginSeal.open(bytes, key: key)
                guard let record = try? JSONDecoder().decode(LoginRecord.self, from: Data(plaintext)) else {
                    throw .damaged("what was sealed is no login")
                }
                return (record, identity)
            } catch {
                switch error {
                case .wrongKey: throw .wrongKey(path: self.keySource.path, sealed: self.path)
                case .newer(let version): throw .newerFormat(path: self.path, version: version)
                case .damaged(let problem):
                    throw .damaged(
                        path: self.path, problem: problem, setAside: setsAside ? try self.setAside() : nil)
                }
            }
        }
    }

    /// Puts a record in place of what is stored, and returns when it is on disk.
    func write(_ record: LoginRecord) async throws(LoginError) -> Identity? {
        try await onQueue { () throws(LoginError) in
            try self.prepareDirectory()
            // The key is written once, so that its own next write may never come.
            self.keySource.removeLeftovers()
            let owners = self.owners
            let hasSealed = self.identity != nil
            let loaded = try self.keySource.load(owners: owners.all)
            // A new key beside an old file would make that one worthless without a word.
            if loaded == nil, hasSealed { throw .missingKey(path: self.keySource.path, sealed: self.path) }
            let key: SecretKey
            if let loaded {
                key = loaded
            } else {
                key = try self.keySource.loadOrCreate(owners: owners.all, newOwner: owners.new)
            }
            guard let json = try? JSONEncoder().encode(record) else {
                throw .storage(path: self.path, problem: "the login can't be written as JSON")
            }
            let sealed: [UInt8]
            do throws(CryptographyError) {
                sealed = try LoginSeal.seal(Array(json), key: key)
            } catch {
                throw .cryptography(error)
            }
            try SecretFile(path: self.path).write(sealed, owner: owners.new)
            return self.identity
        }
    }

    func remove() async throws(LoginError) {
        try await onQueue { () throws(LoginError) in try SecretFile(path: self.path).remove() }
    }

    /// Makes the state directory where it isn't there, and closes it to everybody else.
    func prepareDirectory() throws(LoginError) {
        func failure() -> LoginError {
            .storage(path: directory, problem: "the folder could not be made: \(String(cString: strerror(errno)))")
        }
        for end in directory.indices.dropFirst() where directory[end] == "/" {
            mkdir(String(directory[..<end]), 0o700)
        }
        guard mkdir(directory, 0o700) == 0 || errno == EEXIST else { throw failure() }
        var status = stat()
        guard stat(directory, &status) == 0 else { throw failure() }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw .storage(path: directory, problem: "it is no folder") }
        guard status.st_mode & 0o077 == 0 || chmod(directory, 0o700) == 0 else { throw failure() }
    }

    // MARK: Steps

    /// Whom files may belong to, and whom new ones are to belong to. What root makes in a state directory is for the
    /// user that the agent runs as.
    private var owners: (all: Set<uid_t>, new: uid_t) {
        let own = geteuid()
        var status = stat()
        guard own == 0, stat(directory, &status) == 0 else { return ([own], own) }
        return ([own, status.st_uid], status.st_uid)
    }

    private func setAside() throws(LoginError) -> String {
        let stamp = Int(Date().timeIntervalSince1970)
        var target = "\(path).damaged-\(stamp)"
        var number = 1
        var status = stat()
        while lstat(target, &status) == 0 {
            number += 1
            target = "\(path).damaged-\(stamp)-\(number)"
        }
        guard rename(path, target) == 0 else { throw SecretFile(path: path).failure("setting aside") }
        try SecretFile.synchronize(directory)
        return target
    }

    private func onQueue<Value: Sendable>(
        _ body: @escaping @Sendable () throws(LoginError) -> Value
    ) async throws(LoginError) -> Value {
        let result: Result<Value, LoginError> = await withCheckedContinuation { continuation in
            Self.queue.async {
                do throws(LoginError) {
                    continuation.resume(returning: .success(try body()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }
}
