internal import CSandbox

extension SandboxChild {
    /// How a child ended.
    public enum Ending: Sendable, Equatable {
        case exited(status: Int32)
        case signalled(Int32)
        /// It was ended by the agent, or no one knows how.
        case ended

        /// Such as `by the signal SIGSEGV`.
        public var sentence: String {
            switch self {
            case .exited(let status): "by ending it with the exit status \(status)"
            case .signalled(let number): "by the signal \(Self.name(of: number))"
            case .ended: "in a way that could not be seen"
            }
        }

        private static func name(of signal: Int32) -> String {
            rb_signal_name(signal).map { "SIG" + String(cString: $0) } ?? "\(signal)"
        }
    }
}
