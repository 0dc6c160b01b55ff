import AgentModel
import Cryptography
import Foundation
import PluginExecution
import PythonEmbedding
import Sandbox
import Testing

@testable import Agent
@testable import PluginStore
@testable import RunJournal

/// What becomes of one plugin, told as what happens to it and what the loader is to do.
@Suite struct PluginLifecycleTests {
    private let story: Story

    init() throws { story = Story(PluginLifecycle(id: try PluginID("p"))) }

    private static let unreachable = PluginStoreError.disk(operation: "reading", path: "p.py", problem: "EIO")
    private static let mismatch = PluginStoreError.hashMismatch(
        plugin: "p", subject: "the script", expected: "a", actual: "b", commands: ["p.run"])

    // MARK: Into service

    @Test func aNewPluginIsFetchedLoadedAndShown() throws {
        #expect(story.tell(.synchronize(redownloads: false)) == ["fetch"])
        #expect(story.tell(.fetched(.success(plugin("1")))) == ["show loading", "verified", "load"])
        #expect(
            story.tell(.loaded(.success(.inProcess))) == ["show loaded", "commands", "finish ready"])
        #expect(story.tell(.synchronize(redownloads: false)) == ["finish ready"])
        #expect(story.isSettled())
    }

    @Test func oneSynchronizationAtATimeBringsItUpToDate() {
        story.tell(.synchronize(redownloads: false))
        #expect(story.tell(.synchronize(redownloads: false)) == ["finish not ready"])
        story.tell(.fetched(.success(plugin("1"))))
        #expect(story.tell(.synchronize(redownloads: false)) == ["finish not ready"])
    }

    @Test func aNewScriptReplacesTheOldOne() {
        load("1")
        #expect(!story.isSettled(redownloads: true))
        #expect(story.tell(.synchronize(redownloads: true)) == ["fetch anew"])
        #expect(story.tell(.fetched(.success(plugin("2")))) == ["verified", "load"])
        #expect(story.tell(.loaded(.success(.inProcess))).last == "finish ready, replaced")
    }

    @Test func theSameScriptIsNotLoadedTwice() {
        load("1")
        story.tell(.synchronize(redownloads: true))
        #expect(story.tell(.fetched(.success(plugin("1")))) == ["finish ready"])
    }

    // MARK: Failures

    @Test func whatCouldNotBeFetchedAnewGoesOnAsItIs() {
        load("1")
        story.tell(.synchronize(redownloads: true))
        #expect(
            story.tell(.fetched(.failure(Self.unreachable))) == ["log warning", "finish not ready"])
        #expect(story.value.isLoaded)
    }

    @Test func whatIsWrongAtTheBackendIsTakenOutOfService() {
        load("1")
        story.tell(.synchronize(redownloads: true))
        #expect(story.tell(.fetched(.failure(Self.mismatch))) == ["unload"])
        #expect(story.tell(.unloaded) == ["show failed", "log error", "finish not ready"])
        #expect(story.tell(.synchronize(redownloads: false)) == ["fetch"])
    }

    @Test func aScriptThatFailsForGoodIsNotLoadedAgain() {
        failToLoad("1", at: .compile)
        #expect(story.tell(.synchronize(redownloads: false)) == ["finish ready"])
        story.tell(.synchronize(redownloads: true))
        #expect(story.tell(.fetched(.success(plugin("1")))) == ["finish ready"])
        story.tell(.synchronize(redownloads: true))
        #expect(story.tell(.fetched(.success(plugin("2")))).last == "load")
    }

    @Test func aConstructorThatFailsIsTriedAtEachSynchronization() {
        failToLoad("1", at: .construct)
        #expect(!story.isSettled())
        story.tell(.synchronize(redownloads: false))
        #expect(story.tell(.fetched(.success(plugin("1")))) == ["verified", "load"])
    }

    @Test func aLoadThatTakesTooLongIsTriedAfterPausesThatGrow() throws {
        for pause: TimeInterval in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
            failToLoad("1", with: .loadTimedOut(plugin: story.value.id))
            story.pass(pause - 1)
            #expect(story.isSettled(), "after \(pause - 1) s")
            story.pass(1)
            #expect(!story.isSettled(), "after \(pause) s")
        }
    }

    @Test func aClockThatIsSetBackMakesNoPauseLonger() throws {
        failToLoad("1", with: .loadTimedOut(plugin: story.value.id))
        story.pass(-100_000)
        #expect(!story.isSettled())
    }

    @Test func anAgentThatStopsLeavesThePluginAsItWas() {
        load("1")
        story.tell(.synchronize(redownloads: true))
        story.tell(.fetched(.success(plugin("2"))))
        #expect(story.tell(.loaded(.failure(.stopped))) == ["finish not ready"])
        #expect(story.value.isLoaded)
    }

    // MARK: A file that was changed

    @Test func aChangedFileTakesThePluginOutOfServiceUntilItIsFetched() {
        load("1")
        #expect(story.tell(.fileChanged) == ["show unavailable"])
        #expect(story.tell(.synchronize(redownloads: false)) == ["fetch"])
        // The same bytes: it is loaded all the same, because it is out of service.
        #expect(story.tell(.fetched(.success(plugin("1")))) == ["verified", "load"])
        #expect(story.tell(.loaded(.success(.inProcess))).first == "show loaded")
    }

    @Test func aFileThatChangesDuringAFetchIsNotForgotten() {
        load("1")
        story.tell(.synchronize(redownloads: true))
        #expect(story.tell(.fileChanged) == ["show unavailable"])
        #expect(story.tell(.fetched(.success(plugin("1")))) == ["verified", "load"])
        #expect(story.tell(.fileChanged) == ["show unavailable"])
        #expect(story.tell(.loaded(.success(.inProcess))).first == "show loaded")
        #expect(!story.isSettled())
    }

    // MARK: Quarantine

    @Test func aScriptInQuarantineIsNotLoadedAndAnotherIs() {
        story.quarantine(plugin("1"))
        story.tell(.synchronize(redownloads: false))
        // What is stored may be old.
        #expect(story.tell(.fetched(.success(plugin("1")))) == ["fetch anew"])
        #expect(story.tell(.fetched(.failure(Self.unreachable))) == ["show failed", "log error", "finish ready"])
        #expect(!story.isSettled())
        #expect(story.tell(.synchronize(redownloads: false)) == ["fetch anew"])
        #expect(story.tell(.fetched(.failure(Self.unreachable))) == ["log debug", "finish not ready"])
        story.tell(.synchronize(redownloads: false))
        #expect(story.tell(.fetched(.success(plugin("1")))) == ["finish ready"])
        story.tell(.synchronize(redownloads: false))
        #expect(story.tell(.fetched(.success(plugin("2")))) == ["log notice", "load"])
    }

    @Test func aReleasedScriptIsLoadedWithoutBeingFetchedAnew() {
        story.quarantine(plugin("1"))
        story.tell(.synchronize(redownloads: false))
        story.tell(.fetched(.success(plugin("1"))))
        story.tell(.fetched(.success(plugin("1"))))
        story.quarantine(nil)
        #expect(story.tell(.synchronize(redownloads: false)) == ["fetch"])
        #expect(story.tell(.fetched(.success(plugin("1")))) == ["log notice", "load"])
    }

    // MARK: Settings

    @Test func settingsOfAPluginInTheAgentsProcessTakeEffectAtOnce() {
        load("1")
        #expect(story.tell(.settings(Confinement(policy: nil, concurrency: 4))) == ["configure"])
    }

    @Test func settingsAreLookedAtOnceForEachReloadOfTheConfiguration() {
        load("1")
        #expect(story.tell(.settingsChanged) == ["check settings"])
        // While a fetch or a load is under way: at its end, and then no more.
        story.tell(.synchronize(redownloads: true))
        #expect(story.tell(.settingsChanged) == [])
        #expect(story.tell(.fetched(.success(plugin("1")))) == ["check settings", "finish ready"])
        story.tell(.synchronize(redownloads: true))
        story.tell(.fetched(.success(plugin("2"))))
        #expect(story.tell(.settingsChanged) == [])
        #expect(story.tell(.loaded(.success(.inProcess))).contains("check settings"))
        story.tell(.synchronize(redownloads: true))
        story.tell(.fetched(.success(plugin("3"))))
        #expect(!story.tell(.loaded(.success(.inProcess))).contains("check settings"))
    }

    /// What a policy comes to depends on links, and a plugin may have a hand in where they lead.
    @Test func aPolicyThatIsAnotherOneEachTimeIsNoEndlessLoading() {
        load("1", Confinement(policy: SandboxPolicy(), concurrency: 1))
        #expect(story.tell(.settingsChanged) == ["check settings"])
        #expect(story.tell(.settings(Confinement(policy: nil, concurrency: 1))) == ["fetch"])
        story.tell(.fetched(.success(plugin("1"))))
        let end = story.tell(.loaded(.success(Confinement(policy: SandboxPolicy(), concurrency: 1))))
        #expect(!end.contains("check settings"))
    }

    @Test func anotherPolicyLoadsThePluginAgain() {
        load("1", Confinement(policy: SandboxPolicy(), concurrency: 2))
        #expect(story.tell(.settings(Confinement(policy: SandboxPolicy(), concurrency: 1))) == ["configure"])
        #expect(story.tell(.settings(Confinement(policy: SandboxPolicy(), concurrency: 3))) == ["fetch"])
        #expect(story.tell(.fetched(.success(plugin("1")))) == ["load"])
        story.tell(.loaded(.success(.inProcess)))
        #expect(story.tell(.settings(Confinement(policy: SandboxPolicy(), concurrency: 1))) == ["fetch"])
        // Neither the old confinement nor an unverified file.
        #expect(story.tell(.fetched(.failure(Self.unreachable))) == ["show unavailable", "finish not ready"])
        #expect(story.tell(.synchronize(redownloads: false)) == ["fetch"])
    }

    // MARK: Out of service

    @Test func whatIsListedNoLongerGoesAndMayComeBack() {
        load("1")
        #expect(story.tell(.unlisted) == ["hide", "retire", "finish not ready"])
        story.tell(.listed)
        #expect(story.tell(.synchronize(redownloads: false)) == ["show unavailable", "finish not ready"])
        #expect(story.tell(.unloaded) == [])
        #expect(story.tell(.synchronize(redownloads: false)) == ["fetch"])
    }

    @Test func ofWhatWasUnloadedNothingIsLeft() {
        load("1")
        story.tell(.unlisted)
        #expect(story.tell(.unloaded) == ["forget"])
    }

    @Test(arguments: ["fetching", "loading", "withdrawing"])
    func whatIsUnderWayEndsBeforeThePluginGoes(_ state: String) {
        story.tell(.synchronize(redownloads: false))
        if state != "fetching" { story.tell(.fetched(.success(plugin("1")))) }
        if state == "withdrawing" { story.tell(.loaded(.failure(.loadTimedOut(plugin: story.value.id)))) }
        #expect(story.tell(.unlisted) == ["hide"])
        #expect(story.tell(.synchronize(redownloads: false)) == ["finish not ready"])
        let last: PluginLifecycle.Event =
            switch state {
            case "fetching": .fetched(.success(plugin("1")))
            case "loading": .loaded(.success(.inProcess))
            default: .unloaded
            }
        #expect(story.tell(last) == ["hide", "retire", "finish not ready"])
    }

    /// It was taken from the catalog, so that it must be shown again, whether or not its script is another.
    @Test func whatComesBackDuringAFetchIsShownAgain() {
        load("1")
        story.tell(.synchronize(redownloads: true))
        story.tell(.unlisted)
        story.tell(.listed)
        #expect(story.tell(.fetched(.success(plugin("1")))) == ["show loading", "verified", "load"])
        #expect(story.tell(.loaded(.success(.inProcess))).first == "show loaded")
    }

    // MARK: What the stories need

    private func load(_ script: String, _ confinement: Confinement = .inProcess) {
        story.tell(.synchronize(redownloads: false))
        story.tell(.fetched(.success(plugin(script))))
        story.tell(.loaded(.success(confinement)))
    }

    private func failToLoad(_ script: String, at stage: LoadFailure.Stage) {
        failToLoad(
            script,
            with: .loadFailed(
                plugin: story.value.id,
                LoadFailure(
                    stage: stage, exception: PythonException(type: "ValueError", message: "no", traceback: ""),
                    output: "")))
    }

    private func failToLoad(_ script: String, with error: PluginExecutionError) {
        story.tell(.synchronize(redownloads: false))
        story.tell(.fetched(.success(plugin(script))))
        #expect(story.tell(.loaded(.failure(error))) == ["unload"])
        let shown = story.tell(.unloaded)
        #expect(shown.first == "show failed" && shown.last == "finish ready")
    }

    private func plugin(_ script: String) -> VerifiedPlugin { .example(story.value.id, script: script) }
}

