import AgentModel
import ArgumentParser
import CommandOutput
import Cryptography
import Foundation
import PluginStore

struct PluginVerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Check plugins against their SHA-512.",
        discussion: """
            Without an argument, all stored plugins are checked. A file may be a plugin document (.json), or a script with
            its document beside it under the same name. Exits 1 if any does not match or has nothing to compare
            with.

            EXAMPLE
              runbook-agent plugin verify ./plugin-9ab56426-f429-4c4b-9755-40c92449f0be.json
            """)

    @Argument(help: ArgumentHelp("A plugin's id, or a file.", valueName: "id or file"))
    var subject: String?

    @OptionGroup var configurationOptions: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let rows: [Row]
        if let subject, PluginSubject(subject) == .file {
            rows = [Row(file: subject)]
        } else if let subject {
            let id = try PluginID(subject)
            rows = [Row(try await StoredPlugins.holding(id, configurationOptions.load()).entry(id))]
        } else {
            rows = try await StoredPlugins.ifPresent(configurationOptions)?.entries().map(Row.init) ?? []
        }
        try output.renderer.print(rows)
        guard rows.allSatisfy(\.verified) else { throw ExitCode.failure }
    }

    private struct Row: Listable {
        let subject: String
        let verified: Bool
        let sha512: String?
        let code: String?
        let problem: String?

        init(_ entry: StoredPlugins.Entry) {
            subject = entry.id.rawValue
            verified = entry.error == nil
            sha512 = entry.error == nil ? entry.document?.hash.lowercased() : nil
            code = entry.error?.code
            problem = entry.error?.message
        }

        init(file: String) {
            subject = file
            do throws(PluginStoreError) {
                let verification = try PluginStore.verifyFile(file)
                sha512 = verification.digest.hex
                if case .script = verification.subject {
                    verified = false
                    code = "plugin.no_document"
                    problem = "no document to compare with; the SHA-512 of the script is \(verification.digest.hex)"
                } else {
                    (verified, code, problem) = (true, nil, nil)
                }
            } catch {
                sha512 = nil
                (verified, code, problem) = (false, error.code, error.message)
            }
        }

        static let header = ["PLUGIN", "RESULT", "SHA-512 OR PROBLEM"]
        var cells: [String] { [subject, verified ? "matches" : (code ?? ""), problem ?? sha512 ?? ""] }
    }
}

/// What a person names: a stored plugin or a file.
enum PluginSubject {
    case stored
    case file

    init(_ text: String) {
        let looksLikeFile = text.contains("/") || text.hasSuffix(".py") || text.hasSuffix(".json")
        self = looksLikeFile || FileManager.default.fileExists(atPath: text) ? .file : .stored
    }
}
