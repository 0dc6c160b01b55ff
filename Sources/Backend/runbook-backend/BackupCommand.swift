import AgentModel
import ArgumentParser
import Diagnostics
import Foundation
import ReferenceBackend

struct BackupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Copy the database to a file, also while the server runs.",
        discussion: """
            The file contains everything that was stored when the copy began, and needs no other file beside it. It holds what
            agents reported; it contains no secret that lets a reader act as an agent or administrator.

            EXAMPLE
              runbook-backend backup backend-2026-11-27.sqlite --data ./backend-data
            """)

    @Argument(help: ArgumentHelp("The file to write, with mode 0600.", valueName: "file"))
    var file: String

    @Flag(help: "Overwrite an existing file.")
    var force = false

    @OptionGroup var storage: StorageOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try DatabaseBackup.make(of: storage.folder, into: URL(filePath: file), replaces: force)
        try output.write("wrote the backup \(quoted(file))", json: ["file": file])
    }
}
