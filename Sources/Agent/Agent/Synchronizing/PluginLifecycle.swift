import AgentModel
import Cryptography
import Diagnostics
import Foundation
import Logging
import PluginExecution
import PluginStore
import RunJournal

/// Where one plugin is on its way from the backend's list into service and out of it.
///
/// A value without I/O and without a clock: it is told what happened and answers what is to be done, which
/// `PluginLoader` does. `docs/architecture.md` has the diagram.
struct PluginLifecycle: Sendable {
    indirect enum State: Sendable {
        /// Nothing of it is in service; the next synchronization fetches it.
        case waiting
        case fetching(Purpose, before: State)
        /// - Parameter hasFileChanged: its file was found changed meanwhile.
        case loading(VerifiedPlugin, before: State, hasFileChanged: Bool)
        case loaded(VerifiedPlugin, Confinement)
        /// What can't run as it is, is being taken out of service.
        case withdrawing(Failure)
        /// It could not be loaded.
        case failed(LoadRetry)
        /// Its script took the agent down too often.
        case quarantined
        /// Its file is no longer what was verified; nothing of it runs before it was fetched again.
        case damaged
        /// The backend doesn't list it any more, and its calls end.
        case unloading
    }

    /// What a fetch is for.
    enum Purpose: Sendable {
        /// To have the plugin as the backend wants it.
        /// - Parameter stored: what is stored and in quarantine, while it is asked whether the backend has another.
        case update(stored: VerifiedPlugin?)
        /// To look whether a plugin may leave its quarantine.
        case review(isReleased: Bool)
        /// To load the plugin again with other settings.
        case reload
    }

    /// What becomes of a plugin that can't run.
    struct Failure: Sendable {
        var state: State
        var shown: PluginCatalog.State
        /// For the log.
        var message: String
        var code: String
        var traceback: String?
        /// Whether there is nothing that another try could make better.
        var isFinal: Bool
    }

    enum Event: Sendable {
        /// The backend lists it. A new plugin is.
        case listed
        case unlisted
        /// A synchronization wants it as the backend has it.
        /// - Parameter redownloads: fetch it even where it is there (`force_redownload`).
        case synchronize(redownloads: Bool)
        case fetched(Result<VerifiedPlugin, PluginStoreError>)
        case loaded(Result<Confinement, PluginExecutionError>)
        case unloaded
        /// The configuration was reloaded.
        case settingsChanged
        /// The settings that it is to run with now.
        case settings(Confinement)
        case fileChanged
    }

    enum Action: Sendable {
        case fetch(anew: Bool)
        case load(VerifiedPlugin)
        /// Take it out of the executor, and wait for that.
        case unload
        /// Take it out of the executor without waiting, and delete its files.
        case retire
        /// Compare the settings that it runs with to those it should have.
        case checkSettings
        /// Give it settings that need no new load.
        case configure
        case show(PluginCatalog.State)
        /// Nothing is known of it any more.
        case hide
        case forget
        case reportVerified(VerifiedPlugin)
        case reportCommands(VerifiedPlugin)
        case log(Logger.Level, String, code: String? = nil)
        /// The synchronization has nothing more to do.
        /// - Parameter isReady: whether it is as the backend wants it, or can't be.
        case finish(isReady: Bool, wasReplaced: Bool = false)
    }

    private(set) var state = State.waiting
    private(set) var isListed = true
    /// The configuration was reloaded while this was on its way.
    private var hasNewSettings = false
    /// For which script it is in quarantine, and why.
    var crashes: PluginCrashes?
    let id: PluginID

    init(id: PluginID) { self.id = id }

    /// Whether a synchronization would find nothing to do.
    func isSettled(redownloads: Bool, now: Date) -> Bool {
        switch state {
        case .loaded: !redownloads
        // It would fail the same way: the document under one id doesn't change unless it is fetched anew.
        case .failed(let failure): !redownloads && !failure.isPast(at: now)
        default: false
        }
    }

    var isLoaded: Bool { if case .loaded = state { true } else { false } }

