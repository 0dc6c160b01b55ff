import AgentModel
import ArgumentParser
import Diagnostics
import Foundation
import ReferenceBackend

/// Where the backend keeps what it knows.
struct StorageOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("The folder that holds the database.", valueName: "folder"))
    var data = "./backend-data"

    /// Who runs the command, for the server's log.
    static var user: String {
        let entry = getpwuid(getuid())?.pointee.pw_name.map { String(cString: $0) }
        let name = "\(entry ?? "unknown") (user \(getuid())) by a command"
        return ProcessInfo.processInfo.environment["SUDO_USER"].map { "\(name), through sudo as \(quoted($0))" } ?? name
    }

    /// Changes what a backend keeps in the folder, and has the server log who did.
    /// - Parameter what: Of the result, as a sentence without a subject.
    func change<T>(_ body: (BackendService) async throws -> T, _ what: (T) -> String) async throws -> T {
        try await withExisting { service in
            let result = try await body(service)
            try await service.noteChange(what(result), by: Self.user)
            return result
        }
    }

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
