import AgentModel
import Diagnostics
import Foundation

/// A command's arguments, from the words of a command line.
enum CommandArguments {
    /// The JSON text of an object.
    /// - Parameter json: Such a text, which the words add to.
    /// - Throws: `ClientError.invalidArguments`.
    static func text(of words: [String], json: String?) throws(ClientError) -> String {
        guard !words.isEmpty else {
            guard let json else { return "{}" }
            // As it is: none of its digits are lost.
            _ = try object(json)
            return json
        }
        var fields = try json.map { json throws(ClientError) in try object(json) } ?? [:]
        for word in words {
            guard let mark = word.firstIndex(of: "="), mark != word.startIndex else {
                throw .invalidArguments(problem: "\(quoted(word)) is no argument: write name=value")
            }
            let name = String(word[..<mark])
            guard fields[name] == nil else {
                throw .invalidArguments(problem: "the argument \(quoted(name)) is given twice")
            }
            fields[name] = value(String(word[word.index(after: mark)...]))
        }
        return JSONValue.object(fields).text
    }

    /// A value as JSON where it is that, and as text otherwise.
    private static func value(_ text: String) -> JSONValue {
        guard let parsed = try? JSONValue(parsing: Data(text.utf8)) else { return .string(text) }
        // What would come out as another number is better taken to the letter.
        if case .number = parsed, parsed.text != text { return .string(text) }
        return parsed
    }

    private static func object(_ text: String) throws(ClientError) -> [String: JSONValue] {
        let value: JSONValue
        do throws(JSONProblem) {
            value = try JSONValue(parsing: Data(text.utf8))
        } catch {
            throw .invalidArguments(problem: "--arguments is not JSON: \(error.sentence)")
        }
        guard case .object(let fields) = value else {
            throw .invalidArguments(problem: "--arguments is not a JSON object, such as {\"path\": \"/var\"}")
        }
        return fields
    }
}
