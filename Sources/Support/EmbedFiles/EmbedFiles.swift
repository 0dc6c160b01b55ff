import Foundation
import PackagePlugin

/// Makes a target's Python files a part of the program: `EmbeddedFiles.main` is the bytes of `main.py`.
///
/// SwiftPM's `.embedInCode` does the same with an array literal of numbers, which the compiler reads at 4 KB a second: 25
/// seconds for `escapes.py`. A string literal takes it no time.
@main struct EmbedFiles: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
        let files = FileManager.default.enumerator(at: target.directoryURL, includingPropertiesForKeys: nil)?
            .compactMap { $0 as? URL }.filter { $0.pathExtension == "py" }
            .sorted { $0.path < $1.path }
        guard let files, !files.isEmpty else {
            Diagnostics.error("\(target.name) has no Python files to embed")
            return []
        }
        let output = context.pluginWorkDirectoryURL.appending(path: "EmbeddedFiles.swift")
        return [
            .buildCommand(
                displayName: "Embedding the Python files of \(target.name)",
                executable: try context.tool(named: "embed-files").url,
                arguments: [output.path] + files.map(\.path), inputFiles: files, outputFiles: [output])
        ]
    }
}
