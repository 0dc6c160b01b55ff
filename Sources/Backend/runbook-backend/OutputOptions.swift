import ArgumentParser
import Foundation

/// `--json` of commands that print.
struct OutputOptions: ParsableArguments {
    @Flag(name: .long, help: "Print JSON.")
    var json = false

    /// Writes a text for people, or a value as JSON.
    func write(_ text: String, json value: some Encodable) throws {
        guard json else { return StandardOutput.write(text) }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        StandardOutput.write(String(decoding: try encoder.encode(value), as: UTF8.self))
    }
}
