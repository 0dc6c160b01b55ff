import Foundation
import GRDB

/// A text that is stored as the bytes of its UTF-8 form.
///
/// Because a text value of SQLite ends at the first NUL when it is read as a C string, and scripts and what they
/// print may hold one.
struct ExactText: DatabaseValueConvertible, Sendable {
    var text: String

    init(_ text: String) { self.text = text }

    var databaseValue: DatabaseValue { Data(text.utf8).databaseValue }

    static func fromDatabaseValue(_ value: DatabaseValue) -> ExactText? {
        // An excerpt may end within a character: repaired rather than refused.
        Data.fromDatabaseValue(value).map { ExactText(String(decoding: $0, as: UTF8.self)) }
    }
}
