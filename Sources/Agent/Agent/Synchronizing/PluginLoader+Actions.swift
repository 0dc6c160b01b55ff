import AgentModel
import Cryptography
import Diagnostics
import Logging
import PluginExecution
import PluginStore
import Sandbox

/// What `PluginLifecycle` asks for, done.
extension PluginLoader {
    /// What became of one plugin in a synchronization.
    struct Update {
        /// Whether it is as the backend wants it, or can't be.
        var isReady = true
        var wasReplaced = false
    }

    /// Tells a plugin what happened, and does what follows from it.
    func process(_ event: PluginLifecycle.Event, of id: PluginID) async -> Update {
        await perform(next(event, of: id), for: id)
    }

    private func perform(_ actions: [PluginLifecycle.Action], for id: PluginID) async -> Update {
        var update = Update()
        var actions = actions
        while !actions.isEmpty {
            let action = actions.removeFirst()
            if case .finish(let isReady, let wasReplaced) = action {
                update.isReady = update.isReady && isReady
                update.wasReplaced = update.wasReplaced || wasReplaced
            } else if let event = await perform(action, for: id) {
                actions = next(event, of: id) + actions
            }
        }
        return update
    }

    private func next(_ event: PluginLifecycle.Event, of id: PluginID) -> [PluginLifecycle.Action] {
        plugins[id]?.next(event, now: clock.now) ?? []
    }

    /// - Returns: what came of it, where something does.
    private func perform(_ action: PluginLifecycle.Action, for id: PluginID) async -> PluginLifecycle.Event? {
        switch action {
        case .fetch(let anew): return .fetched(await fetch(id, anew: anew))
        case .load(let plugin): return .loaded(await load(plugin))
        case .unload:
            _ = await executor.unload(id)
            return .unloaded
        case .retire: await retire(id)
        case .checkSettings:
            guard case .loaded(let plugin, _)? = plugins[id]?.state else { return nil }
            let settings = settings(id, plugin.document.name)
            let policy = settings.sandboxPolicy(for: plugin.document.sandbox)?.policy
            return .settings(Confinement(policy: policy, concurrency: settings.concurrency))
        case .configure:
            guard case .loaded(let plugin, _)? = plugins[id]?.state else { return nil }
            let settings = settings(id, plugin.document.name)
            executor.configure(
                id, concurrency: settings.concurrency, timeLimit: settings.taskTimeout,
                keepsPrograms: settings.keepsPrograms)
        case .show(let state):
            // The backend may have taken it off its list meanwhile.
            guard plugins[id]?.isListed == true else { return nil }
            await catalog.set(state, for: id)
            onChange()
        case .hide: await catalog.remove(id)
        case .forget: plugins[id] = nil
        case .reportVerified(let plugin):
            logger.info(
                "script and file match the SHA-512",
                metadata: ["plugin": "\(id)", "sha512": "\(plugin.digest.hex.prefix(16))…"])
        case .reportCommands(let plugin): await reportCommands(of: plugin)
        case .log(let level, let message, let code): log(level, message, of: id, code: code)
        case .finish: break
        }
        return nil
    }

    private func log(_ level: Logger.Level, _ message: String, of id: PluginID, code: String? = nil) {
        var metadata: Logger.Metadata = ["plugin": "\(id)"]
        if let code { metadata["code"] = "\(code)" }
        logger.log(level: level, "\(message)", metadata: metadata)
    }

    // A result and no error that is thrown: with the optimizer, Swift 6.3 gave the caller of that too small a frame, and
    // wrote past its end.
    private func fetch(_ id: PluginID, anew: Bool) async -> Result<VerifiedPlugin, PluginStoreError> {
        do throws(PluginStoreError) {
            return .success(try await store.plugin(id, forceRedownload: anew))
        } catch {
            return .failure(error)
        }
    }

    private func load(_ plugin: VerifiedPlugin) async -> Result<Confinement, PluginExecutionError> {
        let settings = settings(plugin.id, plugin.document.name)
        let sandbox = settings.sandboxPolicy(for: plugin.document.sandbox)
        do throws(PluginExecutionError) {
            let output = try await executor.load(
                PluginImage(
                    id: plugin.id, script: plugin.script, path: plugin.path, scriptHash: plugin.digest.hex,
                    concurrency: settings.concurrency, timeLimit: settings.taskTimeout,
                    keepsPrograms: settings.keepsPrograms, sandbox: sandbox?.policy))
            if !output.isEmpty {
                log(.info, "output while loading the plugin: \(quoted(output, limit: 500))", of: plugin.id)
            }
            for refusal in sandbox?.refused ?? [] {
                log(.warning, refusal.sentence, of: plugin.id, code: "plugin.sandbox_request_refused")
            }
            return .success(Confinement(policy: sandbox?.policy, concurrency: settings.concurrency))
        } catch {
            return .failure(error)
        }
    }

    /// Unloads a plugin beside the synchronization, which must not wait for the plugin's calls in flight. Their time
    /// limits end it.
    private func retire(_ id: PluginID) async {
        forget(id)
        let removal = Task { await removeFiles(of: id) }
        Task {
            if let error = await executor.unload(id) {
                log(.warning, "the plugin's shutdown() failed: \(error.sentence)", of: id, code: error.code)
            }
            await removal.value
            _ = await process(.unloaded, of: id)
            await collectGarbage()
        }
        await removal.value
    }

    private func removeFiles(of id: PluginID) async {
        do {
            try await store.remove(id)
            log(.info, "plugin unloaded", of: id)
        } catch {
            log(.error, error.message, of: id, code: error.code)
        }
    }

    private func reportCommands(of plugin: VerifiedPlugin) async {
        logger.info(
            "plugin loaded",
            metadata: [
                "plugin": "\(plugin.id)", "name": "\(plugin.document.name)",
                "commands": "\(plugin.commands.keys.sorted().joined(separator: ", "))",
            ])
        for problem in plugin.problems { log(.error, problem.message, of: plugin.id, code: problem.code) }
        let missing = await executor.missingFunctions(
            among: plugin.commands.values.map(\.function).sorted(), of: plugin.id)
        for function in missing {
            log(
                .error,
                "the script has no method \(quoted(function)) that a command names; publish the plugin with commands "
                    + "that fit its script", of: plugin.id, code: "plugin.function_missing")
        }
    }
}
