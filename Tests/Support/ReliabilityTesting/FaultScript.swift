import Synchronization

/// What the proxy does with one request.
enum Fault: String, Sendable, CaseIterable {
    case none
    case delay
    case status500 = "500"
    case tooManyRequests = "429 with Retry-After"
    case resetInBody = "reset in mid-body"
    case wrongJSON = "wrong JSON"
    case slowBody = "slow body"
    case proxyPage = "a proxy's page with 200"
    case closed = "closed without an answer"
    case silence = "no answer"
}

/// What goes wrong on the way to the backend, drawn from a seed: request after request.
final class FaultScript: Sendable {
    struct Step: Sendable {
        var fault: Fault
        /// Whether the backend gets the request although the agent doesn't get its answer.
        var reachesBackend: Bool
        /// In milliseconds.
        var delay: Int
    }

    private struct State {
        var random: SeededRandom
        var isCalm = false
        /// Requests until the end of an outage.
        var outage = 0
        var counts: [Fault: Int] = [:]
    }

    private let state: Mutex<State>
    private let faultPercent: Int

    /// - Parameter faultPercent: how many of 100 requests meet something.
    init(seed: UInt64, faultPercent: Int) {
        state = Mutex(State(random: SeededRandom(seed: seed)))
        self.faultPercent = faultPercent
    }

    /// Everything goes well from now on.
    func calm() { state.withLock { $0.isCalm = true } }

    /// How often each fault was met.
    var counts: [Fault: Int] { state.withLock { $0.counts } }

    func next() -> Step {
        state.withLock { state in
            var step = Step(fault: .none, reachesBackend: true, delay: 0)
            if !state.isCalm { step = Self.draw(&state, faultPercent) }
            state.counts[step.fault, default: 0] += 1
            return step
        }
    }

    private static func draw(_ state: inout State, _ percent: Int) -> Step {
        let reachesBackend = state.random.happens(percent: 50)
        let delay = Int.random(in: 1...300, using: &state.random)
        if state.outage > 0 {
            state.outage -= 1
            return Step(fault: .closed, reachesBackend: false, delay: 0)
        }
        if state.random.happens(percent: 1) { state.outage = Int.random(in: 3...10, using: &state.random) }
        guard state.random.happens(percent: percent) else { return Step(fault: .none, reachesBackend: true, delay: 0) }
        let fault = state.random.choice(
            of: [
                (Fault.delay, 5), (.status500, 4), (.tooManyRequests, 2), (.resetInBody, 4), (.wrongJSON, 3),
                (.slowBody, 3), (.proxyPage, 3), (.closed, 3), (.silence, 1),
            ].map { (value: $0.0, weight: $0.1) })
        return Step(fault: fault, reachesBackend: reachesBackend, delay: delay)
    }
}
