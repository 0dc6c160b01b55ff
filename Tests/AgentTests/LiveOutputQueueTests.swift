import AgentModel
import Foundation
import PythonEmbedding
import Testing

@testable import Agent

/// What a watched run has printed, and what of it is still to be sent.
@Suite struct LiveOutputQueueTests {
    @Test func aLargeWriteIsSeveralPieces() {
        let output = LiveOutput()
        output.append(.output, String(repeating: "ä", count: 100_000))
        var (sent, requests) = (Data(), 0)
        while case let chunks = output.unsent(), !chunks.isEmpty {
            for chunk in chunks {
                #expect(chunk.bytes.count <= LiveOutput.pieceSize && chunk.offset == sent.count)
                sent += chunk.bytes
            }
            requests += 1
            output.sent(chunks, nil)
        }
        #expect(sent == Data(String(repeating: "ä", count: 100_000).utf8))
        #expect(requests > 1)
    }

    @Test func manySmallWritesAreFewPieces() {
        let output = LiveOutput()
        for number in 0..<1000 { output.append(number % 500 == 0 ? .errors : .output, "x") }
        #expect(output.unsent().count == 4)
    }

    /// A plugin that writes a letter to each stream in turn doesn't take a hundred times what it writes.
    @Test func theNumberOfPiecesHasABound() {
        let output = LiveOutput()
        for number in 0..<100_000 { output.append(number % 2 == 0 ? .output : .errors, "x") }
        var sent: [OutputChunk.Stream: Int] = [:]
        var pieces = 0
        while case let chunks = output.unsent(), !chunks.isEmpty {
            for chunk in chunks {
                #expect(chunk.offset == sent[chunk.stream] ?? 0)
                sent[chunk.stream] = chunk.end
            }
            pieces += chunks.count
            output.sent(chunks, nil)
        }
        #expect(sent == [.stdout: 50_000, .stderr: 50_000])
        #expect(pieces <= LiveOutput.mostChunks + 20)
    }

    /// A backend that was restarted says nothing by itself: it is asked when somebody watches anew.
    @Test func aBackendIsAskedAgainOnce() {
        let output = LiveOutput()
        #expect(!output.takeQuestion())
        output.askAgain()
        #expect(output.takeQuestion() && !output.takeQuestion())
    }

    /// What a backend has lost is sent again, and no more than there is.
    @Test func theBackendSaysWhereItGoesOn() {
        let output = LiveOutput()
        output.append(.output, "abcdef")
        output.sent(output.unsent(), nil)
        #expect(output.unsent().isEmpty)
        output.append(.output, "gh")
        output.sent([], RunOutput.Receipt(next: ["stdout": 2]))
        #expect(output.unsent().map(\.offset) == [2] && output.unsent()[0].bytes == Data("cdefgh".utf8))
        output.sent([], RunOutput.Receipt(next: ["stdout": 1000, "stderr": -5, "other": 3]))
        #expect(output.unsent().isEmpty)
    }
}
