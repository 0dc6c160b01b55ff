import AgentModel
import CronSchedule
import Foundation

/// What is checked of a value before it is kept. Each throws `ReferenceBackendError.invalidField`.
extension BackendService {
    /// Ids that a client chooses stand in paths and file names, so that the contract's pattern for plugins is theirs.
    static func checkID(_ id: String, field: String) throws(ReferenceBackendError) {
        do {
            _ = try PluginID(id)
        } catch {
            throw .invalidField(
                field, problem: "an id is 1 to 128 of A-Z a-z 0-9 . _ - and begins with a letter or digit")
        }
    }

    /// A line of text that is shown to people.
    static func checkText(_ text: String, field: String) throws(ReferenceBackendError) {
        guard !text.isEmpty else { throw .invalidField(field, problem: "it is empty") }
        guard text.utf8.count <= 1000 else { throw .invalidField(field, problem: "it is longer than 1000 bytes") }
        guard !text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
            throw .invalidField(field, problem: "it holds control characters")
        }
    }

    /// What agents would refuse, the first of it.
    static func checkSandboxRequest(_ request: SandboxRequest) throws(ReferenceBackendError) {
        guard let problem = request.problems.first else { return }
        throw .invalidField(
            problem.field.isEmpty ? "sandbox" : "sandbox." + problem.field, problem: problem.problem)
    }

    static func checkCron(_ cron: String?) throws(ReferenceBackendError) {
        guard let cron else { return }
        do {
            _ = try CronSchedule(cron)
        } catch {
            throw .invalidField("cron", problem: error.message)
        }
    }

    /// The arguments as the JSON text of an object, with the ways of saying "none" made `{}`.
    static func checkedArguments(_ arguments: String) throws(ReferenceBackendError) -> String {
        let task = TaskDocument(id: "", command: "", cron: nil, arguments: arguments)
        let text: String
        do {
            text = try task.normalizedArguments()
        } catch {
            throw .invalidField("arguments", problem: error.message)
        }
        do {
            // The first character was looked at above: it is an object if it is JSON.
            _ = try JSONValue(parsing: Data(text.utf8))
        } catch {
            throw .invalidField("arguments", problem: "they are not the JSON of an object: \(error.sentence)")
        }
        return text
    }
}
