import CCurl
public import Foundation

/// The `Retry-After` field (RFC 9110, section 10.2.3): seconds or a date.
enum RetryAfter {
    /// No backend gets to silence an agent for longer.
    static let limit: Duration = .seconds(86_400)

    /// How long to wait, from nothing to a day; nil for a text that is neither.
    static func duration(_ text: String, now: Date) -> Duration? {
        let text = text.trimmingCharacters(in: .whitespaces)
        if !text.isEmpty, text.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }) {
            // More digits than fit are more than a day.
            return Int(text).map { min(.seconds($0), limit) } ?? limit
        }
        // libcurl reads the three forms of an HTTP date, whatever the process's locale is.
        let seconds = curl_getdate(text, nil)
        guard seconds >= 0 else { return nil }
        let wait = Double(seconds) - now.timeIntervalSince1970
        return .seconds(max(0, min(wait.rounded(.up), Double(limit.components.seconds))))
    }
}

extension HTTPResponse {
    /// How long the `Retry-After` field asks to wait, a day at most; nil where it isn't there or can't be read.
    public func retryAfter(now: Date = .now) -> Duration? {
        header("Retry-After").flatMap { RetryAfter.duration($0, now: now) }
    }
}
