import UnixSignals

/// The signals that end the agent or make it read its configuration anew: SIGTERM, SIGINT, SIGHUP.
///
/// Taken over before anything is opened: one that comes while the agent starts ends it as in order as later.
public struct AgentSignals: Sendable {
    let sequence: UnixSignalsSequence

    public static func trap() async -> AgentSignals {
        AgentSignals(sequence: await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup))
    }
}
