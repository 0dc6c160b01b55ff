/// How many letters must be added, dropped, replaced or swapped with their neighbour to make one text of the other
/// (the restricted Damerau-Levenshtein distance).
func editDistance(_ first: String, _ second: String) -> Int {
    let a = Array(first.utf8)
    let b = Array(second.utf8)
    var beforeLast: [Int] = []
    var last = Array(0...b.count)
    for i in a.indices {
        var row = [i + 1]
        for j in b.indices {
            var cost = min(last[j + 1] + 1, row[j] + 1, last[j] + (a[i] == b[j] ? 0 : 1))
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, beforeLast[j - 1] + 1) }
            row.append(cost)
        }
        beforeLast = last
        last = row
    }
    return last[b.count]
}

/// The known name that was probably meant; nil where none is near.
func nearest(to name: String, among known: [String]) -> String? {
    // A name from a file may be long, and no name of ours is.
    guard name.utf8.count <= 64 else { return nil }
    let candidates = known.map { (name: $0, distance: editDistance(name.lowercased(), $0.lowercased())) }
    guard let best = candidates.min(by: { $0.distance < $1.distance }) else { return nil }
    return best.distance <= max(2, name.count / 2) ? best.name : nil
}
