public import AgentModel
public import PythonEmbedding

/// One call to make: which method of which plugin, with what.
public struct Invocation: Sendable {
    public var pluginID: PluginID
    /// The name of a method of the `Plugin` instance.
    public var function: String
    /// JSON text of an object: the keyword arguments.
    public var arguments: String
    /// Nil: the plugin's own limit.
    public var timeLimit: Duration?

    /// Names the run to the executor's observer.
    public var runID: String?
    /// Is told what the call writes while it runs, in the order in which its outcome has it.
    public var onOutput: OutputObserver?

    /// Who is told where somebody comes to want that later; nil where nobody can.
    public var relay: OutputRelay?

    /// Whether the run is to be stopped; nil where nobody can want that.
    public var cancellation: Cancellation?

    /// Asked right before the call begins; if not, its outcome says that it has not begun.
    public var mayBegin: @Sendable () -> Bool = { true }

    /// Who is told from the beginning.
    var observer: OutputObserver? { onOutput ?? relay?.observer }

    /// Whether the call may begin now.
    var isWanted: Bool { mayBegin() && cancellation?.request == nil }

    public init(
        pluginID: PluginID, function: String, arguments: String = "{}", timeLimit: Duration? = nil,
        runID: String? = nil
    ) {
        self.runID = runID
        self.pluginID = pluginID
        self.function = function
        self.arguments = arguments
        self.timeLimit = timeLimit
    }
}
