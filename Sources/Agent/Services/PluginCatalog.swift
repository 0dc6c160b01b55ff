public import AgentModel
public import PluginStore

/// Which plugins this agent has, and which command runs what.
public actor PluginCatalog {
    /// What a command of a task comes to.
    public enum Resolution: Sendable {
        case run(plugin: VerifiedPlugin, function: String)
        /// The plugin that may provide it isn't there yet: the task waits until it is, or can't be.
        ///
        /// - Parameter isLoading: it is on its way, and nothing is wrong.
        case wait(reason: String, isLoading: Bool)
        case reject(RunError)
    }

    /// A plugin the backend wants here.
    public enum State: Sendable {
        /// On its way for the first time. `commands` is what its document names, nil as long as that isn't known.
        case loading(commands: Set<String>?)
        case loaded(VerifiedPlugin)
        /// It can't run as it is. `commands` is what its document names, where there is one.
        case failed(error: RunError, commands: Set<String>)
        /// It could not be fetched: unreachable backend, `500`. The next synchronization tries again.
        case unavailable(reason: String)
    }

    private var states: [PluginID: State] = [:]
    /// By command name, the plugins that claim it.
    private var claims: [String: Set<PluginID>] = [:]
    /// Plugins of which nobody knows yet what they will claim.
    private var undocumented: Set<PluginID> = []
    /// Plugins that a synchronization has yet to fetch anew or to try once more.
    private var outdated: Set<PluginID> = []
    /// Whether the backend has said yet which plugins there are.
    private var isComplete = false

    public init() {}

    public func state(of id: PluginID) -> State? { states[id] }

    public var plugins: [PluginID: State] { states }

    public func set(_ state: State, for id: PluginID) {
        withdrawClaims(of: id)
        states[id] = state
        if case .loading(nil) = state { undocumented.insert(id) }
        for command in commands(of: state) { claims[command, default: []].insert(id) }
    }

    public func remove(_ id: PluginID) {
        withdrawClaims(of: id)
        states[id] = nil
    }

    /// These plugins are on their way or there, and no others: from now on a command that none of them provides is an
    /// error.
    /// - Parameter outdated: those of which more is known after the synchronization, until ``isUpToDate(_:)``.
    public func expect(_ ids: [PluginID], outdated: Set<PluginID>) {
        for id in ids where states[id] == nil { set(.loading(commands: nil), for: id) }
        self.outdated = outdated
        isComplete = true
    }

    /// - Returns: whether it was outdated.
    public func isUpToDate(_ id: PluginID) -> Bool { outdated.remove(id) != nil }

    /// - Parameter awaitsUpdate: of a task that was listed beside the plugins: it runs on what the backend has of them
    ///   now, not on what was there before.
    public func resolve(_ command: String, awaitsUpdate: Bool = false) -> Resolution {
        let claimants = claims[command, default: []].sorted()
        if let reason = pending(command, claimants, awaitsUpdate) { return .wait(reason: reason, isLoading: true) }
        let providers = claimants.compactMap { id in provider(of: command, id) }
        if providers.count > 1 { return .reject(.ambiguous(command, providers.map(\.plugin.id))) }
        if let (plugin, function) = providers.first { return .run(plugin: plugin, function: function) }
        // What is named and not provided is believed as far as the reason goes.
        for id in claimants {
            switch states[id] {
            case .failed(let error, _): return .reject(.unusable(command, plugin: id, error))
            case .loaded(let plugin):
                guard let named = plugin.document.commands[command] else { continue }
                let error = AgentModelError.invalidFunction(command: command, function: named.function)
                return .reject(
                    .unusable(command, plugin: id, RunError(code: error.code, message: error.message)))
            default: continue
            }
        }
        return unknown(command)
    }

    /// What a command waits for: plugins on their way that claim it or may claim it. A plugin decides alone about a
    /// command with its id in front.
    private func pending(_ command: String, _ claimants: [PluginID], _ awaitsUpdate: Bool) -> String? {
        func isPending(_ id: PluginID) -> Bool {
            if case .loading = states[id] { return true }
            return awaitsUpdate && outdated.contains(id)
        }
        if let id = claimants.first(where: isPending) {
            return "the plugin \(quoted(id.rawValue)), which provides it, is being loaded"
        }
        let mayBeClaimed = !undocumented.isEmpty || awaitsUpdate && !outdated.isEmpty
        guard mayBeClaimed, !claimants.contains(where: { command.hasPrefix($0.rawValue + ".") }) else { return nil }
        return "a plugin that may provide it is being loaded"
    }

    private func provider(of command: String, _ id: PluginID) -> (plugin: VerifiedPlugin, function: String)? {
        guard case .loaded(let plugin)? = states[id], let function = plugin.commands[command]?.function else {
            return nil
        }
        return (plugin, function)
    }

    private func unknown(_ command: String) -> Resolution {
        // There may be no document at all, but its id stands in front of its commands.
        for case (let id, .failed(let error, _)) in states where command.hasPrefix(id.rawValue + ".") {
            return .reject(.unusable(command, plugin: id, error))
        }
        let missing = states.filter { if case .unavailable = $0.value { true } else { false } }.keys.sorted()
        if let first = missing.first {
            return .wait(
                reason: "the plugin \(quoted(first.rawValue)), which may provide it, could not be fetched yet",
                isLoading: false)
        }
        guard isComplete else {
            return .wait(reason: "the backend has not said yet which plugins there are", isLoading: true)
        }
        return .reject(
            RunError(
                code: "task.unknown_command",
                message: "no plugin of this agent provides the command \(quoted(command)); assign the plugin or "
                    + "correct the task"))
    }

    private func withdrawClaims(of id: PluginID) {
        undocumented.remove(id)
        guard let state = states[id] else { return }
        for command in commands(of: state) {
            claims[command]?.remove(id)
            if claims[command]?.isEmpty == true { claims[command] = nil }
        }
    }

    private func commands(of state: State) -> Set<String> {
        switch state {
        case .loading(let commands): commands ?? []
        case .loaded(let plugin): Set(plugin.document.commands.keys)
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
