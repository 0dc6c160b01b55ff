import AgentModel
import ArgumentParser
import Diagnostics
import RunJournal

/// A run's id as a person types it: whole, or as much of its end as tells it apart, which lists show.
struct RunArgument: ExpressibleByArgument {
    private let text: String

    private static let shortest = 4

    init?(argument: String) {
        let text = argument.lowercased()
        guard Self.shortest...36 ~= text.utf8.count, text.allSatisfy({ $0.isHexDigit || $0 == "-" }) else { return nil }
        self.text = text
    }

    /// - Throws: `RunArgumentError`; `RunJournalError`.
    func resolve(in reader: JournalReader) async throws -> RunID {
        let matches = try await reader.runIDs(endingWith: text, limit: 2)
        guard let first = matches.first else { throw RunArgumentError.unknown(text) }
        guard matches.count == 1 else { throw RunArgumentError.ambiguous(text) }
        return first
    }

    /// All of them, in the order they were named, each once.
    static func resolve(_ arguments: [RunArgument], in reader: JournalReader) async throws -> [RunID] {
        var seen: Set<RunID> = []
        var runs: [RunID] = []
        for argument in arguments {
            let run = try await argument.resolve(in: reader)
            if seen.insert(run).inserted { runs.append(run) }
        }
        return runs
    }
}

/// Why an id that a person typed names no run.
enum RunArgumentError: CodedError, Equatable {
    case unknown(String)
    case ambiguous(String)

    var code: String {
        switch self {
        case .unknown: "journal.unknown_run"
        case .ambiguous: "journal.ambiguous_run"
        }
    }

    var message: String {
        switch self {
        case .unknown(let text): "the journal has no run \(quoted(text)); \"runbook-agent history\" lists them"
        case .ambiguous(let text):
            "more than one run ends in \(quoted(text)); give more of its id, which \"runbook-agent history --json\" has whole"
        }
    }
}

/// A status as a person asks for it: those of results, and `running`.
enum StatusArgument: ExpressibleByArgument, CaseIterable {
    case finished(RunStatus)
    case running

    static let allCases = [running] + RunStatus.allCases.map(finished)
    static var allValueStrings: [String] { allCases.map(\.text) }

    init?(argument: String) {
        guard let value = Self.allCases.first(where: { $0.text == argument }) else { return nil }
        self = value
    }

    var text: String {
        switch self {
        case .running: "running"
        case .finished(let status): status.rawValue
        }
    }
}
