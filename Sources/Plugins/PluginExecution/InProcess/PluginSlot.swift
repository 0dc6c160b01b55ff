import AgentModel
import PythonEmbedding
import Threads

/// The place of a PLUGIN_ID, through all the versions loaded under it.
final class PluginSlot: Sendable {
    struct Version {
        let instance: PluginInstance
        let home: PluginHome
        let scriptHash: String
        /// Of one call.
        let timeLimit: Duration?
        let keepsPrograms: Bool
    }

    let lane: JobLane
    private let version: BlockingLock<Version?>

    init(lane: JobLane, version: Version) {
        self.lane = lane
        self.version = BlockingLock(version)
    }

    /// Nil once the plugin is unloaded.
    var instance: PluginInstance? { version.withLock { $0?.instance } }

    /// What is in service now; nil once the plugin is unloaded.
    var current: Version? { version.withLock { $0 } }

    var timeLimit: Duration? { version.withLock { $0?.timeLimit } }

    /// Changes how the version in service is run.
    func set(timeLimit: Duration?, keepsPrograms: Bool) {
        version.withLock { current in
            current = current.map {
                Version(
                    instance: $0.instance, home: $0.home, scriptHash: $0.scriptHash, timeLimit: timeLimit,
                    keepsPrograms: keepsPrograms)
            }
        }
    }

    /// Puts another version, or none, into service and returns the one that was.
    func replace(_ next: Version?) -> Version? {
        version.withLock { current in
            defer { current = next }
            return current
        }
    }
}
