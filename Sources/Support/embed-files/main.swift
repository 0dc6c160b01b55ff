// Writes a Swift file with the contents of others: embed-files OUTPUT INPUT...
// It is run by the build, see `EmbedFiles`.

import Foundation

let arguments = CommandLine.arguments.dropFirst()
guard let output = arguments.first, arguments.count > 1 else { fail("usage: embed-files OUTPUT INPUT...") }
var lines = ["enum EmbeddedFiles {"]
for input in arguments.dropFirst() {
    let name = URL(filePath: input).deletingPathExtension().lastPathComponent
    let text: String
    do { text = try String(contentsOfFile: input, encoding: .utf8) } catch { fail("\(input): \(error)") }
    // What a string literal would change or end at. A line feed is all that ends a line in these files.
    guard !text.contains("\r"), !text.contains("\"\"\"####"), !text.contains("\\####") else {
        fail("\(input): has a carriage return, or what ends a string literal")
    }
    lines.append("    static let \(name) = [UInt8](\n####\"\"\"\n\(text)\n\"\"\"####.utf8)")
}
lines.append("}\n")
do { try lines.joined(separator: "\n").write(toFile: output, atomically: true, encoding: .utf8) } catch {
    fail("\(output): \(error)")
}

func fail(_ message: String) -> Never {
    FileHandle.standardError.write(Data((message + "\n").utf8))
    exit(1)
}
