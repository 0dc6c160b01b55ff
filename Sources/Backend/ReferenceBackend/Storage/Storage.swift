/// Where the backend keeps what it knows. The rules are in `BackendService`, once for every kind of storage.
protocol Storage: Sendable {
    /// Whether opening made it.
    var isNew: Bool { get }

    /// Reads one consistent state.
    func read<T: Sendable>(_ body: @escaping @Sendable (any StorageReader) throws -> T) async throws -> T

    /// Changes the storage in one transaction: all that `body` does, or nothing where it throws. What it reads is not
    /// changed by others before it ends. The transaction is on disk before this returns.
    ///
    /// - Parameter body: May be called again where the storage asks for another try, so that it has no effect beside
    ///   what it does to the writer.
    func write<T: Sendable>(_ body: @escaping @Sendable (any StorageWriter) throws -> T) async throws -> T

    /// - Throws: `ReferenceBackendError.storageGone` where the storage is no longer the one that was opened.
    func check() throws(ReferenceBackendError)

    /// Makes what is on disk the whole in as few files as it has at rest. Blocks.
    /// - Returns: False where another process used it at this time.
    func settle() throws -> Bool

    /// Blocks.
    func close() throws

    /// Closes and deletes a storage that opening made. Blocks.
    func discard() throws
}
