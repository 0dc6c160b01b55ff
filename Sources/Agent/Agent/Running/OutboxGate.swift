/// Whether there is room for the results of what is started now.
///
/// What is in the outbox is kept however long the backend stays away; so there must be an end to what is added.
struct OutboxGate: Sendable, Equatable {
    private(set) var isFull = false

    /// Looks at what the outbox holds.
    ///
    /// - Parameters:
    ///   - bytes: of what is in it or about to be.
    ///   - limit: past which nothing is started.
    /// - Returns: whether that has changed.
    mutating func note(bytes: Int, limit: Int) -> Bool {
        // Full until a tenth is free again, or every result that is delivered would end it and begin it anew.
        let mark = isFull ? limit - limit / 10 : limit
        let wasFull = isFull
        isFull = bytes >= mark && bytes > 0
        return isFull != wasFull
    }
}
