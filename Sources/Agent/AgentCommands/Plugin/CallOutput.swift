import Foundation
import PluginExecution
import PythonEmbedding
import Synchronization
import Threads

/// Shows what a call writes while it runs.
///
/// On a thread of its own: whoever reads slowly, or has stopped the terminal, holds up neither the call nor its time
/// limit. What may gather is bounded by what is kept of a call's output.
final class CallOutput: Sendable {
    private let texts = BlockingQueue<(stream: StandardStream, text: String)?>()
    private let isWritten = BlockingQueue<Void>()
    private let isClosed = Mutex(false)
    /// Bytes of UTF-8 that were shown of each stream of the call.
    private let shown = Mutex<[StandardStream: Int]>([:])

    /// - Throws: `PythonEmbeddingError` when no thread can be made.
    init(_ standardOutput: FileHandle) throws(PythonEmbeddingError) {
        let (texts, isWritten) = (texts, isWritten)
        try PythonInterpreter.startPlainThread(name: "call-output") {
            while let (stream, text) = texts.pop() {
                Terminal.write(text, on: stream == .output ? standardOutput : .standardError)
            }
            isWritten.push(())
        }
    }

    /// Of the script's loading.
    var loadObserver: OutputObserver { { stream, text in self.texts.push((stream, text)) } }

    var callObserver: OutputObserver {
        { stream, text in
            self.shown.withLock { $0[stream, default: 0] += text.utf8.count }
            self.texts.push((stream, text))
        }
    }

    /// Shows what is left of a call: where output was cut, and what a process that crashed wrote past Python's streams.
    /// Returns when all of it is written.
    func finish(_ outcome: Outcome) {
        let shown = shown.withLock { $0 }
        for (stream, text) in [(StandardStream.output, outcome.stdout), (.errors, outcome.stderr)] {
            texts.push((stream, String(decoding: text.utf8.dropFirst(shown[stream] ?? 0), as: UTF8.self)))
        }
        close()
    }

    /// Returns when all is written that was told so far. Nothing is shown afterwards.
    func close() {
        let isFirst = isClosed.withLock { isClosed in
            defer { isClosed = true }
            return !isClosed
        }
        guard isFirst else { return }
        texts.push(nil)
        isWritten.pop()
    }
}
