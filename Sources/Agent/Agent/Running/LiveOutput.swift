import AgentModel
import Foundation
import PythonEmbedding
import Synchronization

/// What a watched run has printed so far, and how much of it the backend has.
///
/// All of it is kept for as long as the run goes on, because a backend that was restarted wants it again; the executor hands
/// on no more than the result will have.
final class LiveOutput: Sendable {
    private struct State {
        /// In the order in which it was printed.
        var chunks: [OutputChunk] = []
        var ends: [OutputChunk.Stream: Int] = [:]
        /// What the backend has of each stream.
        var sent: [OutputChunk.Stream: Int] = [:]
        /// The last piece of each.
        var last: [OutputChunk.Stream: Int] = [:]
        var isClosed = false
        /// Whether the backend is to be asked where it goes on.
        var asks = false

        /// The piece that a stream goes on in. Where both streams are written to in turn, each letter would be a piece of its own:
        /// past ``mostChunks`` their order among each other is lost.
        func openChunk(of stream: OutputChunk.Stream) -> Int? {
            guard let index = last[stream], chunks[index].bytes.count < pieceSize,
                index == chunks.count - 1 || chunks.count >= mostChunks
            else { return nil }
            return index
        }
    }

    private let state = Mutex(State())
    /// Rung when something was printed, and at the end.
    let change = Alarm()

    /// Called by the executor, on any thread.
    func append(_ stream: StandardStream, _ text: String) {
        let stream: OutputChunk.Stream = stream == .output ? .stdout : .stderr
        state.withLock { state in
            var rest = Data(text.utf8)[...]
            while !rest.isEmpty {
                let offset = state.ends[stream] ?? 0
                // Many small writes are few pieces, and a large one is several.
                if let open = state.openChunk(of: stream) {
                    let bytes = rest.prefix(Self.pieceSize - state.chunks[open].bytes.count)
                    state.chunks[open].bytes.append(bytes)
                    rest = rest.dropFirst(bytes.count)
                    state.ends[stream] = offset + bytes.count
                } else {
                    state.last[stream] = state.chunks.count
                    state.chunks.append(OutputChunk(stream: stream, offset: offset, bytes: Data()))
                }
            }
        }
        change.ring()
    }

    /// Somebody wants it anew: the backend may have been restarted, and have nothing of it any more.
    func askAgain() {
        state.withLock { $0.asks = true }
        change.ring()
    }

    /// Whether there is something to ask or to send, which ``unsent(limit:)`` has.
    func takeQuestion() -> Bool { state.withLock { exchange(&$0.asks, with: false) } }

    /// The run has ended: what was not sent is in its result.
    func close() {
        state.withLock { $0.isClosed = true }
        change.ring()
    }

    var isClosed: Bool { state.withLock { $0.isClosed } }

    /// What the backend doesn't have yet, up to so many bytes.
    func unsent(limit: Int = 4 * pieceSize) -> [OutputChunk] {
        state.withLock { state in
            var (chunks, size) = ([OutputChunk](), 0)
            for chunk in state.chunks {
                guard size < limit else { break }
                guard let rest = chunk.dropping(before: state.sent[chunk.stream] ?? 0) else { continue }
                chunks.append(rest)
                size += rest.bytes.count
            }
            return chunks
        }
    }

    /// The backend has these, and says where it goes on where it says anything.
    func sent(_ chunks: [OutputChunk], _ receipt: RunOutput.Receipt?) {
        state.withLock { state in
            for chunk in chunks { state.sent[chunk.stream] = max(state.sent[chunk.stream] ?? 0, chunk.end) }
            for stream in OutputChunk.Stream.allCases {
                guard let next = receipt?.next[stream.rawValue], next >= 0 else { continue }
                state.sent[stream] = min(next, state.ends[stream] ?? 0)
            }
        }
    }

    static let pieceSize = 16 << 10
    static let mostChunks = 4096
}
