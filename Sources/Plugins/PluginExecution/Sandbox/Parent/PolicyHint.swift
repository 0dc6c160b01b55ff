import AgentModel
import PythonEmbedding
import Sandbox

extension SandboxPolicy {
    /// What the policy says of something that a plugin was refused, where an exception looks like that; nil for others.
    ///
    /// Nothing of the host is looked at: whether a file is there is none of the plugin's business.
    func hint(for exception: PythonException) -> String? {
        let text = exception.message
        func has(_ numbers: Int...) -> Bool { numbers.contains { text.hasPrefix("[Errno \($0)]") } }
        let isOfName = exception.type.hasSuffix("gaierror")
        let saysPermission = exception.type == "PermissionError"
        // ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, EAFNOSUPPORT: there is no network but the loopback.
        if network != .full, isOfName || has(101, 113, 99, 97) {
            return "; the plugin's sandbox has network = \(network)"
        }
        if saysPermission {
            return "; the plugin's sandbox has read_paths = \(Self.list(readPaths)), write_paths = "
                + "\(Self.list(writePaths)), network = \(network), programs = \(startsPrograms ? "True" : "False")"
        }
        // ENOENT and EROFS: what isn't given is not there, or can only be read.
        if exception.type == "FileNotFoundError" && text.contains("'/") || has(30) {
            return "; in the plugin's sandbox are, beside the system's programs, only read_paths = "
                + "\(Self.list(readPaths)) and write_paths = \(Self.list(writePaths))"
        }
        // EAGAIN of fork(2).
        if exception.type == "BlockingIOError", has(11) {
            return "; the plugin's sandbox has processes = \(limits[.processes])"
        }
        // ENOSPC.
        if has(28) { return "; the plugin's sandbox has scratch = \(limits[.scratch] >> 20) MiB" }
        return nil
    }

    private static func list(_ paths: [String]) -> String { paths.isEmpty ? "none" : paths.joined(separator: ":") }
}
