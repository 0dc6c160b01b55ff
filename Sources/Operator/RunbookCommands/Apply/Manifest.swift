import AgentModel
import CronSchedule
import Foundation
import Yams

/// What a folder says should be there: the `plugins` and `tasks` of all its YAML and JSON files together.
struct Manifest: Equatable {
    /// Which hosts something is for.
    struct Hosts: Decodable, Equatable {
        var hosts: [String]?
        var teams: [String]?
        var all: Bool?

        /// - Throws: `ClientError.unknownHost`, `.ambiguousHost`.
        func chosen(among agents: [AgentRow]) throws(ClientError) -> [AgentRow] {
            if all == true { return agents }
            var chosen: [AgentRow] = []
            for host in hosts ?? [] { chosen.append(try HostChoice.find(host, among: agents)) }
            chosen += agents.filter { agent in agent.teamID.map { (teams ?? []).contains($0) } ?? false }
            var seen: Set<String> = []
            return chosen.filter { seen.insert($0.id).inserted }
        }
    }

    struct Plugin: Decodable, Equatable {
        /// A path from the file that says so.
        var script: String
        var name: String?
        var version: PluginVersion?
        var description: String?
        /// Command → method.
        var commands: [String: String]
        var on: Hosts?
        /// Read from `script`.
        var source = ""

        private enum CodingKeys: String, CodingKey {
            case script, name, version, description, commands, on
        }
    }

    struct Task: Decodable, Equatable {
        /// A plugin's key and its command with a dot between, or the full name of a command.
        var command: String
        var cron: String?
        var arguments: JSONValue?
        var enabled: Bool?
        var on: Hosts
    }

    /// By their keys.
    var plugins: [String: Plugin] = [:]
    var tasks: [String: Task] = [:]

    private struct File: Decodable {
        var plugins: [String: Plugin]?
        var tasks: [String: Task]?
    }

    private static let known: Set<String> = ["plugins", "tasks"]

    /// Reads a folder, and not those in it.
    /// - Throws: `ClientError.invalidFile`.
    /// - Parameter mayBeEmpty: Whether files that have nothing are fine: all that was applied is to go.
    static func load(from folder: String, mayBeEmpty: Bool = false) throws(ClientError) -> Manifest {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else {
            throw .invalidFile(path: folder, problem: "it is no folder that can be read")
        }
        var manifest = Manifest()
        let files = names.sorted().filter { ["yaml", "yml", "json"].contains(($0 as NSString).pathExtension) }
        for name in files { try manifest.add("\(folder)/\(name)", folder: folder) }
        let hasAny = !manifest.plugins.isEmpty || !manifest.tasks.isEmpty
        guard hasAny || mayBeEmpty && !files.isEmpty else {
            throw .invalidFile(path: folder, problem: "no .yaml or .json file in it has plugins or tasks")
        }
        return manifest
    }

    private mutating func add(_ path: String, folder: String) throws(ClientError) {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw .invalidFile(path: path, problem: "it can't be read")
        }
        let file: File
        guard !data.allSatisfy({ $0 == 0x20 || (0x09...0x0D).contains($0) }) else {
            throw .invalidFile(path: path, problem: "it is empty; write \"plugins: {}\" for none")
        }
        do {
            // JSON is YAML too.
            let fields = try YAMLDecoder().decode([String: JSONValue].self, from: data)
            if let other = fields.keys.sorted().first(where: { !Self.known.contains($0) }) {
                throw ClientError.invalidFile(
                    path: path, problem: "there is no \"\(other)\" here; known are plugins and tasks")
            }
            file = try YAMLDecoder().decode(File.self, from: data)
        } catch let error as ClientError {
            throw error
        } catch DecodingError.dataCorrupted(let context) where context.underlyingError != nil {
            let problem = context.underlyingError.map { "\($0)" } ?? ""
            throw .invalidFile(path: path, problem: problem.replacing("\n", with: " "))
        } catch let error as DecodingError {
            throw .invalidFile(path: path, problem: error.sentence)
        } catch {
            throw .invalidFile(path: path, problem: "\(error)")
        }
        for (key, plugin) in file.plugins ?? [:] {
            try Self.check(key, isNew: plugins[key] == nil, in: path)
            var plugin = plugin
            plugin.source = try ScriptFile.text(of: "\(folder)/\(plugin.script)")
            plugins[key] = plugin
        }
        for (key, task) in file.tasks ?? [:] {
            try Self.check(key, isNew: tasks[key] == nil, in: path)
            if let cron = task.cron {
                do throws(CronScheduleError) {
                    _ = try CronSchedule(cron)
                } catch {
                    throw .invalidFile(path: path, problem: "the task \"\(key)\": \(error.message)")
                }
            }
            tasks[key] = task
        }
    }

    private static func check(_ key: String, isNew: Bool, in path: String) throws(ClientError) {
        guard isNew else { throw .invalidFile(path: path, problem: "the key \"\(key)\" is there twice") }
        let isPlain = key.utf8.allSatisfy { byte in
            byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_") || (0x30...0x39).contains(byte)
                || (0x61...0x7A).contains(byte | 0x20)
        }
        guard isPlain, (1...40).contains(key.utf8.count) else {
            throw .invalidFile(
                path: path, problem: "the key \"\(key)\" is not 1 to 40 letters, digits, hyphens and underscores")
        }
    }
}
