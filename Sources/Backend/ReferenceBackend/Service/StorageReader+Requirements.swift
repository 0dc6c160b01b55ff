/// What has to be there.
extension StorageReader {
    /// - Throws: `ReferenceBackendError.notFound`.
    func requireAgent(_ id: String) throws -> RegisteredAgent {
        guard let agent = try agent(id) else { throw ReferenceBackendError.notFound(.agent, id: id) }
        return agent
    }

    /// - Throws: `ReferenceBackendError.notFound`.
    func requirePlugin(_ id: String) throws -> PublishedPlugin {
        guard let plugin = try plugin(id) else { throw ReferenceBackendError.notFound(.plugin, id: id) }
        return plugin
    }

    /// - Throws: `ReferenceBackendError.notFound`.
    func requireTask(_ id: String) throws -> RegisteredTask {
        guard let task = try task(id) else { throw ReferenceBackendError.notFound(.task, id: id) }
        return task
    }
}
