import Foundation

/// What can be told of JSON text without decoding it.
enum JSONShape {
    /// Whether an array or object two levels down (`data` of an envelope) has more than so many elements.
    ///
    /// Decoding a hundred times the limit first, to count it then, would take gigabytes. For text that isn't JSON the
    /// answer means nothing; the decoder refuses that.
    static func hasMoreElements(than limit: Int, in text: Data) -> Bool {
        // Each element takes two bytes at least, with its comma.
        guard text.count / 2 > limit else { return false }
        return text.withUnsafeBytes { bytes in
            var depth = 0
            var commas = 0
            var isInString = false
            var isEscaped = false
            for byte in bytes {
                if isInString {
                    if isEscaped {
                        isEscaped = false
                    } else if byte == UInt8(ascii: "\\") {
                        isEscaped = true
                    } else if byte == UInt8(ascii: "\"") {
                        isInString = false
                    }
                    continue
                }
                switch byte {
                case UInt8(ascii: "\""): isInString = true
                case UInt8(ascii: "["), UInt8(ascii: "{"):
                    depth += 1
                    if depth == 2 { commas = 0 }
                case UInt8(ascii: "]"), UInt8(ascii: "}"): depth -= 1
                case UInt8(ascii: ",") where depth == 2:
                    commas += 1
                    if commas >= limit { return true }
                default: break
                }
            }
            return false
        }
    }
}