/// A plugin's life, and the time in it.
private final class Story {
    private(set) var value: PluginLifecycle
    private var now = Date(timeIntervalSince1970: 1_000_000)

    init(_ value: PluginLifecycle) { self.value = value }

    @discardableResult
    func tell(_ event: PluginLifecycle.Event) -> [String] { value.next(event, now: now).map(\.name) }

    func pass(_ seconds: TimeInterval) { now += seconds }

    func isSettled(redownloads: Bool = false) -> Bool { value.isSettled(redownloads: redownloads, now: now) }

    func quarantine(_ plugin: VerifiedPlugin?) {
        value.crashes = plugin.map {
            PluginCrashes(pluginID: "p", scriptHash: $0.digest.hex, count: 3, lastCrash: now, cause: "by SIGSEGV")
        }
    }
}

extension Confinement {
    fileprivate static let inProcess = Confinement(policy: nil, concurrency: 1)
}

extension PluginLifecycle.Action {
    fileprivate var name: String {
        switch self {
        case .fetch(let anew): anew ? "fetch anew" : "fetch"
        case .load: "load"
        case .unload: "unload"
        case .retire: "retire"
        case .checkSettings: "check settings"
        case .configure: "configure"
        case .show(.loading): "show loading"
        case .show(.loaded): "show loaded"
        case .show(.failed): "show failed"
        case .show(.unavailable): "show unavailable"
        case .hide: "hide"
        case .forget: "forget"
        case .reportVerified: "verified"
        case .reportCommands: "commands"
        case .log(let level, _, _): "log \(level)"
        case .finish(let isReady, let wasReplaced):
            (isReady ? "finish ready" : "finish not ready") + (wasReplaced ? ", replaced" : "")
        }
    }
}
