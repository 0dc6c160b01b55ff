import ArgumentParser
import Diagnostics
import Quantities

/// How options that are time spans or sizes are read: with a unit behind the number, or without.
enum QuantityOption {
    static func seconds(_ text: String) throws -> Double {
        guard let seconds = TimeQuantity.seconds(text) else {
            throw ValidationError(
                "\(quoted(text)) is not a time span; give seconds, or a number with one of the units "
                    + TimeQuantity.unitNames)
        }
        return seconds
    }

    static func wholeSeconds(_ text: String) throws -> Int {
        guard let seconds = Int(exactly: try seconds(text)) else {
            throw ValidationError("\(quoted(text)) is not a whole number of seconds")
        }
        return seconds
    }

    /// A number without a unit is one of days.
    static func days(_ text: String) throws -> Int {
        if let days = Int(text) { return days }
        guard let days = Int(exactly: try seconds(text) / 86_400) else {
            throw ValidationError("\(quoted(text)) is not a whole number of days")
        }
        return days
    }

    static func bytes(_ text: String) throws -> Int {
        guard let bytes = SizeQuantity.bytes(text) else {
            throw ValidationError(
                "\(quoted(text)) is not a size; give bytes, or a whole number with one of the units "
                    + SizeQuantity.unitNames)
        }
        return bytes
    }
}
