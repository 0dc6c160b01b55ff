import Foundation

/// A change that a command made beside the server, for the server's log.
struct CommandChange: Equatable, Sendable {
    var madeAt: Date
    var by: String
    var what: String
}
