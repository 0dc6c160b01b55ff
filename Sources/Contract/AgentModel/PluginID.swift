/// The opaque name under which a backend knows one version of one plugin.
///
/// It becomes part of file names, so it must match `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`. Anything else is refused
/// and never cleaned up.
public struct PluginID: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The text as the backend wrote it, case kept.
    public let rawValue: String

    /// - Throws: `AgentModelError` with code `plugin.invalid_id` when the text could leave the plugin directory or
    ///   doesn't match the contract.
    public init(_ text: String) throws(AgentModelError) {
        guard Self.isValid(text) else { throw .invalidPluginID(text) }
        rawValue = text
    }

    public var description: String { rawValue }

    public static func < (lhs: PluginID, rhs: PluginID) -> Bool { lhs.rawValue < rhs.rawValue }

    private static func isValid(_ text: String) -> Bool {
        let bytes = text.utf8
        guard let first = bytes.first, bytes.count <= 128, isAlphanumeric(first) else { return false }
        return bytes.dropFirst().allSatisfy { byte in
            isAlphanumeric(byte) || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
        }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"):
            true
        default: false
        }
    }
}

extension PluginID: Codable {
    public init(from decoder: any Decoder) throws {
        try self.init(decoder.singleValueContainer().decode(String.self))
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}
