import AgentModel
import Diagnostics
import Foundation

/// Ids of runs as lists show them: as much of the end as tells them apart. The beginning of a UUIDv7 is the time, which
/// runs of the same minute share (RFC 9562, section 5.7).
enum ShortID {
    static let length = 8

    static func text(of run: String) -> String { String(run.suffix(length)) }
}

/// Times as lists show them: UTC, without the year.
enum ShortTime {
    static func text(of date: Date) -> String {
        // 2026-11-27T14:43:00.123Z
        let text = RFC3339.string(from: date)
        return String(text.dropFirst(5).prefix(14)).replacing("T", with: " ")
    }
}
