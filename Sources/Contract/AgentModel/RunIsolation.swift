/// Where a run's code ran.
public enum RunIsolation: Sendable, Hashable {
    /// None of it ran.
    case none
    /// In the agent's own process.
    case inProcess
    /// In a confined child.
    case sandbox
    /// In a child that could not be confined as a whole.
    ///
    /// - Parameter missing: what it does without, as `docs/sandbox.md` names it.
    case partialSandbox(missing: [String])

    /// As results and the journal carry it.
    public var text: String {
        switch self {
        case .none: "none"
        case .inProcess: "in-process"
        case .sandbox: "sandbox"
        case .partialSandbox(let missing): "sandbox-partial (without \(missing.joined(separator: ", ")))"
        }
    }
}
