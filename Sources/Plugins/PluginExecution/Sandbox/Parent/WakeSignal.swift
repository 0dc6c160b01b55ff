import CPrograms
import Glibc
import PythonEmbedding

/// Something that one thread which waits in poll(2) sees, again and again: a pipe that never blocks.
final class WakeSignal: Sendable {
    /// Readable from ``raise()`` to ``clear()``.
    let descriptor: Int32
    private let writingEnd: Int32

    /// - Throws: `PythonEmbeddingError.threadCreationFailed` where there are no descriptors left.
    init() throws(PythonEmbeddingError) {
        var ends: [Int32] = [-1, -1]
        guard rb_open_pipe(&ends) == 0 else { throw .threadCreationFailed(errno: errno) }
        for end in ends { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
        (descriptor, writingEnd) = (ends[0], ends[1])
    }

    deinit {
        close(descriptor)
        close(writingEnd)
    }

    func raise() {
        var byte: UInt8 = 1
        // Where it is full it has been raised.
        _ = write(writingEnd, &byte, 1)
    }

    func clear() {
        var bytes = [UInt8](repeating: 0, count: 64)
        while read(descriptor, &bytes, bytes.count) == bytes.count {}
    }
}