    mutating func next(_ event: Event, now: Date) -> [Action] {
        switch event {
        case .listed:
            isListed = true
            return []
        case .unlisted: return unlist()
        case .synchronize(let redownloads): return synchronize(redownloads: redownloads, now: now)
        case .fetched(let result):
            guard case .fetching(let purpose, let before) = state else { return [] }
            guard isListed else { return retire() }
            switch result {
            case .success(let plugin): return take(plugin, purpose, before: before, now: now)
            case .failure(let error): return fail(error, purpose, before: before, now: now)
            }
        case .loaded(let result):
            guard case .loading(let plugin, let before, let hasFileChanged) = state else { return [] }
            guard isListed else { return retire() }
            switch result {
            case .success(let confinement):
                // It runs as it was verified; who finds its file changed again is told so again.
                state = hasFileChanged ? .damaged : .loaded(plugin.withoutScript(), confinement)
                return [.show(.loaded(plugin.withoutScript())), .reportCommands(plugin)] + settingsToCheck()
                    + [.finish(isReady: true, wasReplaced: before.isLoaded)]
            case .failure(let error): return fail(error, plugin, before: before, now: now)
            }
        case .unloaded: return unloaded()
        case .settingsChanged:
            hasNewSettings = true
            return isLoaded ? settingsToCheck() : []
        case .settings(let wanted):
            guard case .loaded(let plugin, let confinement) = state else { return [] }
            if confinement.allows(wanted) { return [.configure] }
            // What confines a process is decided before its code runs.
            state = .fetching(.reload, before: .loaded(plugin, confinement))
            return [.fetch(anew: false)]
        case .fileChanged: return noteChangedFile()
        }
    }

    // MARK: Synchronizing

    private mutating func synchronize(redownloads: Bool, now: Date) -> [Action] {
        guard isListed else { return [.finish(isReady: false)] }
        if isSettled(redownloads: redownloads, now: now) { return [.finish(isReady: true)] }
        switch state {
        // One synchronization at a time brings it up to date.
        case .fetching, .loading, .withdrawing: return [.finish(isReady: false)]
        case .unloading:
            return [.show(.unavailable(reason: "it is still being unloaded")), .finish(isReady: false)]
        case .quarantined:
            // Fetched anew each time, because the backend may publish another script under the id.
            let isReleased = crashes == nil
            state = .fetching(.review(isReleased: isReleased), before: state)
            return [.fetch(anew: !isReleased)]
        case .waiting, .loaded, .failed, .damaged:
            state = .fetching(.update(stored: nil), before: state)
            return [.fetch(anew: redownloads)]
        }
    }

    private mutating func take(
        _ plugin: VerifiedPlugin, _ purpose: Purpose, before: State, now: Date
    ) -> [Action] {
        switch purpose {
        case .reload:
            state = .loading(plugin, before: before, hasFileChanged: false)
            return [.load(plugin)]
        case .review(let isReleased):
            guard !isQuarantined(plugin) else {
                state = before
                return [.finish(isReady: true)]
            }
            state = .loading(plugin, before: .waiting, hasFileChanged: false)
            let news =
                isReleased ? "the plugin was released from quarantine" : "the plugin has another script than before"
            return [.log(.notice, news), .load(plugin)]
        case .update(stored: nil) where isQuarantined(plugin):
            // What is stored is what was quarantined; the backend may have another script by now.
            state = .fetching(.update(stored: plugin), before: before)
            return [.fetch(anew: true)]
        case .update: return update(to: plugin, before: before, now: now)
        }
    }

    private mutating func update(to plugin: VerifiedPlugin, before: State, now: Date) -> [Action] {
        switch before {
        case .loaded(let loaded, _) where loaded.isSame(as: plugin):
            state = before
            return settingsToCheck() + [.finish(isReady: true)]
        case .failed(let failure) where failure.scriptHash == plugin.digest.hex && !failure.isPast(at: now):
            state = before
            return [.finish(isReady: true)]
        default: break
        }
        if let crashes, isQuarantined(plugin) {
            state = .quarantined
            let error = RunError.quarantined(crashes)
            return [
                .show(.failed(error: error, commands: Set(plugin.document.commands.keys))),
                .log(.error, error.message, code: error.code), .finish(isReady: true),
            ]
        }
        state = .loading(plugin, before: before, hasFileChanged: false)
        var actions: [Action] = []
        // Others may have a command of the same name.
        if case .waiting = before { actions = [.show(.loading(commands: Set(plugin.document.commands.keys)))] }
        return actions + [.reportVerified(plugin), .load(plugin)]
    }

    private func isQuarantined(_ plugin: VerifiedPlugin) -> Bool { crashes?.scriptHash == plugin.digest.hex }

    /// Once for each reload of the configuration: what a policy comes to also depends on links that a plugin may change,
    /// and must not have it loaded again and again.
    private mutating func settingsToCheck() -> [Action] {
        defer { hasNewSettings = false }
        return hasNewSettings ? [.checkSettings] : []
    }

    // MARK: Failures

