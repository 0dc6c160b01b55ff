public import AgentModel
import BackendClient
import Cryptography
import Diagnostics
import Foundation
public import Logging
public import PluginExecution
public import PluginStore
public import RunJournal
import Sandbox
import Threads

/// Makes the plugins that run those that the backend wants: fetched, verified, loaded; the others unloaded.
public actor PluginLoader {
    private let store: PluginStore
    private let executor: any Executor
    private let catalog: PluginCatalog
    private let settings: @Sendable (PluginID, String) -> PluginSettings
    private let forget: @Sendable (PluginID) -> Void
    private let crashes: @Sendable () async -> [String: PluginCrashes]?
    private let redownloads: Bool
    private let clock: any WallClock
    private let collectGarbage: @Sendable () async -> Void
    private let onChange: @Sendable () -> Void
    private let memory: PluginMemory
    private let firstFetchGrace: Duration
    private let logger: Logger
    private var isMemoryRead = false
    /// Plugins that were never seen and for which others wait, or have waited.
    private var waitedFor: Set<PluginID> = []
    /// As the backend listed them last.
    private var wanted: Set<PluginID> = []
    /// Plugins that are being brought up to date. One of them takes its time and no other's.
    private var busy: Set<PluginID> = []
    private var saidBefore: Set<String> = []
    /// What each plugin was loaded with that a loaded one can't be given otherwise.
    private var confinements: [PluginID: Confinement] = [:]
    /// Plugins that are being unloaded.
    private var retiring: Set<PluginID> = []
    /// Plugins whose file turned out to be another than what was verified.
    private var damaged: Set<PluginID> = []
    /// Scripts that could not be loaded and aren't tried again at every poll.
    private var failures: [PluginID: LoadingFailure] = [:]
    /// The crashes of those that are not run in this process any more, as the journal had them last.
    private var quarantined: [String: PluginCrashes] = [:]
    /// Those of them that would be loaded otherwise, with the script they were refused for.
    private var heldBack: [PluginID: String] = [:]

    /// - Parameters:
    ///   - settings: of a plugin, by its id and the name in its document.
    ///   - forget: the plugin is no longer listed.
    ///   - crashes: how often plugins took the agent down, asked for once a synchronization; nil where that can't be
    ///     read.
    ///   - redownloads: fetch every plugin anew at each synchronization (`force_redownload`).
    ///   - collectGarbage: called after a plugin was unloaded, and after plugins were replaced.
    ///   - onChange: called whenever the catalog says something else of a plugin.
    ///   - memory: of what plugins claimed in an earlier life of the agent.
    ///   - firstFetchGrace: how long commands of others wait for a plugin that was never seen and may claim them too.
    public init(
        store: PluginStore, executor: any Executor, catalog: PluginCatalog,
        settings: @escaping @Sendable (PluginID, String) -> PluginSettings,
        forget: @escaping @Sendable (PluginID) -> Void,
        crashes: @escaping @Sendable () async -> [String: PluginCrashes]?, redownloads: Bool,
        clock: any WallClock, collectGarbage: @escaping @Sendable () async -> Void,
        onChange: @escaping @Sendable () -> Void, memory: PluginMemory = PluginMemory(),
        firstFetchGrace: Duration = .seconds(3), logger: Logger
    ) {
        self.store = store
        self.executor = executor
        self.catalog = catalog
        self.settings = settings
        self.forget = forget
        self.crashes = crashes
        self.redownloads = redownloads
        self.clock = clock
        self.collectGarbage = collectGarbage
        self.onChange = onChange
        self.memory = memory
        self.firstFetchGrace = firstFetchGrace
        self.logger = logger
    }

    /// Has the settings of plugins that are loaded take effect.
    public func applySettings() async {
        for case (let id, .loaded(let plugin)) in await catalog.plugins {
            let new = settings(id, plugin.document.name)
            let policy = new.sandboxPolicy(for: plugin.document.sandbox)?.policy
            guard let old = confinements[id], !old.allows(policy, concurrency: new.concurrency) else {
                executor.configure(
                    id, concurrency: new.concurrency, timeLimit: new.taskTimeout, keepsPrograms: new.keepsPrograms)
                continue
            }
            // What confines a process is decided before its code runs.
            guard let stored = try? await store.plugin(id, forceRedownload: false) else {
                await markDamaged(id)
                continue
            }
            // Meanwhile the backend may have taken it away.
            guard case .loaded? = await catalog.state(of: id) else { continue }
            _ = await load(stored, replacing: .loaded(plugin))
        }
    }

    /// Takes the plugin out of service until it has been fetched again.
    public func markDamaged(_ id: PluginID) async {
        damaged.insert(id)
        await set(.unavailable(reason: "its file was changed and is fetched again"), for: id)
    }

    /// Takes the backend's list over: what isn't on it goes out of service, what is new there is waited for.
    ///
    /// - Parameter listed: as the backend wrote them.
    /// - Returns: what is to be brought up to date.
    public func accept(_ listed: [String]) async -> [PluginID] {
        let ids = validIDs(listed)
        wanted = Set(ids)
        if !isMemoryRead {
            isMemoryRead = true
            await catalog.remember(await memory.read())
        }
        // What can't be read now is as it was.
        if let crashes = await crashes() { quarantined = crashes.filter(\.value.isQuarantined) }
        await unloadAll(except: wanted)
        let states = await catalog.plugins
        await catalog.expect(ids, outdated: Set(ids.filter { !isSettled($0, states[$0]) }))
        await limitWaiting()
        return ids
    }

    /// Has nothing wait for longer than a moment for plugins that were never seen.
    private func limitWaiting() async {
        waitedFor.formIntersection(wanted)
        let new = await catalog.heldBackFor.subtracting(waitedFor)
        guard !new.isEmpty else { return }
        waitedFor.formUnion(new)
        Task { [catalog, firstFetchGrace, onChange] in
            try? await Task.sleep(for: firstFetchGrace)
            await catalog.passOver(new)
            onChange()
        }
    }

    /// Whether a synchronization has nothing to do for a plugin in this state.
    private func isSettled(_ id: PluginID, _ state: PluginCatalog.State?) -> Bool {
        guard !redownloads, !damaged.contains(id), heldBack[id] == nil else { return false }
        switch state {
        case .loaded: return true
        // It would fail the same way: the document under one id doesn't change unless it is fetched anew.
        case .failed: return failures[id]?.isPast(at: clock.now) == false
        default: return false
        }
    }

    /// Fetches, verifies and loads what isn't as the backend wants it. May go on beside a later one: what that finds
    /// under way it leaves alone.
    ///
    /// - Returns: whether every plugin that could be had is there.
    public func bringUpToDate(_ plugins: [PluginID]) async -> Bool {
        var hasReplaced = false
        var isComplete = true
        // What is stored needs no answer of the backend, and goes first.
        let stored = Set((try? await store.storedIDs()) ?? [])
        var ids = (plugins.filter(stored.contains) + plugins.filter { !stored.contains($0) })[...]
        // In parallel, because each costs a round trip; a few, because each may be megabytes. One that takes long gives
        // its place up: a backend that doesn't answer for some must not keep the others from being asked for.
        await withTaskGroup(of: Progress.self) { group in
            var starts: [PluginID: ContinuousClock.Instant] = [:]
            var isTicking = false
            func startMore() {
                let now = ContinuousClock.now
                var quick = starts.values.count { $0.duration(to: now) < Self.slowness }
                while quick < Self.parallel, starts.count < Self.mostParallel, let id = ids.popFirst() {
                    starts[id] = now
                    quick += 1
                    group.addTask { .ended(id, await self.bringUpToDate(id)) }
                }
                guard !isTicking, !ids.isEmpty else { return }
                isTicking = true
                group.addTask {
                    try? await Task.sleep(for: Self.slowness)
                    return .tick
                }
            }
            startMore()
            for await progress in group {
                switch progress {
                case .tick: isTicking = false
                case .ended(let id, let update):
                    starts[id] = nil
                    hasReplaced = hasReplaced || update.wasReplaced
                    isComplete = isComplete && update.isReady
                }
                if starts.isEmpty, ids.isEmpty { group.cancelAll() }
                startMore()
            }
        }
        if let claims = await catalog.claimsToKeep() { await memory.keep(claims) }
        if hasReplaced { await collectGarbage() }
        return isComplete
    }

    private static let parallel = 4
    private static let mostParallel = 24
    /// Who takes longer isn't one of the few.
    private static let slowness = Duration.milliseconds(500)

    private enum Progress: Sendable {
        case ended(PluginID, Update)
        /// Somebody may have become slow.
        case tick
    }

    /// What became of one plugin.
    private struct Update {
        /// Whether it is as the backend wants it, or can't be.
        var isReady: Bool
        var wasReplaced = false
    }

    private func bringUpToDate(_ id: PluginID) async -> Update {
        guard wanted.contains(id), busy.insert(id).inserted else { return Update(isReady: false) }
        let update = await update(id)
        busy.remove(id)
        if await catalog.isUpToDate(id) { onChange() }
        // The backend took it off its list meanwhile.
        if !wanted.contains(id) { await drop(id) }
        return update
    }

    private func set(_ state: PluginCatalog.State, for id: PluginID) async {
        guard wanted.contains(id) else { return }
        await catalog.set(state, for: id)
        onChange()
    }

    private func validIDs(_ listed: [String]) -> [PluginID] {
        var seen: Set<PluginID> = []
        return listed.compactMap { text in
            do throws(AgentModelError) {
                let id = try PluginID(text)
                return seen.insert(id).inserted ? id : nil
            } catch {
                // A backend that errs anew at every poll must not fill the memory.
                if saidBefore.count > 1000 { saidBefore.removeAll() }
                if saidBefore.insert(quoted(text)).inserted {
                    logger.error("\(error.message)", metadata: ["code": "\(error.code)"])
                }
                return nil
            }
        }
    }

    /// Unloads a plugin beside the synchronization, which must not wait for the plugin's calls in flight. Their time
    /// limits end it.
    private func startRetiring(_ id: PluginID) {
        retiring.insert(id)
        Task {
            if let error = await executor.unload(id) {
                logger.warning(
                    "the plugin's shutdown() failed: \(error.sentence)",
                    metadata: ["plugin": "\(id)", "code": "\(error.code)"])
            }
            retiring.remove(id)
            await collectGarbage()
        }
    }

    /// Unloads what the backend doesn't list any more, and removes its files.
    private func unloadAll(except wanted: Set<PluginID>) async {
        let known = Set(await catalog.plugins.keys)
        let stored = (try? await store.storedIDs()) ?? []
        for id in known.union(stored).subtracting(wanted).sorted() {
            await catalog.remove(id)
            // One that is under way is dropped at the end of that.
            if !busy.contains(id) { await drop(id) }
        }
    }

    private func drop(_ id: PluginID) async {
        await catalog.remove(id)
        startRetiring(id)
        damaged.remove(id)
        failures[id] = nil
        heldBack[id] = nil
        confinements[id] = nil
        forget(id)
        do {
            try await store.remove(id)
            logger.info("plugin unloaded", metadata: ["plugin": "\(id)"])
        } catch {
            logger.error("\(error.message)", metadata: ["plugin": "\(id)", "code": "\(error.code)"])
        }
    }

    private func update(_ id: PluginID) async -> Update {
        guard !retiring.contains(id) else {
            await set(.unavailable(reason: "it is still being unloaded"), for: id)
            return Update(isReady: false)
        }
        let state = await catalog.state(of: id)
        if isSettled(id, state) { return Update(isReady: true) }
        if heldBack[id] != nil, case .failed? = state { return Update(isReady: await reconsider(id)) }
        switch await current(id) {
        case .failure(let error):
            await fail(id, current: state, error)
            return Update(isReady: false)
        case .success(let plugin):
            damaged.remove(id)
            return await update(to: plugin, from: state)
        }
    }

    private func update(to plugin: VerifiedPlugin, from state: PluginCatalog.State?) async -> Update {
        let id = plugin.id
        if case .loaded(let loaded) = state, loaded.digest == plugin.digest, loaded.commands == plugin.commands,
            loaded.document.sandbox == plugin.document.sandbox, loaded.document.name == plugin.document.name
        {
            return Update(isReady: true)
        }
        if let failure = failures[id], failure.scriptHash == plugin.digest.hex, !failure.isPast(at: clock.now),
            case .failed? = state
        {
            return Update(isReady: true)
        }
        if let crashes = quarantine(of: plugin) {
            await holdBack(plugin, crashes)
            return Update(isReady: true)
        }
        // Others may have a command of the same name.
        if case .loading? = state { await set(.loading(commands: Set(plugin.document.commands.keys)), for: id) }
        logger.info(
            "script and file match the SHA-512",
            metadata: ["plugin": "\(id)", "sha512": "\(plugin.digest.hex.prefix(16))…"])
        return await load(plugin, replacing: state)
    }

    /// The plugin as it is stored or, where that is needed, as the backend has it now.
    ///
    /// A result and no error that is thrown: with the optimizer, Swift 6.3 gave the caller of that too small a frame, and
    /// wrote past its end.
    private func current(_ id: PluginID) async -> Result<VerifiedPlugin, PluginStoreError> {
        let stored = await fetch(id, forceRedownload: redownloads)
        // What is stored is what was quarantined; the backend may have another script by now.
        guard case .success(let plugin) = stored, quarantine(of: plugin) != nil else { return stored }
        guard case .success(let published) = await fetch(id, forceRedownload: true) else { return stored }
        return .success(published)
    }

    private func fetch(_ id: PluginID, forceRedownload: Bool) async -> Result<VerifiedPlugin, PluginStoreError> {
        do throws(PluginStoreError) {
            return .success(try await store.plugin(id, forceRedownload: forceRedownload))
        } catch {
            return .failure(error)
        }
    }

    private func quarantine(of plugin: VerifiedPlugin) -> PluginCrashes? {
        guard let crashes = quarantined[plugin.id.rawValue], crashes.scriptHash == plugin.digest.hex else { return nil }
        return crashes
    }

    private func holdBack(_ plugin: VerifiedPlugin, _ crashes: PluginCrashes) async {
        heldBack[plugin.id] = plugin.digest.hex
        let error = RunError.quarantined(crashes)
        await set(.failed(error: error, commands: Set(plugin.document.commands.keys)), for: plugin.id)
        logger.error("\(error.message)", metadata: ["plugin": "\(plugin.id)", "code": "\(error.code)"])
    }

    /// Looks whether a plugin in quarantine may run again: released, or with another script. It is fetched anew for
    /// that each time, because the backend may publish a script under the id that it had.
    private func reconsider(_ id: PluginID) async -> Bool {
        let isReleased = quarantined[id.rawValue] == nil
        do throws(PluginStoreError) {
            let plugin = try await store.plugin(id, forceRedownload: !isReleased)
            guard quarantine(of: plugin) == nil else { return true }
            heldBack[id] = nil
            logger.notice(
                isReleased ? "the plugin was released from quarantine" : "the plugin has another script than before",
                metadata: ["plugin": "\(id)"])
            _ = await load(plugin, replacing: nil)
            return true
        } catch {
            // It stays where it is.
            logger.debug("\(error.message)", metadata: ["plugin": "\(id)", "code": "\(error.code)"])
            return !error.isTransient
        }
    }

    private func load(
        _ plugin: VerifiedPlugin, replacing current: PluginCatalog.State?
    ) async -> Update {
        let id = plugin.id
        let settings = settings(id, plugin.document.name)
        let sandbox = settings.sandboxPolicy(for: plugin.document.sandbox)
        do throws(PluginExecutionError) {
            let output = try await executor.load(
                PluginImage(
                    id: id, script: plugin.script, path: plugin.path, scriptHash: plugin.digest.hex,
                    concurrency: settings.concurrency, timeLimit: settings.taskTimeout,
                    keepsPrograms: settings.keepsPrograms, sandbox: sandbox?.policy))
            confinements[id] = Confinement(policy: sandbox?.policy, concurrency: settings.concurrency)
            if !output.isEmpty {
                logger.info(
                    "output while loading the plugin: \(quoted(output, limit: 500))", metadata: ["plugin": "\(id)"]
                )
            }
            failures[id] = nil
            await set(.loaded(plugin.withoutScript()), for: id)
            await reportCommands(of: plugin)
            report(sandbox?.refused ?? [], of: id)
            if case .loaded? = current { return Update(isReady: true, wasReplaced: true) }
            return Update(isReady: true)
        } catch .stopped {
            // The agent ends; nothing is wrong with the plugin.
            return Update(isReady: false)
        } catch {
            failures[id] = LoadingFailure(error, of: plugin.digest.hex, after: failures[id], at: clock.now)
            // What can't be loaded must not run in its old form either: the backend has withdrawn that.
            _ = await executor.unload(id)
            await set(
                .failed(
                    error: RunError(code: error.code, message: error.message, traceback: error.traceback),
                    commands: Set(plugin.document.commands.keys)), for: id)
            logger.error("\(error.message)", metadata: ["plugin": "\(id)", "code": "\(error.code)"])
            if let traceback = error.traceback {
                logger.error("\(traceback)", metadata: ["plugin": "\(id)", "code": "\(error.code)"])
            }
            return Update(isReady: true)
        }
    }

    private func reportCommands(of plugin: VerifiedPlugin) async {
        logger.info(
            "plugin loaded",
            metadata: [
                "plugin": "\(plugin.id)", "name": "\(plugin.document.name)",
                "commands": "\(plugin.commands.keys.sorted().joined(separator: ", "))",
            ])
        for problem in plugin.problems {
            logger.error("\(problem.message)", metadata: ["plugin": "\(plugin.id)", "code": "\(problem.code)"])
        }
        let missing = await executor.missingFunctions(
            among: plugin.commands.values.map(\.function).sorted(), of: plugin.id)
        for function in missing {
            logger.error(
                """
                the script has no method \(quoted(function)) that a command names; publish the plugin with commands \
                that fit its script
                """, metadata: ["plugin": "\(plugin.id)", "code": "plugin.function_missing"])
        }
    }

    private func report(_ refused: [SandboxRefusal], of id: PluginID) {
        for refusal in refused {
            logger.warning(
                "\(refusal.sentence)", metadata: ["plugin": "\(id)", "code": "plugin.sandbox_request_refused"])
        }
    }

    private func fail(_ id: PluginID, current: PluginCatalog.State?, _ error: PluginStoreError) async {
        // A plugin that is loaded and could only not be fetched anew goes on as it is.
        if case .loaded? = current, error.isTransient, !damaged.contains(id) {
            logger.warning("\(error.message)", metadata: ["plugin": "\(id)", "code": "\(error.code)"])
            return
        }
        _ = await executor.unload(id)
        if error.isTransient {
            await set(.unavailable(reason: error.message), for: id)
        } else {
            await set(
                .failed(error: RunError(code: error.code, message: error.message), commands: error.commands), for: id)
        }
        logger.error("\(error.message)", metadata: ["plugin": "\(id)", "code": "\(error.code)"])
    }
}

