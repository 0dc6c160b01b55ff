public import Foundation

/// Times as text, in documents and in the log (RFC 3339, section 5.6), written in UTC with milliseconds.
public enum RFC3339 {
    /// `2026-11-23T21:07:00.000Z`.
    public static func string(from date: Date) -> String {
        // The style cuts what is behind the milliseconds off: .123 is a little less than that in binary.
        let rounded = Date(timeIntervalSince1970: (date.timeIntervalSince1970 * 1000).rounded() / 1000 + 0.000_1)
        return rounded.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
    }

    /// Reads a time with any offset, with or without a fraction of a second; nil where it is none.
    public static func date(from text: String) -> Date? {
        (try? Date(text, strategy: Date.ISO8601FormatStyle(includingFractionalSeconds: true)))
            ?? (try? Date(text, strategy: Date.ISO8601FormatStyle()))
    }
}
