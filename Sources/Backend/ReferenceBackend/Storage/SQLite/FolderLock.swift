import Foundation
import Synchronization

/// The exclusive hold of one server on a data folder.
///
/// flock(2) on the folder itself: it ends with the process however that ends, and there is no lock file that could be
/// deleted.
final class FolderLock: Sendable {
    private let descriptor: Mutex<Int32>

    /// How often the lock is tried, 10 ms apart: a child process that is being started has a copy of the descriptor
    /// for a moment.
    private static let attempts = 50

    /// Blocks for up to half a second.
    /// - Throws: `ReferenceBackendError.folderInUse`, `.storage`.
    init(folder: URL) throws(ReferenceBackendError) {
        let descriptor = open(folder.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .storage(path: folder.path, problem: String(cString: strerror(errno))) }
        var attempt = 1
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            let problem = errno
            if problem == EWOULDBLOCK, attempt < Self.attempts {
                attempt += 1
                usleep(10_000)
                continue
            }
            close(descriptor)
            throw problem == EWOULDBLOCK
                ? .folderInUse(folder: folder.path)
                : .storage(path: folder.path, problem: String(cString: strerror(problem)))
        }
        self.descriptor = Mutex(descriptor)
    }

    func release() {
        descriptor.withLock { descriptor in
            guard descriptor >= 0 else { return }
            // Explicitly, because a child that is being started shares the open file.
            flock(descriptor, LOCK_UN)
            close(descriptor)
            descriptor = -1
        }
    }

    deinit { release() }
}
