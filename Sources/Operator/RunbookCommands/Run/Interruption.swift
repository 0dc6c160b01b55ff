import Diagnostics
import Dispatch
import Foundation
import Glibc
import Threads

/// Ctrl-C while runs are followed: asks once whether to cancel them; a second one leaves them as they are.
///
/// Unchecked because `source` is only touched by `init` and `deinit`.
final class Interruption: @unchecked Sendable {
    private let hasAsked = BlockingLock(false)
    private let what: String
    private let cancel: @Sendable () async throws -> Void
    private let leave: @Sendable () -> Void
    private let source: any DispatchSourceSignal

    /// - Parameters:
    ///   - what: is to be cancelled, as the question calls it.
    ///   - cancel: has that cancelled.
    ///   - leave: says what stays, before the process ends.
    init(
        _ what: String, cancel: @escaping @Sendable () async throws -> Void, leave: @escaping @Sendable () -> Void
    ) {
        self.what = what
        self.cancel = cancel
        self.leave = leave
        signal(SIGINT, SIG_IGN)
        source = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
        source.setEventHandler { [weak self] in self?.interrupted() }
        source.resume()
    }

    deinit { source.cancel() }

    private func interrupted() {
        let isFirst = hasAsked.withLock { hasAsked in
            defer { hasAsked = true }
            return !hasAsked
        }
        guard isFirst, Screen.isInteractive else {
            leave()
            _exit(3)
        }
        Thread.detachNewThread { [self] in
            let answer = Screen.ask("\nCancel \(what)? [y/N] ")?.lowercased() ?? ""
            guard answer.hasPrefix("y") else { return hasAsked.withLock { $0 = false } }
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
