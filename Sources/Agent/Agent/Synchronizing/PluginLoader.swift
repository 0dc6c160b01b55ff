public import AgentModel
import BackendClient
import Diagnostics
public import Logging
public import PluginExecution
public import PluginStore
public import RunJournal
import Threads

/// Makes the plugins that run those that the backend wants: fetched, verified, loaded; the others unloaded.
public actor PluginLoader {
    // More than a dozen properties: most are what it is given; what it knows of a plugin is `PluginLifecycle`.
    let store: PluginStore
    let executor: any Executor
    let catalog: PluginCatalog
    let settings: @Sendable (PluginID, String) -> PluginSettings
    let forget: @Sendable (PluginID) -> Void
    private let crashes: @Sendable () async -> [String: PluginCrashes]?
    private let redownloads: Bool
    let clock: any WallClock
    let collectGarbage: @Sendable () async -> Void
    let onChange: @Sendable () -> Void
    private let memory: PluginMemory
    private let firstFetchGrace: Duration
    let logger: Logger
    private var isMemoryRead = false
    var plugins: [PluginID: PluginLifecycle] = [:]
    /// Plugins that were never seen and for which others wait, or have waited.
    private var waitedFor: Set<PluginID> = []
    /// The crashes of those that may not run in this process, as the journal had them last.
    private var quarantined: [String: PluginCrashes] = [:]
    /// Ids in the backend's list that are none.
    private var saidBefore: Set<String> = []

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
        for id in plugins.keys.sorted() { _ = await process(.settingsChanged, of: id) }
    }

    /// Takes the plugin out of service until it has been fetched again.
    public func markDamaged(_ id: PluginID) async { _ = await process(.fileChanged, of: id) }

    /// Takes the backend's list over: what isn't on it goes out of service, what is new there is waited for.
    ///
    /// - Parameter listed: as the backend wrote them.
    /// - Returns: what is to be brought up to date.
    public func accept(_ listed: [String]) async -> [PluginID] {
        let ids = validIDs(listed)
        if !isMemoryRead {
            isMemoryRead = true
            await catalog.remember(await memory.read())
        }
        // What can't be read now is as it was.
        if let crashes = await crashes() { quarantined = crashes.filter(\.value.isQuarantined) }
        await unlistAll(except: Set(ids))
        for id in ids {
            var plugin = plugins[id] ?? PluginLifecycle(id: id)
            _ = plugin.next(.listed, now: clock.now)
            plugin.crashes = quarantined[id.rawValue]
            plugins[id] = plugin
        }
        let outdated = ids.filter { plugins[$0]?.isSettled(redownloads: redownloads, now: clock.now) == false }
        await catalog.expect(ids, outdated: Set(outdated))
        await limitWaiting()
        return ids
    }

    /// Has nothing wait for longer than a moment for plugins that were never seen.
    private func limitWaiting() async {
        waitedFor = waitedFor.filter { plugins[$0]?.isListed == true }
        let new = await catalog.heldBackFor.subtracting(waitedFor)
        guard !new.isEmpty else { return }
        waitedFor.formUnion(new)
        Task { [catalog, firstFetchGrace, onChange] in
            try? await Task.sleep(for: firstFetchGrace)
            await catalog.passOver(new)
            onChange()
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

    private func bringUpToDate(_ id: PluginID) async -> Update {
        let update = await process(.synchronize(redownloads: redownloads), of: id)
        if plugins[id]?.isListed == true, await catalog.isUpToDate(id) { onChange() }
        return update
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

    /// Takes out of service what the backend doesn't list any more, and removes its files.
    private func unlistAll(except wanted: Set<PluginID>) async {
        let stored = (try? await store.storedIDs()) ?? []
        for id in Set(plugins.keys).union(stored).subtracting(wanted).sorted() {
            if plugins[id] == nil { plugins[id] = PluginLifecycle(id: id) }
            guard plugins[id]?.isListed == true else { continue }
            _ = await process(.unlisted, of: id)
        }
    }
}
