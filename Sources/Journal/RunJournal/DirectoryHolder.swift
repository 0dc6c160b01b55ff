/// Whether an agent runs on a state directory.
///
/// The kernel's answer (flock(2)): it knows of an agent that was killed, and of one that answers nobody.
public enum DirectoryHolder: Sendable, Equatable {
    case nobody
    /// The process id is nil where the agent lives in another container, or its note of it was deleted.
    case running(processID: Int32?)
}

extension RunJournal {
    /// Asks whether an agent runs on a state directory, without disturbing it. Nobody does where there is no such
    /// directory.
    /// - Throws: `journal.io` where the directory may not be read.
    public static func holder(of directory: String) throws(RunJournalError) -> DirectoryHolder {
        try DirectoryLock.holder(directory: directory)
    }
}
