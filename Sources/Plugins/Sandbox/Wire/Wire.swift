/// What is wrong with a message.
public enum WireError: Error, Sendable, Equatable {
    /// It ends too soon, or is longer than what it holds.
    case malformed
    /// More bytes are announced than may be.
    case tooLong(UInt64)
    case closed
    case system(Int32)
}

/// Makes one message: 4 bytes of length, 4 of kind, then the fields.
///
/// Both ends are the same executable on the same machine, so numbers are in its byte order.
public struct WireWriter: Sendable {
    public private(set) var bytes: [UInt8]

    public init(kind: UInt32, capacity: Int = 256) {
        bytes = []
        bytes.reserveCapacity(capacity)
        append(UInt32(0))
        append(kind)
    }

    public mutating func integer(_ value: UInt64) { append(value) }

    public mutating func text(_ value: String) {
        var value = value
        value.withUTF8 { utf8 in
            append(UInt64(utf8.count))
            bytes.append(contentsOf: utf8)
        }
    }

    public mutating func text(_ value: String?) {
        append(UInt64(value == nil ? 0 : 1))
        if let value { text(value) }
    }

    public mutating func blob(_ value: [UInt8]) {
        append(UInt64(value.count))
        bytes.append(contentsOf: value)
    }

    /// The whole message, or nil where it is longer than its length can say.
    public consuming func finished() -> [UInt8]? {
        guard let length = UInt32(exactly: bytes.count - Wire.headerSize) else { return nil }
        withUnsafeBytes(of: length) { length in
            for index in 0..<4 { bytes[index] = length[index] }
        }
        return bytes
    }

    private mutating func append<Value: FixedWidthInteger>(_ value: Value) {
        withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
    }
}

/// Reads the fields of one message. Nothing is believed of what another process wrote.
public struct WireReader: ~Copyable {
    private let bytes: UnsafeRawBufferPointer
    private var offset = 0

    init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    public mutating func integer() throws(WireError) -> UInt64 {
        guard bytes.count - offset >= 8 else { throw .malformed }
        defer { offset += 8 }
        return bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
    }

    /// - Parameter limit: bytes of UTF-8 it may have.
    /// - Throws: `WireError.malformed` where it is longer, or isn't UTF-8.
    public mutating func text(limit: Int = .max) throws(WireError) -> String {
        let field = try field()
        guard field.count <= limit, let text = String(validating: field, as: UTF8.self) else { throw .malformed }
        return text
    }

    public mutating func optionalText(limit: Int = .max) throws(WireError) -> String? {
        try integer() == 0 ? nil : try text(limit: limit)
    }

    public mutating func blob() throws(WireError) -> [UInt8] {
        Array(try field())
    }

    public func finish() throws(WireError) {
        guard offset == bytes.count else { throw .malformed }
    }

    private mutating func field() throws(WireError) -> UnsafeRawBufferPointer {
        let length = try integer()
        guard length <= UInt64(bytes.count - offset) else { throw .malformed }
        defer { offset += Int(length) }
        return UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + Int(length)])
    }
}

enum Wire {
    static let headerSize = 8
}
