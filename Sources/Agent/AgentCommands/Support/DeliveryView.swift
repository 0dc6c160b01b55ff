import AgentModel
import Diagnostics
import Foundation
import RunJournal

/// How far a result has come, as it is printed.
struct DeliveryView: Encodable {
    let state: String
    let at: Date?
    let attempts: Int?
    let nextAttempt: Date?
    let reason: String?

    enum CodingKeys: String, CodingKey {
        case state, at, attempts, reason
        case nextAttempt = "next_attempt"
    }

    init(_ delivery: DeliveryState) {
        switch delivery {
        case .running:
            self.init(state: "running")
        case .pending(let attempts, let nextAttempt, let reason):
            self.init(state: "pending", attempts: attempts, nextAttempt: nextAttempt, reason: reason)
        case .delivered(let time):
            self.init(state: "delivered", at: time)
        case .deadLetter(let attempts, let reason):
            self.init(state: "dead-letter", attempts: attempts, reason: reason)
        case .discarded(let time):
            self.init(state: "discarded", at: time)
        }
    }

    private init(
        state: String, at: Date? = nil, attempts: Int? = nil, nextAttempt: Date? = nil, reason: String? = nil
    ) {
        self.state = state
        self.at = at
        self.attempts = attempts
        self.nextAttempt = nextAttempt
        self.reason = reason
    }

    /// On one line.
    var text: String {
        var text = state
        if let at { text += " at \(RFC3339.string(from: at))" }
        if let attempts, attempts > 0 { text += ", attempts: \(attempts)" }
        if let nextAttempt { text += ", next at \(RFC3339.string(from: nextAttempt))" }
        if let reason { text += ", \(reason)" }
        return text
    }
}
