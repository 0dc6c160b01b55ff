import AgentModel
import ArgumentParser
import Diagnostics
import Foundation
import ReferenceBackend

struct RestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Restore the database of a folder from a backup.",
        discussion: """
            The server must be stopped. An existing database is kept as backend.sqlite.replaced with
            --force; without it the command refuses. Agents that were logged in when the backup was made stay logged in.

            EXAMPLE
              runbook-backend restore backend-2026-11-27.sqlite --data ./backend-data
            """)

    @Argument(help: ArgumentHelp("A file that \"runbook-backend backup\" wrote.", valueName: "file"))
    var file: String

    @Flag(help: "Move an existing database aside.")
    var force = false

    @OptionGroup var storage: StorageOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try DatabaseBackup.restore(URL(filePath: file), into: storage.folder, replaces: force)
        try await storage.withExisting { service in
            try await service.noteChange("restored the backup \(quoted(file))", by: StorageOptions.user)
        }
        try output.write("restored \(quoted(file)) into \(quoted(storage.data))", json: ["file": file])
    }
}
