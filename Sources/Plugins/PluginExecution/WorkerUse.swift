public import AgentModel
import Diagnostics
public import Foundation

/// Who holds a thread of the executor, and since when.
public struct WorkerUse: Sendable, Equatable {
    public enum Kind: String, Sendable, Codable {
        case call, load, shutdown
    }

    public enum State: String, Sendable, Codable {
        case running
        /// It waits in the kernel: for a file, a lock, a program, a network.
        case waiting
        /// It has not begun, because another thread holds the interpreter.
        case notBegun = "not_begun"
    }

    public var plugin: PluginID
    public var runID: String?
    public var kind: Kind
    public var state: State
    public var since: Date
}

/// A thread that has held the interpreter's lock for longer than is usual.
public struct InterpreterHold: Sendable, Equatable {
    /// Nil where it can't be told.
    public var plugin: PluginID?
    /// The run whose call it is.
    public var runID: String?
    /// The plugin's own thread, by its name; nil where it is a call's.
    public var thread: String?
    public var since: Date

    /// Such as `the plugin "p"`.
    public var holder: String {
        switch (plugin, thread) {
        case (let plugin?, let thread?):
            "the thread \(quoted(thread)) that the plugin \(quoted(plugin.rawValue)) started"
        case (let plugin?, nil): "the plugin \(quoted(plugin.rawValue))"
        case (nil, let thread?): "the thread \(quoted(thread))"
        case (nil, nil): "a thread that can't be told"
        }
    }
}

/// How the threads of the executor are used.
public struct ExecutorUse: Sendable, Equatable {
    /// Calls that may run at the same time now.
    public var workers: Int
    /// By how long they have been at it, longest first.
    public var uses: [WorkerUse]
    /// Nil while every thread gets the interpreter in its turn.
    public var hold: InterpreterHold?

    public init(workers: Int, uses: [WorkerUse] = [], hold: InterpreterHold? = nil) {
        self.workers = workers
        self.uses = uses
        self.hold = hold
    }
}
