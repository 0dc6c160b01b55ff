internal import CPython
internal import Foundation
import Glibc

/// A thread of the operating system that blocks as it likes: taking the GIL, waiting for work, running a plugin.
///
/// It isn't joined: a plugin may hold it for ever, and the process ends with `_exit`.
enum NativeThread {
    /// - Parameter acceptsSignals: whether its signal mask is empty, as code that starts programs needs it.
    /// - Throws: ``PythonEmbeddingError/threadCreationFailed(errno:)``.
    static func start(
        name: String, acceptsSignals: Bool = false, _ body: @escaping @Sendable () -> Void
    ) throws(PythonEmbeddingError) {
        let argument = Unmanaged.passRetained(
            Start(name: name, acceptsSignals: acceptsSignals, body: body)
        ).toOpaque()
        let result = create(argument)
        guard result == 0 else {
            Unmanaged<Start>.fromOpaque(argument).release()
            throw .threadCreationFailed(errno: result)
        }
    }

    /// Returns 0, or what pthread_create(3) says.
    private static func create(_ argument: UnsafeMutableRawPointer) -> Int32 {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        // The main thread's usual size: deep recursion in C extensions is tested by their authors on that.
        pthread_attr_setstacksize(&attributes, 8 << 20)
        var thread = pthread_t()
        let result = pthread_create(&thread, &attributes, run, argument)
        pthread_attr_destroy(&attributes)
        return result
    }

    private static let run: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
        guard let argument else { return nil }
        let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
        setThreadName(start.name)
        if start.acceptsSignals {
            // Whoever made the thread may have blocked them, as the threads of libdispatch do, and programs inherit that.
            var none = sigset_t()
            sigemptyset(&none)
            pthread_sigmask(SIG_SETMASK, &none, nil)
        }
        start.body()
        return nil
    }

    /// Names the current thread for `top -H` and core dumps. The kernel keeps 15 bytes (prctl(2), PR_SET_NAME).
    private static func setThreadName(_ name: String) {
        // Not through /proc, whose files belong to root where core dumps are off.
        Thread.current.name = String(decoding: name.utf8.prefix(15), as: UTF8.self)
    }

    private final class Start: Sendable {
        let name: String
        let acceptsSignals: Bool
        let body: @Sendable () -> Void

        init(name: String, acceptsSignals: Bool, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.acceptsSignals = acceptsSignals
            self.body = body
        }
    }
}

extension PythonInterpreter {
    /// Starts a thread without a place in the interpreter, for work that must go on while the GIL is held.
    ///
    /// - Throws: ``PythonEmbeddingError/threadCreationFailed(errno:)``.
    public static func startPlainThread(
        name: String, _ body: @escaping @Sendable () -> Void
    ) throws(PythonEmbeddingError) {
        try NativeThread.start(name: name, body)
    }

    /// Starts a thread with a permanent place in the interpreter and runs a closure on it; the thread ends with the
    /// closure.
    ///
    /// - Throws: ``PythonEmbeddingError/threadCreationFailed(errno:)``.
    public func startThread(
        name: String, _ body: @escaping @Sendable (borrowing PythonAttachment) -> Void
    ) throws(PythonEmbeddingError) {
        try NativeThread.start(name: name, acceptsSignals: true) { [self] in
            let attachment = makeAttachment()
            body(attachment)
            attachment.detach()
        }
    }
}
