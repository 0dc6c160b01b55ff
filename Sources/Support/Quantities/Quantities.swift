import Foundation

/// Time spans as people write them in settings and options.
public enum TimeQuantity {
    /// The units, as messages name them.
    public static let unitNames = "ms, s, min, h and d"
    private static let units = ["": 1, "ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86_400]

    /// Seconds: a number, with or without a fraction, of seconds or of the unit that stands behind it. Nil where it is
    /// none.
    public static func seconds(_ text: String) -> Double? {
        let digits = text.prefix { $0.isASCII && $0.isNumber || $0 == "." }
        guard let number = Double(digits), let factor = units[unit(in: text, after: digits)] else { return nil }
        return number * factor
    }
}

/// Sizes as people write them in settings and options.
public enum SizeQuantity {
    /// The units, as messages name them.
    public static let unitNames = "KiB, MiB, GiB and TiB"
    private static let units = ["": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40]

    /// Bytes: a whole number of bytes or of the unit that stands behind it. Nil where it is none, or more than fits.
    public static func bytes(_ text: String) -> Int? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard let count = Int(digits), let factor = units[unit(in: text, after: digits)] else { return nil }
        let (bytes, overflows) = count.multipliedReportingOverflow(by: factor)
        return overflows ? nil : bytes
    }
}

private func unit(in text: String, after digits: Substring) -> String {
    text[digits.endIndex...].trimmingCharacters(in: .whitespaces).lowercased()
}
