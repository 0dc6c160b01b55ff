import AgentModel
import ArgumentParser
import RunJournal

/// A run's id as a person types it.
struct RunArgument: ExpressibleByArgument {
    let id: RunID

    init?(argument: String) {
        guard let id = RunID(argument) else { return nil }
        self.id = id
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
