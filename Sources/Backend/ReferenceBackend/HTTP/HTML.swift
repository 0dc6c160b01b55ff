/// A piece of a page. What is put into one as text is escaped; only another piece goes in as it is.
///
/// ```swift
/// let name = "<script>"
/// let piece: HTML = "<p>\(name)</p>"  // <p>&lt;script&gt;</p>
/// ```
struct HTML: ExpressibleByStringInterpolation, Sendable {
    var text: String

    init(stringLiteral text: String) { self.text = text }

    init(stringInterpolation: Interpolation) { text = stringInterpolation.text }

    init(joining pieces: [HTML]) { text = pieces.map(\.text).joined() }

    private init(verbatim text: String) { self.text = text }

    /// A text of this program that must stand letter for letter, such as a style sheet.
    static func verbatim(_ text: StaticString) -> HTML { HTML(verbatim: "\(text)") }

    struct Interpolation: StringInterpolationProtocol {
        fileprivate var text = ""

        init(literalCapacity: Int, interpolationCount: Int) { text.reserveCapacity(literalCapacity) }

        mutating func appendLiteral(_ literal: String) { text += literal }

        mutating func appendInterpolation(_ piece: HTML) { text += piece.text }

        // Also fit for an attribute's value in double quotes, and the only one that takes a text.
        mutating func appendInterpolation(_ value: String) {
            for scalar in value.unicodeScalars {
                switch scalar {
                case "&": text += "&amp;"
                case "<": text += "&lt;"
                case ">": text += "&gt;"
                case "\"": text += "&quot;"
                case "'": text += "&#39;"
                default:
                    switch scalar.properties.generalCategory {
                    // They could turn around or hide what stands beside them.
                    case .control, .format, .lineSeparator, .paragraphSeparator: text += "\u{FFFD}"
                    default: text.unicodeScalars.append(scalar)
                    }
                }
            }
        }
    }
}
