public import AgentModel
import Cryptography
import Diagnostics
public import Foundation

/// The contents of a seed folder: `agent.json`, `tasks.json` and a `plugin-ID.json` for each plugin, all as the
/// contract writes them, and scripts as files of their own where `plugin-ID.py` lies beside `plugin-ID.json`.
public struct SeedFolder: Sendable {
    public var agent: AgentDocument
    public var tasks: [TaskDocument]
    public var plugins: [PluginDocument]

    /// Reads and checks a folder. Blocks.
    /// - Throws: `ReferenceBackendError.seed`, which names the file.
    public init(contentsOf folder: URL) throws(ReferenceBackendError) {
        agent = try Self.document(AgentDocument.self, in: folder, file: "agent.json")
        plugins = try Self.plugins(in: folder)
        let list = try Self.taskList(in: folder)
        if let entry = list.unreadable.first { throw .seed(file: "tasks.json", problem: entry.error.message) }
        tasks = list.tasks
        var ids: Set<TaskID> = []
        for task in tasks where !ids.insert(task.key).inserted {
            throw .seed(file: "tasks.json", problem: "the task id \(quoted(task.id)) is there twice")
        }
    }

    private static func taskList(in folder: URL) throws(ReferenceBackendError) -> TaskList {
        let file = "tasks.json"
        let text = Data(try text(of: folder.appending(path: file)).utf8)
        return try content(
            TaskList.self, of: JSONText.keepingObjects(of: "arguments", atDepth: 3, in: text), file: file)
    }

    private static func plugins(in folder: URL) throws(ReferenceBackendError) -> [PluginDocument] {
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        } catch {
            throw .seed(file: folder.path, problem: error.localizedDescription)
        }
        let files = names.filter { $0.hasPrefix("plugin-") && $0.hasSuffix(".json") }
        for script in names where script.hasPrefix("plugin-") && script.hasSuffix(".py") {
            guard files.contains(script.dropLast(".py".count) + ".json") else {
                throw .seed(file: script, problem: "there is no .json of this name beside it")
            }
        }
        var plugins: [PluginDocument] = []
        for file in files.sorted() { plugins.append(try plugin(in: folder, file: file)) }
        return plugins
    }

    private static func plugin(in folder: URL, file: String) throws(ReferenceBackendError) -> PluginDocument {
        guard case .object(var fields) = try document(JSONValue.self, in: folder, file: file) else {
            throw .seed(file: file, problem: "\"data\" is not an object")
        }
        let scriptFile = folder.appending(path: file.dropLast(".json".count) + ".py")
        if FileManager.default.fileExists(atPath: scriptFile.path) {
            let script = try text(of: scriptFile)
            fields["script"] = .string(script)
            fields["hash"] = .string(SHA512.hash(script.utf8).hex)
        }
        let plugin: PluginDocument
        do {
            plugin = try JSONDecoder().decode(PluginDocument.self, from: Data(JSONValue.object(fields).text.utf8))
        } catch {
            throw .seed(file: file, problem: (error as? DecodingError)?.sentence ?? "\(error)")
        }
        try check(plugin, file: file)
        return plugin
    }

    private static func check(_ plugin: PluginDocument, file: String) throws(ReferenceBackendError) {
        guard file == "plugin-\(plugin.id).json" else {
            throw .seed(file: file, problem: "the id in it is \(quoted(plugin.id)); name the file plugin-ID.json")
        }
        do {
            try BackendService.checkID(plugin.id, field: "id")
            try BackendService.checkText(plugin.name, field: "name")
            if let sandbox = plugin.sandbox { try BackendService.checkSandboxRequest(sandbox) }
        } catch {
            throw .seed(file: file, problem: error.message)
        }
        let hash = SHA512.hash(plugin.script.utf8).hex
        guard plugin.hash.lowercased() == hash else {
            throw .seed(
                file: file,
                problem: "\"hash\" is not the SHA-512 of \"script\", which is \(hash); correct it, or put the script "
                    + "into plugin-\(plugin.id).py beside it to have the hash computed")
        }
        for (name, command) in plugin.commands where !command.hasCallableFunction {
            throw .seed(
                file: file,
                problem: AgentModelError.invalidFunction(command: name, function: command.function).message)
        }
    }

    /// The content of the contract's envelope in a file.
    private static func document<T: Decodable>(
        _ type: T.Type, in folder: URL, file: String
    ) throws(ReferenceBackendError) -> T {
        try content(type, of: Data(try text(of: folder.appending(path: file)).utf8), file: file)
    }

    private static func content<T: Decodable>(
        _ type: T.Type, of text: Data, file: String
    ) throws(ReferenceBackendError) -> T {
        guard !JSONText.isNested(text) else {
            throw .seed(
                file: file, problem: "objects and arrays are nested deeper than \(JSONText.maximumNesting)")
        }
        do {
            return try JSONDecoder().decode(Envelope<T>.self, from: text).data
        } catch {
            throw .seed(file: file, problem: (error as? DecodingError)?.sentence ?? "\(error)")
        }
    }

    private static func text(of file: URL) throws(ReferenceBackendError) -> String {
        let bytes: Data
        do {
            bytes = try Data(contentsOf: file)
        } catch {
            throw .seed(file: file.path, problem: error.localizedDescription)
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw .seed(file: file.path, problem: "it is not UTF-8 text")
        }
        return text
    }
}
