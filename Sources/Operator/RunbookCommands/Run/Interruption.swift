import Diagnostics
import Dispatch
import Foundation
import Glibc
import Threads

/// Ctrl-C while a run is followed: asks once whether to cancel it; a second one leaves.
///
/// Unchecked because `source` is only touched by `init` and `deinit`.
final class Interruption: @unchecked Sendable {
    private enum State {
        case none, asked, left
    }

    private let state = BlockingLock(State.none)
    private let cancel: @Sendable () async throws -> Void
    private let source: any DispatchSourceSignal

    /// - Parameter cancel: Has the run cancelled.
    init(_ cancel: @escaping @Sendable () async throws -> Void) {
        self.cancel = cancel
        signal(SIGINT, SIG_IGN)
        source = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
        source.setEventHandler { [weak self] in self?.interrupted() }
        source.resume()
    }

    deinit { source.cancel() }

    /// Whether the person waits no more.
    var hasLeft: @Sendable () -> Bool { { [self] in state.withLock { $0 == .left } } }

    private func interrupted() {
        let isFirst = state.withLock { state in
            defer { state = state == .none && Screen.isInteractive ? .asked : .left }
            return state == .none && Screen.isInteractive
        }
        guard isFirst else { return }
        Thread.detachNewThread { [self] in
            let answer = Screen.ask("\nCancel the run? [y/N] ")?.lowercased() ?? ""
            guard answer.hasPrefix("y") else { return state.withLock { $0 = .left } }
            Task {
                do {
                    try await self.cancel()
                } catch {
                    Screen.writeError((error as? any CodedError)?.message ?? "\(error)")
                }
            }
        }
    }
}
