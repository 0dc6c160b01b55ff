public import AgentModel
import BackendClient
import Cryptography
public import Logging
public import PluginExecution
public import PluginStore
public import RunJournal
import Sandbox

/// Makes the plugins that run those that the backend wants: fetched, verified, loaded; the others unloaded.
public actor PluginLoader {
    private let store: PluginStore
    private let executor: any Executor
    private let catalog: PluginCatalog
    private let settings: @Sendable (PluginID) -> PluginSettings
    private let crashes: @Sendable () async -> [String: PluginCrashes]?
    private let redownloads: Bool
    private let collectGarbage: @Sendable () async -> Void
    private let logger: Logger
    private var saidBefore: Set<String> = []
    /// What each plugin was loaded with that a loaded one can't be given otherwise.
    private var confinements: [PluginID: Confinement] = [:]
    /// Plugins that are being unloaded.
    private var retiring: Set<PluginID> = []
    /// Plugins whose file turned out to be another than what was verified.
    private var damaged: Set<PluginID> = []
    /// The hash of a script that could not be loaded, so that it isn't tried again at every poll.
    private var failedHashes: [PluginID: String] = [:]
    /// The crashes of those that are not run in this process any more, as the journal had them last.
    private var quarantined: [String: PluginCrashes] = [:]
    /// Those of them that would be loaded otherwise, with the script they were refused for.
    private var heldBack: [PluginID: String] = [:]

    /// - Parameters:
    ///   - crashes: how often plugins took the agent down, asked for once a synchronization; nil where that can't be
    ///     read.
    ///   - redownloads: fetch every plugin anew at each synchronization (`force_redownload`).
    ///   - collectGarbage: called after a plugin was unloaded, and after plugins were replaced.
    public init(
        store: PluginStore, executor: any Executor, catalog: PluginCatalog,
        settings: @escaping @Sendable (PluginID) -> PluginSettings,
        crashes: @escaping @Sendable () async -> [String: PluginCrashes]?, redownloads: Bool,
        collectGarbage: @escaping @Sendable () async -> Void, logger: Logger
    ) {
        self.store = store
        self.executor = executor
        self.catalog = catalog
        self.settings = settings
        self.crashes = crashes
        self.redownloads = redownloads
        self.collectGarbage = collectGarbage
        self.logger = logger
    }

    /// Has the settings of plugins that are loaded take effect.
    public func applySettings() async {
        for case (let id, .loaded(let plugin)) in await catalog.plugins {
            let new = settings(id)
            let policy = new.sandboxPolicy(for: plugin.document.sandbox)?.policy
            guard let old = confinements[id], !old.allows(policy, concurrency: new.concurrency) else {
                executor.configure(id, concurrency: new.concurrency, timeLimit: new.taskTimeout)
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
        await catalog.set(.unavailable(reason: "its file was changed and is fetched again"), for: id)
    }

    /// - Parameter listed: as the backend wrote them.
    /// - Returns: whether every plugin that could be had is there.
    public func synchronize(_ listed: [String]) async -> Bool {
        let wanted = validIDs(listed)
        // What can't be read now is as it was.
        if let crashes = await crashes() { quarantined = crashes.filter(\.value.isQuarantined) }
        await unloadAll(except: Set(wanted))
        var hasChanged = false
        var isComplete = true
        // In parallel, because each costs a round trip; a few, because each may be megabytes.
        await withTaskGroup(of: (PluginID, Bool, Bool).self) { group in
            var ids = wanted[...]
            for _ in 0..<4 {
                guard let id = ids.popFirst() else { break }
                group.addTask { await self.bringUpToDate(id) }
            }
            for await (_, wasReplaced, isThere) in group {
                hasChanged = hasChanged || wasReplaced
                isComplete = isComplete && isThere
                if let id = ids.popFirst() { group.addTask { await self.bringUpToDate(id) } }
            }
        }
        await catalog.markComplete()
        if hasChanged { await collectGarbage() }
        return isComplete
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
                    "the plugin's shutdown() failed: \(error.message)",
                    metadata: ["plugin": "\(id)", "code": "\(error.code)"])
            }
            retiring.remove(id)
            await collectGarbage()
        }
    }

    /// Unloads what the backend doesn't list any more, and removes its files.
    private func unloadAll(except wanted: Set<PluginID>) async {
        let known = Set(await catalog.plugins.keys)
        let stored = (try? store.storedIDs()) ?? []
        for id in known.union(stored).subtracting(wanted).sorted() {
            await catalog.remove(id)
            startRetiring(id)
            damaged.remove(id)
            failedHashes[id] = nil
            heldBack[id] = nil
            confinements[id] = nil
            do {
                try await store.remove(id)
                logger.info("plugin unloaded", metadata: ["plugin": "\(id)"])
            } catch {
                logger.error("\(error.message)", metadata: ["plugin": "\(id)", "code": "\(error.code)"])
            }
        }
    }

    /// - Returns: the id, whether a loaded plugin was replaced, and whether the plugin is as the backend wants it.
    private func bringUpToDate(_ id: PluginID) async -> (PluginID, Bool, Bool) {
        guard !retiring.contains(id) else {
            await catalog.set(.unavailable(reason: "it is still being unloaded"), for: id)
            return (id, false, false)
        }
        let current = await catalog.state(of: id)
        if heldBack[id] != nil { return (id, false, await reconsider(id)) }
        if !redownloads, !damaged.contains(id) {
            switch current {
            case .loaded: return (id, false, true)
            // It would fail the same way: the document under one id doesn't change unless it is fetched anew.
            case .failed where failedHashes[id] != nil: return (id, false, true)
            default: break
            }
        }
        do {
            var plugin = try await store.plugin(id, forceRedownload: redownloads)
            // What is stored is what was quarantined; the backend may have another script by now.
            if quarantine(of: plugin) != nil, let fresh = try? await store.plugin(id, forceRedownload: true) {
                plugin = fresh
            }
            damaged.remove(id)
            if case .loaded(let loaded) = current, loaded.digest == plugin.digest, loaded.commands == plugin.commands,
                loaded.document.sandbox == plugin.document.sandbox
            {
                return (id, false, true)
            }
            if failedHashes[id] == plugin.digest.hex, case .failed? = current { return (id, false, true) }
            if let crashes = quarantine(of: plugin) {
                await holdBack(plugin, crashes)
                return (id, false, true)
            }
            logger.info(
                "script and file match the SHA-512",
                metadata: ["plugin": "\(id)", "sha512": "\(plugin.digest.hex.prefix(16))…"])
            return await load(plugin, replacing: current)
        } catch {
            await fail(id, current: current, error)
            return (id, false, false)
        }
    }

    private func quarantine(of plugin: VerifiedPlugin) -> PluginCrashes? {
        guard let crashes = quarantined[plugin.id.rawValue], crashes.scriptHash == plugin.digest.hex else { return nil }
        return crashes
    }

    private func holdBack(_ plugin: VerifiedPlugin, _ crashes: PluginCrashes) async {
        heldBack[plugin.id] = plugin.digest.hex
        let error = RunError.quarantined(crashes)
        await catalog.set(.failed(error: error, commands: Set(plugin.commands.keys)), for: plugin.id)
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
    ) async -> (PluginID, Bool, Bool) {
        let id = plugin.id
        let settings = settings(id)
        let sandbox = settings.sandboxPolicy(for: plugin.document.sandbox)
        do throws(PluginExecutionError) {
            let output = try await executor.load(
                PluginImage(
                    id: id, script: plugin.script, path: plugin.path, scriptHash: plugin.digest.hex,
                    concurrency: settings.concurrency, timeLimit: settings.taskTimeout,
                    sandbox: sandbox?.policy))
            confinements[id] = Confinement(policy: sandbox?.policy, concurrency: settings.concurrency)
            if !output.isEmpty {
                logger.info(
                    "the plugin wrote while it was loaded: \(quoted(output, limit: 500))", metadata: ["plugin": "\(id)"]
                )
            }
            failedHashes[id] = nil
            await catalog.set(.loaded(plugin.withoutScript()), for: id)
            await reportCommands(of: plugin)
            report(sandbox?.refused ?? [], of: id)
            if case .loaded? = current { return (id, true, true) }
            return (id, false, true)
        } catch {
            // These fail the same way again; a constructor may find tomorrow what is missing today.
            failedHashes[id] = error.isPermanent ? plugin.digest.hex : nil
            // What can't be loaded must not run in its old form either: the backend has withdrawn that.
            _ = await executor.unload(id)
            await catalog.set(
                .failed(
                    error: RunError(code: error.code, message: error.message, traceback: error.traceback),
                    commands: Set(plugin.commands.keys)), for: id)
            logger.error("\(error.message)", metadata: ["plugin": "\(id)", "code": "\(error.code)"])
            if let traceback = error.traceback { logger.debug("\(traceback)", metadata: ["plugin": "\(id)"]) }
            return (id, false, true)
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
            await catalog.set(.unavailable(reason: error.message), for: id)
        } else {
            await catalog.set(.failed(error: RunError(code: error.code, message: error.message), commands: []), for: id)
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

extension PluginExecutionError {
    /// Whether the same script would fail in the same way again.
    fileprivate var isPermanent: Bool { code == "plugin.syntax_error" || code == "plugin.class_missing" }
}

extension RunError {
    fileprivate static func quarantined(_ crashes: PluginCrashes) -> RunError {
        RunError(
            code: "plugin.quarantined",
            message: "the plugin \(quoted(crashes.pluginID)) is in quarantine: its code took the agent's process down "
                + "\(crashes.count) times in a row, last \(crashes.cause); publish a corrected script, or release it "
                + "with 'runbook-agent plugin release \(crashes.pluginID)'")
    }
}
