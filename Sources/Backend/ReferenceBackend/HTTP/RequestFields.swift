import AgentModel
import Foundation
import Hummingbird

/// The fields of a request's JSON object, each read with the error that names it.
struct RequestFields {
    private let fields: [String: JSONValue]

    /// - Parameter known: Any other field is refused, because a misspelt one would go unnoticed: a task with `corn`
    ///   would run once instead of on its schedule.
    ///
    /// An object that is given for `arguments` is read as its text, so that none of its digits are lost.
    init(_ request: Request, known: [String], limit: Int) async throws {
        var body = try await request.bodyData(limit: limit)
        if known.contains("arguments") { body = JSONText.keepingObjects(of: "arguments", atDepth: 1, in: body) }
        let value: JSONValue
        do {
            value = try JSONValue(parsing: body)
        } catch {
            throw ReferenceBackendError.invalidBody(problem: "it is not JSON: \(error.sentence)")
        }
        guard case .object(let fields) = value else {
            throw ReferenceBackendError.invalidBody(problem: "it is not a JSON object")
        }
        try Self.refuseUnknown(fields.keys, known: known)
        self.fields = fields
    }

    static func refuseUnknown(_ names: some Sequence<String>, known: [String]) throws(ReferenceBackendError) {
        for name in names.sorted() where !known.contains(name) {
            throw .invalidField(
                name, problem: "there is no such field here; known are \(known.joined(separator: ", "))")
        }
    }

    func value(_ name: String) -> JSONValue? { fields[name] }

    /// A string that must be there.
    func string(_ name: String) throws(ReferenceBackendError) -> String {
        guard let text = try optionalString(name) else { throw .invalidField(name, problem: "it is missing") }
        return text
    }

    /// A string, or nil where it is null or missing.
    func optionalString(_ name: String) throws(ReferenceBackendError) -> String? {
        switch fields[name] {
        case nil, .null: nil
        case .string(let text): text
        default: throw .invalidField(name, problem: "it is not a string")
        }
    }

    /// A string, null, or no change where it is missing.
    func change(_ name: String) throws(ReferenceBackendError) -> Change<String?> {
        fields[name] == nil ? .keep : .set(try optionalString(name))
    }

    func bool(_ name: String) throws(ReferenceBackendError) -> Bool? {
        switch fields[name] {
        case nil: nil
        case .bool(let value): value
        default: throw .invalidField(name, problem: "it is neither true nor false")
        }
    }
}

extension Request {
    /// The whole body.
    ///
    /// What it holds in memory is to be counted by a ``BodyBudget``.
    /// - Throws: `ReferenceBackendError.tooLarge`.
    func bodyData(limit: Int) async throws -> Data {
        do {
            return Data(try await body.collect(upTo: limit).readableBytesView)
        } catch let error as any HTTPResponseError where error.status == .contentTooLarge {
            throw ReferenceBackendError.tooLarge(limit: limit)
        }
    }

    /// The token of `Authorization: Bearer TOKEN` (RFC 6750, section 2.1); nil where there is none.
    var bearerToken: String? {
        guard let value = headers[.authorization] else { return nil }
        let parts = value.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else { return nil }
        return parts[1].trimmingCharacters(in: .whitespaces)
    }

    /// A parameter of the query; nil where it is missing or empty.
    func query(_ name: String) -> String? {
        uri.queryParameters[name[...]].flatMap { $0.isEmpty ? nil : String($0) }
    }

    /// Refuses parameters that a list doesn't know, and reads the page that is wanted.
    func page(filters: [String] = []) throws -> PageRequest {
        try RequestFields.refuseUnknown(
            uri.queryParameters.map { String($0.key) }, known: ["limit", "cursor"] + filters)
        let limit = try number("limit").map { Int(clamping: $0) } ?? PageRequest.defaultLimit
        return try PageRequest(limit: limit, cursor: try number("cursor"))
    }

    private func number(_ name: String) throws(ReferenceBackendError) -> Int64? {
        guard let text = query(name) else { return nil }
        guard let number = Int64(text) else { throw .invalidField(name, problem: "it is not a number") }
        return number
    }
}
