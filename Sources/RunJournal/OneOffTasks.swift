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

    /// How many of the first bits of a fingerprint name its shard.
    private var shardBits: UInt64 = 10
    private var shards: [[Fingerprint]]
    private(set) var count = 0
    /// Fingerprints in a shard, on average, past which the shards are split: what an insertion moves stays small.
    private let shardSize: Int

    init(shardSize: Int = 1024) {
        self.shardSize = shardSize
        shards = Array(repeating: [], count: 1 << shardBits)
    }

    /// Takes many at once, in time proportional to their number and its logarithm.
    ///
    /// - Parameters:
    ///   - expected: how many come, roughly.
    ///   - next: the next id; nil after the last.
    init(expected: Int, shardSize: Int = 1024, next: () throws -> String?) rethrows {
        self.shardSize = shardSize
        while expected > shardSize << shardBits { shardBits += 1 }
        shards = Array(repeating: [], count: 1 << shardBits)
        let share = expected / shards.count
        for index in shards.indices { shards[index].reserveCapacity(share + share / 8) }
        while let taskID = try next() {
            let fingerprint = Self.fingerprint(of: taskID)
            shards[shard(of: fingerprint)].append(fingerprint)
            count += 1
        }
        for index in shards.indices { shards[index].sort() }
    }

    mutating func insert(_ taskID: String) {
        if count >= shardSize << shardBits { split() }
        let fingerprint = Self.fingerprint(of: taskID)
        let shard = shard(of: fingerprint)
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
        let shard = shard(of: fingerprint)
        let place = Self.place(of: fingerprint, in: shards[shard])
        guard place < shards[shard].count, shards[shard][place] == fingerprint else { return }
        shards[shard].remove(at: place)
        count -= 1
    }

    func contains(_ taskID: String) -> Bool {
        let fingerprint = Self.fingerprint(of: taskID)
        let shard = shards[shard(of: fingerprint)]
        let place = Self.place(of: fingerprint, in: shard)
        return place < shard.count && shard[place] == fingerprint
    }

    private func shard(of fingerprint: Fingerprint) -> Int { Int(fingerprint.first >> (64 - shardBits)) }

    /// Makes two shards of each, one after the other, so that no more than one is there twice.
    private mutating func split() {
        shardBits += 1
        var halves: [[Fingerprint]] = []
        halves.reserveCapacity(shards.count * 2)
        for index in shards.indices {
            let whole = shards[index]
            shards[index] = []
            let middle = whole.partitioningIndex { shard(of: $0) & 1 == 1 }
            halves.append(Array(whole[..<middle]))
            halves.append(Array(whole[middle...]))
        }
        shards = halves
    }

    /// The first that isn't smaller.
    private static func place(of fingerprint: Fingerprint, in shard: [Fingerprint]) -> Int {
        shard.partitioningIndex { $0 >= fingerprint }
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

extension Array {
    /// The index of the first element that the predicate holds for; it holds for all after that.
    fileprivate func partitioningIndex(where predicate: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if predicate(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
