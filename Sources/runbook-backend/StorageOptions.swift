import ArgumentParser
import Foundation
import ReferenceBackend

/// Where the backend keeps what it knows.
struct StorageOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("The folder of the database.", valueName: "folder"))
    var data = "./backend-data"

    var folder: URL { URL(filePath: data) }

    /// What a backend keeps in the folder, for a command that works beside the server.
    func withExisting<T>(_ body: (BackendService) async throws -> T) async throws -> T {
        // A mistyped folder must not become a new, empty backend.
        let service = try await BackendService.open(dataFolder: folder, creation: .never)
        do {
            let result = try await body(service)
            try await service.close()
            return result
        } catch {
            try await service.close()
            throw error
        }
    }
}
