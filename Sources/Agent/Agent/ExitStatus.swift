/// The exit statuses that a supervisor sees beside 0, 1 and 2 (sysexits(3)).
public enum ExitStatus {
    /// `EX_SOFTWARE`: the interpreter was wedged; start the agent again.
    public static let wedged: Int32 = 70
    /// `EX_SOFTWARE` too: the journal is damaged or gone; start the agent again, which recovers it or makes another.
    public static let journalLost: Int32 = 70
    /// `EX_SOFTWARE` too: a part of the agent ended by a fault of its own; start the agent again.
    public static let serviceFailed: Int32 = 70
    /// `EX_NOPERM`: the agent must be logged in first; starting it again changes nothing.
    public static let loginRequired: Int32 = 77
}
