import Diagnostics
public import Foundation

/// The body of `POST /api/agent/stack/{REQUEST_ID}`: where a run is in its code (part 2 of the contract, "A run in
/// progress").
public struct RunStack: Codable, Equatable, Sendable {
    /// Nil where no such run is under way.
    public var runID: String?
    /// Text like a traceback; nil where it could not be told.
    public var pythonStack: String?
    /// Nil where the agent doesn't say.
    public var takenAt: Date?

    public init(runID: String?, pythonStack: String?, takenAt: Date?) {
        self.runID = runID
        self.pythonStack = pythonStack
        self.takenAt = takenAt
    }

    private enum CodingKeys: String, CodingKey {
        case runID = "run_id"
        case pythonStack = "python_stack"
        case takenAt = "taken_at"
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        runID = try container.decodeIfPresent(String.self, forKey: .runID)
        pythonStack = try container.decodeIfPresent(String.self, forKey: .pythonStack)
        takenAt = try container.decodeTime(forKey: .takenAt)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(runID, forKey: .runID)
        try container.encode(pythonStack, forKey: .pythonStack)
        try container.encode(takenAt.map(RFC3339.string(from:)), forKey: .takenAt)
    }
}
