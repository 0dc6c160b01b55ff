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
    }

    private let state: BlockingLock<State>

    private static let lastNumber = Atomic<UInt64>(0)
    /// The process that the first tap was made in.
    private static let owner = getpid()
    private static let taps = BlockingLock<[UInt64: OutputTap]>([:])

    init(_ observer: @escaping OutputObserver) {
        _ = Self.owner
        number = Self.lastNumber.add(1, ordering: .relaxed).newValue
        state = BlockingLock(State(observer: observer))
        Self.taps.withLock { $0[number] = self }
    }

    static func find(_ number: UInt64) -> OutputTap? {
        guard getpid() == owner else { return nil }
        return taps.withLock { $0[number] }
    }

    /// May wait for the observer: not with the GIL.
    func emit(_ stream: StandardStream, _ text: String) {
        state.withLock { $0.observer?(stream, text) }
    }

    /// When this returns the observer is called no more. May wait for it: not with the GIL.
    func close() {
        guard getpid() == Self.owner else { return }
        Self.taps.withLock { $0[number] = nil }
        state.withLock { $0.observer = nil }
    }
}
