import Foundation
import Testing

@testable import AgentCommands

/// Codes beside those of another encoder, which another decoder has read: `Vectors/generate.py`.
@Suite struct QRCodeTests {
    struct Vector: Decodable, Sendable, CustomTestStringConvertible {
        var text: String
        var correction: QRCode.Correction
        var version: Int
        var mask: Int
        /// Row by row.
        var modules: [Bool]

        init(from decoder: any Decoder) throws {
            var container = try decoder.unkeyedContainer()
            text = try container.decode(String.self)
            correction = try container.decode(String.self) == "L" ? .low : .medium
            version = try container.decode(Int.self)
            mask = try container.decode(Int.self)
            let digits = try container.decode(String.self)
            let bits = digits.flatMap { digit in
                (0..<4).reversed().map { (digit.hexDigitValue ?? 0) >> $0 & 1 == 1 }
            }
            let size = 17 + 4 * version
            modules = Array(bits.suffix(size * size))
        }

        var testDescription: String {
            "version \(version), \(correction), mask \(mask), \(text.utf8.count) bytes"
        }
    }

    private struct Row: Decodable {
        var vector: Vector?

        init(from decoder: any Decoder) throws {
            // The first row is a comment.
            if (try? decoder.singleValueContainer().decode(String.self)) == nil { vector = try Vector(from: decoder) }
        }
    }

    static let vectors: [Vector] = {
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Vectors/qr.json")
        let rows = (try? Data(contentsOf: file)).flatMap { try? JSONDecoder().decode([Row].self, from: $0) }
        return rows?.compactMap(\.vector) ?? []
    }()

    @Test func thereAreVectorsOfAllVersions() {
        #expect(Set(Self.vectors.map(\.version)) == Set(1...10))
        #expect(Set(Self.vectors.map(\.mask)) == Set(0..<8))
    }

    @Test(arguments: vectors)
    func isTheCodeOfAnotherEncoder(_ vector: Vector) throws {
        let code = try #require(QRCode(vector.text, correction: vector.correction, mask: vector.mask))
        #expect(code.size == 17 + 4 * vector.version)
        #expect(code.modules == vector.modules)
    }

    @Test func theMaskThatIsChosenIsOneOfTheEight() throws {
        let eight = Self.vectors.prefix(8)
        let text = try #require(eight.first?.text)
        let code = try #require(QRCode(text))
        #expect(eight.contains { $0.text == text && $0.modules == code.modules })
    }

    @Test func whatIsTooLongHasNoCode() throws {
        let longest = try #require(
            Self.vectors.filter { $0.correction == .medium }.map(\.text).max { $0.utf8.count < $1.utf8.count })
        #expect(QRCode(longest) != nil)
        #expect(QRCode(longest + ".") == nil)
    }
}
