import UnixSignals

/// The signals that end the agent or make it read its configuration anew: SIGTERM, SIGINT, SIGHUP.
///
/// Taken over before anything is opened: one that comes while the agent starts ends it as in order as later.
public struct AgentSignals: Sendable {
    let sequence: UnixSignalsSequence

    public static func trap() async -> AgentSignals {
        AgentSignals(sequence: await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup))
    }

    /// Has a function called at each SIGINT (Ctrl-C) from now on, with how many have come, until the task is cancelled.
    public static func onInterrupt(_ body: @escaping @Sendable (Int) -> Void) async -> Task<Void, Never> {
        let signals = await UnixSignalsSequence(trapping: .sigint)
        return Task {
            var count = 0
            for await _ in signals {
                count += 1
                body(count)
            }
        }
    }
}
