import AgentModel
import Foundation
import PluginStore

/// A plugin that a person has as a file: a script, or a document that is checked like one of a backend.
struct PluginFile {
    let id: PluginID
    let script: [UInt8]
    let path: String

    /// - Throws: `PluginStoreError`, `PluginFileError`.
    init(path: String) throws {
        self.path = URL(filePath: path).path()
        let verification = try PluginStore.verifyFile(path)
        let content: Data
        do {
            content = try Data(contentsOf: URL(filePath: path))
        } catch {
            throw PluginFileError.unreadable(path: path, problem: error.localizedDescription)
        }
        switch verification.subject {
        case .document(let id):
            let decoder = JSONDecoder()
            let document =
                (try? decoder.decode(Envelope<PluginDocument>.self, from: content).data)
                ?? (try? decoder.decode(PluginDocument.self, from: content))
            guard let document else { throw PluginFileError.unreadable(path: path, problem: "it is not a document") }
            self.id = try PluginID(id)
            script = Array(document.script.utf8)
        case .script, .scriptWithDocument:
            id = try PluginID("file")
            script = Array(content)
        }
    }
}

/// Why a plugin's file can't be used.
enum PluginFileError: CodedError {
    case unreadable(path: String, problem: String)

    var code: String { "plugin.unreadable_file" }

    var message: String {
        switch self {
        case .unreadable(let path, let problem):
            "the plugin \(quoted(path)) can't be read: \(problem); name a script or a plugin document"
        }
    }
}
