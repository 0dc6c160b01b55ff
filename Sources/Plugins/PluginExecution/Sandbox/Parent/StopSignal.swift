import AgentModel
import CPrograms
import Glibc
import PythonEmbedding
import Threads

/// Something that threads which wait in poll(2) see: a pipe whose other end is closed.
final class StopSignal: Sendable {
    /// Ready from ``raise()`` on.
    let descriptor: Int32
    private let other: BlockingLock<Int32?>

    /// - Throws: `PythonEmbeddingError.threadCreationFailed` where there are no descriptors left.
    init() throws(PythonEmbeddingError) {
        var ends: [Int32] = [-1, -1]
        guard rb_open_pipe(&ends) == 0 else { throw .threadCreationFailed(errno: errno) }
        descriptor = ends[0]
        other = BlockingLock(ends[1])
    }

    deinit {
        raise()
        close(descriptor)
    }

    func raise() {
        other.withLock { other in
            if let end = other { close(end) }
            other = nil
        }
    }
}
