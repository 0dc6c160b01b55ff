public import Foundation

/// JSON text as it stands, for what decoding would change.
public enum JSONText {
    /// The document with every object that is the value of a member of this name made a string of the object's text.
    ///
    /// A decoder tells neither `1.0` from `1` nor a number of thirty digits from the nearest `Double`; the text does.
    /// One pass, without recursion. What isn't JSON stays for the decoder to refuse.
    /// - Parameters:
    ///   - depth: how many objects and arrays the member is inside of: 1 for one of the document's own.
    public static func keepingObjects(of member: String, atDepth depth: Int, in document: Data) -> Data {
        var kept = KeptObjects(member: Array(member.utf8), depth: depth)
        return document.withUnsafeBytes { kept.scan($0) }.map { Data($0) } ?? document
    }
}

/// One pass over a document.
private struct KeptObjects {
    let member: [UInt8]
    let depth: Int
    private var output: [UInt8] = []
    /// Everything before is in the output.
    private var copied = 0

    init(member: [UInt8], depth: Int) {
        self.member = member
        self.depth = depth
    }

    /// Nil where the document stays as it is.
    mutating func scan(_ bytes: UnsafeRawBufferPointer) -> [UInt8]? {
        var index = 0
        var level = 0
        /// The last string at the depth that is looked at: a name, if a colon follows.
        var name = 0..<0
        var isValueNext = false
        var start: Int?
        while index < bytes.count {
            switch bytes[index] {
            case UInt8(ascii: "\""):
                let end = Self.endOfString(from: index + 1, in: bytes)
                if level == depth { name = (index + 1)..<max(index + 1, end - 1) }
                isValueNext = false
                index = end
                continue
            case UInt8(ascii: ":"):
                isValueNext = level == depth && isMember(UnsafeRawBufferPointer(rebasing: bytes[name]))
            case UInt8(ascii: "{"):
                if isValueNext { start = index }
                isValueNext = false
                level += 1
            case UInt8(ascii: "["):
                isValueNext = false
                level += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                level -= 1
                if let first = start, level == depth {
                    keep(first...index, of: bytes)
                    start = nil
                }
            case 0x20, 0x09, 0x0A, 0x0D: break
            default: isValueNext = false
            }
            index += 1
        }
        guard copied > 0 else { return nil }
        output.append(contentsOf: bytes[copied...])
        return output
    }

    /// Behind the closing quote.
    private static func endOfString(from first: Int, in bytes: UnsafeRawBufferPointer) -> Int {
        var index = first
        while index < bytes.count {
            switch bytes[index] {
            case UInt8(ascii: "\""): return index + 1
            case UInt8(ascii: "\\"): index += 2
            default: index += 1
            }
        }
        return bytes.count
    }

    private func isMember(_ name: UnsafeRawBufferPointer) -> Bool {
        guard name.contains(UInt8(ascii: "\\")) else { return name.elementsEqual(member) }
        let text = try? JSONDecoder().decode(
            String.self, from: Data([UInt8(ascii: "\"")] + name + [UInt8(ascii: "\"")]))
        return text?.utf8.elementsEqual(member) == true
    }

    private mutating func keep(_ object: ClosedRange<Int>, of bytes: UnsafeRawBufferPointer) {
        if copied == 0 { output.reserveCapacity(bytes.count + bytes.count / 8) }
        output.append(contentsOf: bytes[copied..<object.lowerBound])
        output.appendJSONString(bytes[object])
        copied = object.upperBound + 1
    }
}