    private mutating func fail(
        _ error: PluginStoreError, _ purpose: Purpose, before: State, now: Date
    ) -> [Action] {
        switch purpose {
        case .update(let stored?): return update(to: stored, before: before, now: now)
        case .review:
            // It stays where it is.
            state = before
            return [.log(.debug, error.message, code: error.code), .finish(isReady: !error.isTransient)]
        case .reload:
            state = .damaged
            return [.show(.damaged), .finish(isReady: false)]
        case .update(stored: nil): break
        }
        // A plugin that is loaded and could only not be fetched anew goes on as it is.
        if before.isLoaded, error.isTransient {
            state = before
            return [.log(.warning, error.message, code: error.code)] + settingsToCheck() + [.finish(isReady: false)]
        }
        let shown: PluginCatalog.State =
            error.isTransient
            ? .unavailable(reason: error.message)
            : .failed(error: RunError(code: error.code, message: error.message), commands: error.commands)
        state = .withdrawing(
            Failure(state: .waiting, shown: shown, message: error.message, code: error.code, isFinal: false))
        return [.unload]
    }

    private mutating func fail(
        _ error: PluginExecutionError, _ plugin: VerifiedPlugin, before: State, now: Date
    ) -> [Action] {
        if case .stopped = error {
            // The agent ends; nothing is wrong with the plugin.
            state = before
            return [.finish(isReady: false)]
        }
        var last: LoadRetry?
        if case .failed(let failure) = before { last = failure }
        let failure = LoadRetry(error, of: plugin.digest.hex, after: last, at: now)
        let shown = PluginCatalog.State.failed(
            error: RunError(code: error.code, message: error.message, traceback: error.traceback),
            commands: Set(plugin.document.commands.keys))
        // What can't be loaded must not run in its old form either: the backend has withdrawn that.
        state = .withdrawing(
            Failure(
                state: .failed(failure), shown: shown, message: error.message, code: error.code,
                traceback: error.traceback, isFinal: true))
        return [.unload]
    }

    private mutating func noteChangedFile() -> [Action] {
        switch state {
        case .loaded: state = .damaged
        case .fetching(let purpose, .loaded): state = .fetching(purpose, before: .damaged)
        case .loading(let plugin, let before, _): state = .loading(plugin, before: before, hasFileChanged: true)
        // Nothing of it runs.
        case .waiting, .fetching, .withdrawing, .failed, .quarantined, .damaged, .unloading: return []
        }
        return [.show(.damaged)]
    }

    // MARK: The end

    private mutating func unlist() -> [Action] {
        isListed = false
        switch state {
        // It goes at the end of what is under way. Where it is listed again before, it begins anew, because it was hidden.
        case .fetching(let purpose, _):
            state = .fetching(purpose, before: .waiting)
            return [.hide]
        case .loading, .withdrawing, .unloading: return [.hide]
        case .waiting, .loaded, .failed, .quarantined, .damaged: return retire()
        }
    }

    private mutating func retire() -> [Action] {
        state = .unloading
        return [.hide, .retire, .finish(isReady: false)]
    }

    private mutating func unloaded() -> [Action] {
        switch state {
        case .withdrawing(let failure):
            guard isListed else { return retire() }
            state = failure.state
            var actions: [Action] = [.show(failure.shown), .log(.error, failure.message, code: failure.code)]
            if let traceback = failure.traceback { actions.append(.log(.error, traceback, code: failure.code)) }
            return actions + [.finish(isReady: failure.isFinal)]
        case .unloading:
            state = .waiting
            return isListed ? [] : [.forget]
        default: return []
        }
    }
}

extension PluginLifecycle.State {
    fileprivate var isLoaded: Bool { if case .loaded = self { true } else { false } }
}

extension PluginCatalog.State {
    fileprivate static let damaged = Self.unavailable(reason: "its file was changed and is fetched again")
}

extension VerifiedPlugin {
    /// Whether it would be loaded and called as the other is.
    fileprivate func isSame(as other: VerifiedPlugin) -> Bool {
        digest == other.digest && commands == other.commands && document.sandbox == other.document.sandbox
            && document.name == other.document.name
    }
}

extension RunError {
    fileprivate static func quarantined(_ crashes: PluginCrashes) -> RunError {
        RunError(
            .pluginQuarantined,
            message: "the plugin \(quoted(crashes.pluginID)) is in quarantine: its code took the agent's process down "
                + "\(crashes.count) times in a row, last \(crashes.cause); publish a corrected script, or release it "
                + "with 'runbook-agent plugin release \(crashes.pluginID)'")
    }
}
