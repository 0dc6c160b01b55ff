public import AgentModel
public import PluginStore

/// Which plugins this agent has, and which command runs what.
public actor PluginCatalog {
    /// What a command of a task comes to.
    public enum Resolution: Sendable {
        case run(plugin: VerifiedPlugin, function: String)
        /// The plugin that may provide it could not be fetched yet: the task waits for the next synchronization.
        case wait(reason: String)
        case reject(RunError)
    }

    /// A plugin the backend wants here.
    public enum State: Sendable {
        case loaded(VerifiedPlugin)
        /// It can't run as it is. `commands` is what its document names, where there is one.
        case failed(error: RunError, commands: Set<String>)
        /// It could not be fetched: unreachable backend, `500`. The next synchronization tries again.
        case unavailable(reason: String)
    }

    private var states: [PluginID: State] = [:]
    /// By command name, the plugins that claim it.
    private var claims: [String: Set<PluginID>] = [:]
    /// Whether the backend has said yet which plugins there are.
    private var isComplete = false

    public init() {}

    public func state(of id: PluginID) -> State? { states[id] }

    public var plugins: [PluginID: State] { states }

    public func set(_ state: State, for id: PluginID) {
        withdrawClaims(of: id)
        states[id] = state
        for command in commands(of: state) { claims[command, default: []].insert(id) }
    }

    public func remove(_ id: PluginID) {
        withdrawClaims(of: id)
        states[id] = nil
    }

    /// From now on an unknown command is an error and not a plugin that may still come.
    public func markComplete() { isComplete = true }

    public func resolve(_ command: String) -> Resolution {
        let claimants = claims[command, default: []].sorted()
        guard let id = claimants.first, let state = states[id] else { return unknown(command) }
        let loaded = claimants.filter { if case .loaded? = states[$0] { true } else { false } }
        guard loaded.count <= 1 else { return .reject(.ambiguous(command, loaded)) }
        switch loaded.first.flatMap({ states[$0] }) ?? state {
        case .loaded(let plugin):
            guard let function = plugin.commands[command]?.function else { return unknown(command) }
            return .run(plugin: plugin, function: function)
        case .failed(let error, _):
            return .reject(.unusable(command, plugin: id, error))
        case .unavailable(let reason):
            return .wait(reason: reason)
        }
    }

    private func unknown(_ command: String) -> Resolution {
        // The document of a plugin that was refused isn't believed, but its id stands in front of its commands.
        for case (let id, .failed(let error, _)) in states where command.hasPrefix(id.rawValue + ".") {
            return .reject(.unusable(command, plugin: id, error))
        }
        let missing = states.filter { if case .unavailable = $0.value { true } else { false } }.keys.sorted()
        if let first = missing.first {
            return .wait(reason: "the plugin \(quoted(first.rawValue)), which may provide it, could not be fetched yet")
        }
        guard isComplete else { return .wait(reason: "the backend has not said yet which plugins there are") }
        return .reject(
            RunError(
                code: "task.unknown_command",
                message: "no plugin of this agent provides the command \(quoted(command)); assign the plugin or "
                    + "correct the task"))
    }

    private func withdrawClaims(of id: PluginID) {
        guard let state = states[id] else { return }
        for command in commands(of: state) {
            claims[command]?.remove(id)
            if claims[command]?.isEmpty == true { claims[command] = nil }
        }
    }

    private func commands(of state: State) -> Set<String> {
        switch state {
        case .loaded(let plugin): Set(plugin.commands.keys)
        case .failed(_, let commands): commands
        case .unavailable: []
        }
    }
}

extension RunError {
    fileprivate static func ambiguous(_ command: String, _ plugins: [PluginID]) -> RunError {
        let names = plugins.map { quoted($0.rawValue) }.joined(separator: " and ")
        return RunError(
            code: "command.ambiguous",
            message: "the command \(quoted(command)) is provided by the plugins \(names); give their commands "
                + "names that differ")
    }

    fileprivate static func unusable(_ command: String, plugin: PluginID, _ error: RunError) -> RunError {
        RunError(
            code: error.code, type: error.type,
            message: "the command \(quoted(command)) can't run: \(error.message)", traceback: error.traceback)
    }
}
