/// The ids of all one-off tasks that have started, in 16 bytes each.
///
/// Two seeded SipHash values stand for an id: at a billion ids the chance of any two colliding is below 10⁻²⁰. The
/// database stays the judge when a run starts; this answers for whole task lists without asking it.
struct OneOffTasks: Sendable {
    private struct Fingerprint: Hashable {
        let first: UInt64
        let second: UInt64
    }

    private var fingerprints: Set<Fingerprint> = []

    var count: Int { fingerprints.count }

    mutating func reserveCapacity(_ count: Int) { fingerprints.reserveCapacity(count) }

    mutating func insert(_ taskID: String) { fingerprints.insert(Self.fingerprint(of: taskID)) }

    func contains(_ taskID: String) -> Bool { fingerprints.contains(Self.fingerprint(of: taskID)) }

    private static func fingerprint(of taskID: String) -> Fingerprint {
        var hasher = Hasher()
        hasher.combine(taskID)
        var second = hasher
        second.combine(UInt8(1))
        return Fingerprint(
            first: UInt64(bitPattern: Int64(hasher.finalize())), second: UInt64(bitPattern: Int64(second.finalize())))
    }
}
