import Foundation

/// How many files and connections the process may have open (getrlimit(2)).
enum DescriptorLimit {
    /// What the server needs beside its connections: the database with its readers, the log, the event loops.
    private static let spare = 128

    /// Raises the process's limit as far as it may, so that connections don't run into it: a server that can't accept
    /// any more answers nobody.
    /// - Returns: How many connections there may be, no more than were wanted.
    static func makeRoom(forConnections wanted: Int) -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return wanted }
        let needed = rlim_t(wanted + spare)
        if limit.rlim_cur < needed {
            limit.rlim_cur = min(needed, limit.rlim_max)
            _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            _ = getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        }
        guard limit.rlim_cur < needed else { return wanted }
        return max(1, Int(limit.rlim_cur) - spare)
    }
}
