import AgentModel

/// The ids of all one-off tasks that have started, in 16 bytes each and an eighth more.
///
/// Two seeded SipHash values stand for an id: at a billion ids the chance of any two colliding is below 10⁻²⁰. The
/// database stays the judge when a run starts; this answers for whole task lists without asking it.
///
/// Many small sorted arrays and not one `Set`: that doubles at once, to twice what it needs, while an agent lives
/// for months and this is what grows with every task that it ever ran. There are more arrays where there is more to
/// keep, so that none becomes long: to insert into one takes as long as it is.
struct OneOffTasks: Sendable {
    private struct Fingerprint: Comparable {
        let first: UInt64
        let second: UInt64

        static func < (lhs: Fingerprint, rhs: Fingerprint) -> Bool {
            lhs.first == rhs.first ? lhs.second < rhs.second : lhs.first < rhs.first
        }
    }

    private static let firstShardBits = 10
    /// How many stand in an array before there are twice as many arrays: 8 KiB.
    private static let shardSize = 512

    private var shardBits: Int
    /// By the first bits of the fingerprint.
    private var shards: [[Fingerprint]]
    private(set) var count = 0

    /// - Parameter shardBits: the binary logarithm of how many arrays there are at first.
    init(shardBits: Int = Self.firstShardBits) {
        self.shardBits = shardBits
        shards = Array(repeating: [], count: 1 << shardBits)
    }

    /// All at once, which takes less than one after the other.
    ///
    /// - Parameter count: how many there will be, or about.
    init(expecting count: Int, shardBits: Int = Self.firstShardBits, _ next: () throws -> String?) rethrows {
        self.init(shardBits: shardBits)
        while count / (1 << self.shardBits) >= Self.shardSize / 2 { self.shardBits += 1 }
        shards = Array(repeating: [], count: 1 << self.shardBits)
        let share = count / shards.count
        for index in shards.indices { shards[index].reserveCapacity(share + share / 8) }
        while let taskID = try next() {
            let fingerprint = Self.fingerprint(of: taskID)
            let shard = shard(of: fingerprint)
            makeRoom(in: shard)
            shards[shard].append(fingerprint)
        }
        for index in shards.indices {
            shards[index].sort()
            // Ids are unique in the database; a damaged one may say one twice.
            for place in shards[index].indices.dropFirst().reversed()
            where shards[index][place] == shards[index][place - 1] {
                shards[index].remove(at: place)
            }
            self.count += shards[index].count
        }
    }

    mutating func insert(_ taskID: String) {
        let fingerprint = Self.fingerprint(of: taskID)
        let shard = shard(of: fingerprint)
        let place = Self.place(of: fingerprint, in: shards[shard])
        guard place == shards[shard].count || shards[shard][place] != fingerprint else { return }
        makeRoom(in: shard)
        shards[shard].insert(fingerprint, at: place)
        count += 1
        if count > shards.count * Self.shardSize { split() }
    }

    /// By an eighth, where an array of its own accord would double.
    private mutating func makeRoom(in shard: Int) {
        let size = shards[shard].count
        if size == shards[shard].capacity { shards[shard].reserveCapacity(size + size / 8 + 4) }
    }

    /// Makes two arrays of each.
    private mutating func split() {
        shardBits += 1
        var halves: [[Fingerprint]] = []
        halves.reserveCapacity(1 << shardBits)
        for index in shards.indices {
            // One after the other, so that there is little twice.
            let whole = exchange(&shards[index], with: [])
            let first = whole.firstIndex { shard(of: $0) == 2 * index + 1 } ?? whole.count
            halves.append(Array(whole[..<first]))
            halves.append(Array(whole[first...]))
        }
        shards = halves
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

    private func shard(of fingerprint: Fingerprint) -> Int { Int(fingerprint.first >> UInt64(64 - shardBits)) }

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
