import AgentModel
import Foundation

/// A plugin's script on this computer.
enum ScriptFile {
    /// - Throws: `ClientError.invalidFile`.
    static func text(of path: String) throws(ClientError) -> String {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw .invalidFile(path: path, problem: "it can't be read")
        }
        guard let text = String(validating: data, as: UTF8.self) else {
            throw .invalidFile(path: path, problem: "it is not UTF-8")
        }
        return text
    }
}
