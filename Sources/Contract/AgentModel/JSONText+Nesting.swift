public import Foundation

extension JSONText {
    /// How deep objects and arrays may stand in each other in any JSON text that is decoded.
    ///
    /// No document of the contract comes near it. Foundation's decoder builds the path to a value anew for each type
    /// that is tried in vain, which takes time with the cube of the depth.
    public static let maximumNesting = 100

    /// Whether objects and arrays stand in each other deeper than a limit. One pass without recursion, before anything
    /// is decoded; a text that isn't JSON is left to the decoder.
    public static func isNested(_ text: Data, deeperThan limit: Int = maximumNesting) -> Bool {
        text.withUnsafeBytes { bytes in
            var depth = 0
            var index = 0
            while index < bytes.count {
                switch bytes[index] {
                case UInt8(ascii: "{"), UInt8(ascii: "["):
                    depth += 1
                    if depth > limit { return true }
                case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
                case UInt8(ascii: "\""):
                    index += 1
                    while index < bytes.count, bytes[index] != UInt8(ascii: "\"") {
                        index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1
                    }
                default: break
                }
                index += 1
            }
            return false
        }
    }
}
