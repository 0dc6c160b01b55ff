import Foundation

/// The environment as the process was given it: what is secret in it is taken out right at the start, and the
/// configuration is read from it also later.
enum ProcessEnvironment {
    static let atStart = ProcessInfo.processInfo.environment
}
