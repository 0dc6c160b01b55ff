import AgentModel

/// The ids of all one-off tasks that have started, in 16 bytes each and an eighth more.
///
/// Two seeded SipHash values stand for an id: at a billion ids the chance of any two colliding is below 10⁻²⁰. The
/// database stays the judge when a run starts; this answers for whole task lists without asking it.
///
/// Many small sorted arrays and not one `Set`: that doubles at once, to twice what it needs, while an agent lives
/// for months and this is what grows with every task that it ever ran.
struct OneOffTasks: Sendable {
    private struct Fingerprint: Comparable {
        let first: UInt64
        let second: UInt64

        static func < (lhs: Fingerprint, rhs: Fingerprint) -> Bool {
            lhs.first == rhs.first ? lhs.second < rhs.second : lhs.first < rhs.first
        }
    }

    private static let shardBits: UInt64 = 10

    /// By the first bits of the fingerprint.
    private var shards: [[Fingerprint]] = Array(repeating: [], count: 1 << shardBits)
    private(set) var count = 0

    mutating func reserveCapacity(_ count: Int) {
        let share = count / shards.count
        for index in shards.indices { shards[index].reserveCapacity(share + share / 8) }
    }

    mutating func insert(_ taskID: String) {
        let fingerprint = Self.fingerprint(of: taskID)
        let shard = Self.shard(of: fingerprint)
        let place = Self.place(of: fingerprint, in: shards[shard])
        guard place == shards[shard].count || shards[shard][place] != fingerprint else { return }
        let size = shards[shard].count
        // By an eighth, where an array of its own accord would double.
        if size == shards[shard].capacity { shards[shard].reserveCapacity(size + size / 8 + 4) }
        shards[shard].insert(fingerprint, at: place)
        count += 1
    }

    mutating func remove(_ taskID: String) {
        let fingerprint = Self.fingerprint(of: taskID)
        let shard = Self.shard(of: fingerprint)
        let place = Self.place(of: fingerprint, in: shards[shard])
        guard place < shards[shard].count, shards[shard][place] == fingerprint else { return }
        shards[shard].remove(at: place)
        count -= 1
    }

    func contains(_ taskID: String) -> Bool {
        let fingerprint = Self.fingerprint(of: taskID)
        let shard = shards[Self.shard(of: fingerprint)]
        let place = Self.place(of: fingerprint, in: shard)
        return place < shard.count && shard[place] == fingerprint
    }

    private static func shard(of fingerprint: Fingerprint) -> Int { Int(fingerprint.first >> (64 - shardBits)) }

    /// The first that isn't smaller.
    private static func place(of fingerprint: Fingerprint, in shard: [Fingerprint]) -> Int {
        var (low, high) = (0, shard.count)
        while low < high {
            let middle = (low + high) / 2
            if shard[middle] < fingerprint { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private static func fingerprint(of taskID: String) -> Fingerprint {
        var hasher = Hasher()
        hasher.combine(TaskID(taskID))
        var second = hasher
        second.combine(UInt8(1))
        return Fingerprint(
            first: UInt64(bitPattern: Int64(hasher.finalize())), second: UInt64(bitPattern: Int64(second.finalize())))
    }
}
