public import AgentModel
import Diagnostics
public import PluginStore
import Synchronization

/// Which plugins this agent has, and which command runs what.
public actor PluginCatalog {
    // More than a dozen properties: each set answers one question about a command without a walk through all plugins.
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

    /// What a run asks: which plugin runs this command.
    struct Question: Hashable, Sendable {
        var command: String
        /// Of a task that was listed beside the plugins: it runs on what the backend has of them now, not on what was
        /// there before.
        var awaitsUpdate: Bool
    }

    /// Of what the catalog may say something else than before.
    struct Changes: Sendable {
        var isAll = false
        var commands: Set<String> = []
        /// Commands that begin with one of these ids.
        var owners: Set<PluginID> = []
    }

    private var states: [PluginID: State] = [:]
    /// By command name, the plugins that claim it.
    private var claims: [String: Set<PluginID>] = [:]
    /// Plugins of which nobody knows yet what they will claim.
    private var undocumented: Set<PluginID> = []
    /// Those of them that have never been seen, and are waited for.
    private var unseen: Set<PluginID> = []
    /// Those that have never been seen and were waited for long enough.
    private var passedOver: Set<PluginID> = []
    /// What a plugin's document claimed when it was seen last, also in an earlier life of the agent.
    private var lastClaims: [PluginID: Set<String>] = [:]
    /// The same by command.
    private var lastClaimants: [String: Set<PluginID>] = [:]
    private var areLastClaimsKept = true
    /// Plugins that could not be fetched.
    private var unavailable: Set<PluginID> = []
    private var changes = Changes()
    /// Whether there were undocumented, outdated, unseen and unavailable ones when that was looked at last.
    private var areEmpty = [true, true, true, true]
    /// Plugins that a synchronization has yet to fetch anew or to try once more.
    private var outdated: Set<PluginID> = []
    /// Whether the backend has said yet which plugins there are.
    private var isComplete = false

    private let versionCell = Atomic(0)

    /// Counts the changes: what was resolved at one version is so for as long as it is the same.
    public nonisolated var version: Int { versionCell.load(ordering: .acquiring) }

    private func changed() { versionCell.add(1, ordering: .releasing) }

    public init() {}

    public func state(of id: PluginID) -> State? { states[id] }

    public var plugins: [PluginID: State] { states }

    public func set(_ state: State, for id: PluginID) {
        defer { changed() }
        noteChange(of: id)
        withdrawClaims(of: id)
        states[id] = state
        switch state {
        case .loading(nil):
            undocumented.insert(id)
            if lastClaims[id] == nil, !passedOver.contains(id) { unseen.insert(id) }
        case .unavailable: unavailable.insert(id)
        case .loading, .loaded, .failed: break
        }
        let commands = commands(of: state)
        for command in commands { claims[command, default: []].insert(id) }
        if let commands = documented(by: state) { remember(commands, of: id) }
        noteChange(of: id)
        noteEmptied()
    }

    public func remove(_ id: PluginID) {
        defer { changed() }
        noteChange(of: id)
        withdrawClaims(of: id)
        states[id] = nil
        passedOver.remove(id)
        if lastClaims[id] != nil {
            forgetClaims(of: id)
            areLastClaimsKept = false
        }
        noteEmptied()
    }

    /// These plugins are on their way or there, and no others: from now on a command that none of them provides is an
    /// error.
    /// - Parameter outdated: those of which more is known after the synchronization, until ``isUpToDate(_:)``.
    public func expect(_ ids: [PluginID], outdated: Set<PluginID>) {
        defer { changed() }
        for id in ids where states[id] == nil { set(.loading(commands: nil), for: id) }
        self.outdated = outdated
        isComplete = true
        changes.isAll = true
    }

    /// - Returns: whether it was outdated.
    public func isUpToDate(_ id: PluginID) -> Bool {
        guard outdated.remove(id) != nil else { return false }
        defer { changed() }
        noteChange(of: id)
        noteEmptied()
        return true
    }

    // MARK: What was claimed before

    /// What documents claimed in an earlier life of the agent.
    func remember(_ claims: [PluginID: Set<String>]) {
        defer { changed() }
        for (id, commands) in claims where lastClaims[id] == nil { setLastClaims(of: id, commands) }
    }

    /// What documents claimed last, where that has changed since this was asked.
    func claimsToKeep() -> [PluginID: Set<String>]? {
        guard !areLastClaimsKept else { return nil }
        areLastClaimsKept = true
        return lastClaims
    }

    /// Plugins that were never seen and hold back commands of others, because they may claim them too.
    var heldBackFor: Set<PluginID> { unseen }

    /// These have been waited for long enough. What they claim counts from when they are there.
    func passOver(_ ids: Set<PluginID>) {
        defer { changed() }
        passedOver.formUnion(ids)
        guard !unseen.isDisjoint(with: ids) else { return }
        unseen.subtract(ids)
        changes.isAll = true
    }

    private func remember(_ commands: Set<String>, of id: PluginID) {
        guard lastClaims[id] != commands else { return }
        forgetClaims(of: id)
        setLastClaims(of: id, commands)
        areLastClaimsKept = false
    }

    private func setLastClaims(of id: PluginID, _ commands: Set<String>) {
        lastClaims[id] = commands
        for command in commands { lastClaimants[command, default: []].insert(id) }
    }

    private func forgetClaims(of id: PluginID) {
        for command in lastClaims.removeValue(forKey: id) ?? [] {
            lastClaimants[command]?.remove(id)
            if lastClaimants[command]?.isEmpty == true { lastClaimants[command] = nil }
        }
    }

    // MARK: What has changed

    /// What may be answered otherwise since this was asked last.
    func takeChanges() -> Changes { exchange(&changes, with: Changes()) }

    /// Those of the questions that nothing has to be waited for any more.
    func settled(among questions: [Question]) -> [Question] {
        questions.filter { question in
            if case .wait = resolve(question.command, awaitsUpdate: question.awaitsUpdate) { false } else { true }
        }
    }

    private func noteChange(of id: PluginID) {
        changes.commands.formUnion(lastClaims[id] ?? [])
        guard let state = states[id] else { return }
        changes.commands.formUnion(commands(of: state))
        // There may be no document, but its id stands in front of its commands.
        if case .loaded = state { return }
        changes.owners.insert(id)
    }

    /// Commands that nobody claims wait until there is none of these, or no longer.
    private func noteEmptied() {
        let now = [undocumented.isEmpty, outdated.isEmpty, unseen.isEmpty, unavailable.isEmpty]
        if now != areEmpty { changes.isAll = true }
        areEmpty = now
    }

    // MARK: Resolving

    /// As ``resolve(_:awaitsUpdate:)``, with the version that the answer is of.
    func resolve(_ question: Question) -> (resolution: Resolution, version: Int) {
        (resolve(question.command, awaitsUpdate: question.awaitsUpdate), version)
    }

    /// Whether each of these is a command that a loaded plugin provides whose id it has in front: whatever plugins come or go,
    /// that one decides alone about it.
    func provides(_ commands: Set<String>) -> Bool {
        commands.allSatisfy { command in
            guard case .run(let plugin, _) = resolve(command, awaitsUpdate: true) else { return false }
            return command.hasPrefix(plugin.id.rawValue + ".")
        }
    }

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
    ///
    /// A command that a loaded plugin provides waits for another one only where that claimed it when it was seen last,
    /// or has never been seen and is not yet passed over: a plugin that can't be fetched must not hold back those that
    /// can. Where it claims the same command after all, the command is ambiguous from then on.
    private func pending(_ command: String, _ claimants: [PluginID], _ awaitsUpdate: Bool) -> String? {
        func isPending(_ id: PluginID) -> Bool {
            if case .loading = states[id] { return true }
            return awaitsUpdate && outdated.contains(id)
        }
        if let id = claimants.first(where: isPending) {
            return "the plugin \(quoted(id.rawValue)), which provides it, is being loaded"
        }
        if let owner = owner(of: command), !isPending(owner) { return nil }
        if claimants.contains(where: { provider(of: command, $0) != nil }) {
            if let id = lastClaimants[command, default: []].filter(isPending).min() {
                return "the plugin \(quoted(id.rawValue)), which provided it when it was there last, is being loaded"
            }
            return unseen.isEmpty ? nil : "a plugin that may provide it too is being loaded"
        }
        guard !undocumented.isEmpty || awaitsUpdate && !outdated.isEmpty else { return nil }
        return "a plugin that may provide it is being loaded"
    }

    /// The plugin whose id stands in front of the command.
    private func owner(of command: String) -> PluginID? {
        var end = command.startIndex
        while let dot = command[end...].firstIndex(of: ".") {
            if let id = try? PluginID(String(command[..<dot])), states[id] != nil { return id }
            end = command.index(after: dot)
        }
        return nil
    }

    private func provider(of command: String, _ id: PluginID) -> (plugin: VerifiedPlugin, function: String)? {
        guard case .loaded(let plugin)? = states[id], let function = plugin.commands[command]?.function else {
            return nil
        }
        return (plugin, function)
    }

    private func unknown(_ command: String) -> Resolution {
        // There may be no document at all, but its id stands in front of its commands.
        if let id = owner(of: command), case .failed(let error, _)? = states[id] {
            return .reject(.unusable(command, plugin: id, error))
        }
        if let first = unavailable.first {
            return .wait(
                reason: "the plugin \(quoted(first.rawValue)), which may provide it, could not be fetched yet",
                isLoading: false)
        }
        guard isComplete else {
            return .wait(reason: "the backend has not said yet which plugins there are", isLoading: true)
        }
        return .reject(
            RunError(
                .taskUnknownCommand,
                message: "no plugin of this agent provides the command \(quoted(command)); assign the plugin or "
                    + "correct the task"))
    }

    private func withdrawClaims(of id: PluginID) {
        undocumented.remove(id)
        unseen.remove(id)
        unavailable.remove(id)
        guard let state = states[id] else { return }
        for command in commands(of: state) {
            claims[command]?.remove(id)
            if claims[command]?.isEmpty == true { claims[command] = nil }
        }
    }

    /// What the plugin's document claims; nil where there is none.
    private func documented(by state: State) -> Set<String>? {
        switch state {
        case .loading(let commands): commands
        case .loaded(let plugin): Set(plugin.document.commands.keys)
        case .failed(_, let commands): commands.isEmpty ? nil : commands
        case .unavailable: nil
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
            .commandAmbiguous,
            message: "the command \(quoted(command)) is provided by the plugins \(names); give their commands "
                + "names that differ")
    }

    fileprivate static func unusable(_ command: String, plugin: PluginID, _ error: RunError) -> RunError {
        RunError(
            code: error.code, type: error.type,
            message: "the command \(quoted(command)) can't run: \(error.message)", traceback: error.traceback)
    }
}