/// What is decided before a plugin's code runs.
private struct Confinement {
    var policy: SandboxPolicy?
    /// How many calls its process can take.
    var concurrency: Int

    func allows(_ other: SandboxPolicy?, concurrency: Int) -> Bool {
        policy == other && (policy == nil || concurrency <= self.concurrency)
    }
}

/// A script that could not be loaded, and when it is tried again.
private struct LoadingFailure {
    let scriptHash: String
    /// Nil: never, it fails the same way again.
    private let pause: (start: Date, seconds: TimeInterval)?

    private static let firstPause: TimeInterval = 60
    private static let longestPause: TimeInterval = 3600

    /// Nil where it is tried again at the next poll: a constructor may find then what is missing now.
    init?(_ error: PluginExecutionError, of scriptHash: String, after last: LoadingFailure?, at now: Date) {
        self.scriptHash = scriptHash
        if error.isPermanent {
            pause = nil
        } else if error.isTimeLimit {
            // Each try takes a worker for as long as the time limit.
            let before = last?.scriptHash == scriptHash ? last?.pause?.seconds : nil
            pause = (now, before.map { min($0 * 2, Self.longestPause) } ?? Self.firstPause)
        } else {
            return nil
        }
    }

    /// Whether it is time to try again. A clock that was set back is no reason to wait for longer.
    func isPast(at now: Date) -> Bool {
        guard let pause else { return false }
        return !(0..<pause.seconds).contains(now.timeIntervalSince(pause.start))
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
