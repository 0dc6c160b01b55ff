public import Diagnostics

/// What can be wrong with a document of the contract.
public enum AgentModelError: CodedError, Equatable {
    /// A PLUGIN_ID that doesn't match the contract's pattern.
    case invalidPluginID(String)
    /// A document lacks a field or has one of the wrong type. `path` is dotted, such as `data[3].command`.
    case invalidField(document: String, path: String, problem: String)
    /// A task with an id and something else that can't be read.
    case invalidTask(id: String, problem: String)
    /// A command names a function that isn't a plain public method name.
    case invalidFunction(command: String, function: String)
    /// Task arguments that aren't the JSON of an object.
    case invalidArguments(problem: String)
    /// What a plugin's document asks of the sandbox can't be read. `field` is empty for the object as a whole.
    case invalidSandboxRequest(field: String, problem: String)

    public var code: String {
        switch self {
        case .invalidPluginID: "plugin.invalid_id"
        case .invalidField: "backend.invalid_document"
        case .invalidTask: "task.invalid_document"
        case .invalidFunction: "plugin.invalid_function"
        case .invalidArguments: "task.invalid_arguments"
        case .invalidSandboxRequest: "plugin.invalid_sandbox_request"
        }
    }

    public var message: String {
        switch self {
        case .invalidPluginID(let text):
            "the plugin id \(quoted(text)) is refused: an id is 1 to 128 of A-Z a-z 0-9 . _ - and begins with a "
                + "letter or digit; correct it in the backend"
        case .invalidField(let document, let path, let problem):
            "the backend's \(document) document is wrong at \(quoted(path)): \(problem)"
        case .invalidTask(let id, let problem):
            "the task \(quoted(id)) can't be run: \(problem); correct it in the backend"
        case .invalidFunction(let command, let function):
            "the command \(quoted(command)) names the function \(quoted(function)), which is not a plain public "
                + "method name; publish the plugin with an identifier that does not begin with an underscore"
        case .invalidArguments(let problem):
            "the arguments are not the JSON text of an object: \(problem); write them as {\"name\": value}"
        case .invalidSandboxRequest(let field, let problem):
            "the plugin's sandbox request is invalid at \(quoted(field.isEmpty ? "sandbox" : "sandbox.\(field)")): "
                + "\(problem); correct it in the plugin's document"
        }
    }
}
