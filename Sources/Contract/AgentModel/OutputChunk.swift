public import Foundation

/// A piece of what a run prints while it runs (part 2 of the contract, "Live output").
public struct OutputChunk: Codable, Equatable, Sendable {
    public enum Stream: String, Codable, Hashable, Sendable, CaseIterable {
        case stdout, stderr
    }

    public var stream: Stream
    /// Of its first byte in its stream.
    public var offset: Int
    public var bytes: Data

    public init(stream: Stream, offset: Int, bytes: Data) {
        self.stream = stream
        self.offset = offset
        self.bytes = bytes
    }

    /// Behind its last byte.
    public var end: Int { offset + bytes.count }

    /// What of it begins at an offset or behind that; nil where that is nothing.
    public func dropping(before offset: Int) -> OutputChunk? {
        guard offset < end else { return nil }
        guard offset > self.offset else { return self }
        return OutputChunk(stream: stream, offset: offset, bytes: Data(bytes.dropFirst(offset - self.offset)))
    }

    private enum CodingKeys: String, CodingKey {
        case stream, offset, text, base64
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        stream = try container.decode(Stream.self, forKey: .stream)
        offset = try container.decode(Int.self, forKey: .offset)
        guard (0...Self.largestOffset).contains(offset) else {
            throw DecodingError.dataCorruptedError(
                forKey: .offset, in: container, debugDescription: "it is not between 0 and \(Self.largestOffset)")
        }
        if let text = try container.decodeIfPresent(String.self, forKey: .text) {
            bytes = Data(text.utf8)
        } else {
            bytes = try container.decode(Data.self, forKey: .base64)
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(stream, forKey: .stream)
        try container.encode(offset, forKey: .offset)
        if let text = String(validating: bytes, as: UTF8.self) {
            try container.encode(text, forKey: .text)
        } else {
            try container.encode(bytes, forKey: .base64)
        }
    }

    private static let largestOffset = 1 << 48
}

/// The body of `POST /api/agent/run/{RUN_ID}/output`.
public struct RunOutput: Codable, Sendable {
    public var taskID: String?
    public var chunks: [OutputChunk]

    public init(taskID: String?, chunks: [OutputChunk]) {
        self.taskID = taskID
        self.chunks = chunks
    }

    private enum CodingKeys: String, CodingKey {
        case chunks
        case taskID = "task_id"
    }

    /// The answer to it.
    public struct Receipt: Codable, Equatable, Sendable {
        /// Where the backend goes on in each stream: what an agent has sent beyond that it sends again.
        public var next: [String: Int]

        public init(next: [String: Int]) { self.next = next }
    }
}
