internal import Glibc
import Synchronization
import Threads

/// One of the two streams that a call writes to, numbered as their descriptors.
public enum StandardStream: UInt64, Sendable {
    case output = 1
    case errors = 2
}

/// Is told what a call writes, while it runs and as far as it is kept. Called on any thread; must return soon.
public typealias OutputObserver = @Sendable (StandardStream, String) -> Void

/// Where one call's output goes while the call runs.
///
/// Python code names it by its number: a thread that outlives its call finds no tap under that number. A process that a
/// plugin has forked has none either: its copy of a lock may be held by a thread that it doesn't have.
final class OutputTap: Sendable {
    /// Never 0, which is none, and never used twice.
    let number: UInt64
    /// In a structure of its own, see `BlockingLock`.
    private struct State {
        /// Nil once it is closed.
        var observer: OutputObserver?
        /// Of a tap that came when the call had written something already: what came before that was known.
        var waiting: [(stream: StandardStream, text: String, start: Int)]?
        /// Of such a tap: how many characters of each stream the observer has. Nil for one that was there from the beginning.
        var told: [StandardStream: Int]?

        mutating func tell(_ stream: StandardStream, _ text: String, at start: Int) {
            guard let before = told?[stream, default: 0] else {
                observer?(stream, text)
                return
            }
            let scalars = text.unicodeScalars
            let known = max(0, before - start)
            guard known < scalars.count else { return }
            told?[stream] = start + scalars.count
            observer?(stream, known == 0 ? text : String(scalars.dropFirst(known)))
        }
    }

    private let state: BlockingLock<State>

    private static let lastNumber = Atomic<UInt64>(0)
    /// The process that the first tap was made in.
    private static let owner = getpid()
    private static let taps = BlockingLock<[UInt64: OutputTap]>([:])

    /// - Parameter isLate: the call has begun: ``begin(output:errors:)`` follows.
    init(_ observer: @escaping OutputObserver, isLate: Bool = false) {
        _ = Self.owner
        number = Self.lastNumber.add(1, ordering: .relaxed).newValue
        state = BlockingLock(State(observer: observer, waiting: isLate ? [] : nil, told: isLate ? [:] : nil))
        Self.taps.withLock { $0[number] = self }
    }

    static func find(_ number: UInt64) -> OutputTap? {
        guard getpid() == owner else { return nil }
        return taps.withLock { $0[number] }
    }

    /// May wait for the observer: not with the GIL.
    ///
    /// - Parameter start: characters of the stream before it.
    func emit(_ stream: StandardStream, _ text: String, at start: Int) {
        state.withLock { state in
            if state.waiting != nil {
                state.waiting?.append((stream, text, start))
            } else {
                state.tell(stream, text, at: start)
            }
        }
    }

    /// What the call had written when this tap came.
    func begin(output: String, errors: String) {
        state.withLock { state in
            guard let waiting = state.waiting else { return }
            state.waiting = nil
            if !output.isEmpty { state.tell(.output, output, at: 0) }
            if !errors.isEmpty { state.tell(.errors, errors, at: 0) }
            for piece in waiting { state.tell(piece.stream, piece.text, at: piece.start) }
        }
    }

    /// When this returns the observer is called no more. May wait for it: not with the GIL.
    func close() {
        guard getpid() == Self.owner else { return }
        Self.taps.withLock { $0[number] = nil }
        state.withLock { $0.observer = nil }
    }
}
