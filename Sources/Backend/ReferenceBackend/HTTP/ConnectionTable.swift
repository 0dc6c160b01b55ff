import NIOCore
import Synchronization

/// The connections that are open, and which of them may be closed to make room.
final class ConnectionTable: Sendable {
    private struct Entry {
        var channel: any Channel
        /// Since when it has waited for the head of a request; nil while it is at work.
        var waitingSince: NIODeadline?
    }

    private let maximum: Int
    private let entries = Mutex<[ObjectIdentifier: Entry]>([:])

    init(maximum: Int) { self.maximum = maximum }

    /// Takes a new connection in. Where there are too many, the one that has waited longest for a request is closed:
    /// idle ones come back by themselves, and half-sent heads are what a flood is made of.
    func open(_ channel: any Channel) {
        let now = NIODeadline.now()
        let victim: (any Channel)? = entries.withLock { entries in
            var victim: (any Channel)?
            if entries.count >= maximum {
                let waiting = entries.filter { $0.value.waitingSince != nil }
                let oldest = waiting.min { ($0.value.waitingSince ?? now) < ($1.value.waitingSince ?? now) }
                if let oldest {
                    entries[oldest.key] = nil
                    victim = oldest.value.channel
                }
            }
            entries[ObjectIdentifier(channel)] = Entry(channel: channel, waitingSince: now)
            return victim
        }
        victim?.close(promise: nil)
    }

    /// Notes that a request has begun, or that the last one is answered.
    func setAtWork(_ isAtWork: Bool, _ channel: any Channel) {
        entries.withLock { $0[ObjectIdentifier(channel)]?.waitingSince = isAtWork ? nil : .now() }
    }

    func close(_ channel: any Channel) {
        entries.withLock { _ = $0.removeValue(forKey: ObjectIdentifier(channel)) }
    }

    /// Whether more connections are at work than there should be.
    var isOverfull: Bool { entries.withLock { $0.count > maximum } }
}
