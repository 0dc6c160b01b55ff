import AgentModel
import Cryptography
import Glibc

@testable import PluginStore

extension VerifiedPlugin {
    /// With one command, `ID.run`.
    static func example(_ id: PluginID, script: String = "") -> VerifiedPlugin {
        let digest = SHA512.hash(script.utf8)
        let command = "\(id).run"
        let document = PluginDocument(
            id: id.rawValue, name: id.rawValue, version: nil, description: nil, script: script, hash: digest.hex,
            commands: [command: CommandDocument(id: "c", name: command, function: "run")])
        return VerifiedPlugin(
            id: id, document: document, script: Array(script.utf8), digest: digest, fileName: "\(id).py",
            path: "/\(id).py", identity: FileVersion(stat()))
    }
}
