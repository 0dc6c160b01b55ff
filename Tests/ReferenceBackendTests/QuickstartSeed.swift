import AgentTestSupport
import Foundation

/// The contract's example, as a newcomer gets it.
enum QuickstartSeed {
    static let agentID = "9ab55db0-9bfa-45a6-8280-bb94c6b0fe8d"
    static let pluginID = "9ab56426-f429-4c4b-9755-40c92449f0be"
    static let greetTask = "9ab581cf-546d-405a-afaf-474cc631ed5c"
    static let squareTask = "9ab582f7-9e64-4fad-b6b9-369633776ae4"
    /// As the contract writes it.
    static let hash =
        "809c167b7b1e7fb9504dc136af3c2dc1c17545355a9aaec28c3792e54bc540943db236b6af547a732161b5d717c9b14a"
        + "7c508ab49b3f06e128997de06b3abfd3"

    static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Examples/quickstart")

    static var scriptFile: String { "plugin-\(pluginID).py" }
    static var documentFile: String { "plugin-\(pluginID).json" }

    /// A copy that a test may edit.
    static func copy() throws -> TemporaryFolder {
        let copy = try TemporaryFolder()
        for name in ["agent.json", "tasks.json", documentFile, scriptFile] {
            try FileManager.default.copyItem(at: folder.appending(path: name), to: copy.url.appending(path: name))
        }
        return copy
    }
}
