/// The agent's own Python: what a plugin sees of its host, and what takes fewer words than with the C API.
///
/// Its modules are the files of the folder `Python`. Each is executed once, when the interpreter starts, under a name that
/// is taken out of `sys.modules` afterwards: plugins can't import them. ``Bootstrap`` looks up what Swift calls.
enum EmbeddedPython {
    /// Stands for the folder in the files' names, as tracebacks show them.
    static let folder = "<runbook-agent>"
    static let package = "_runbook"
    /// The module of what Swift gives to the others.
    static let host = "host"

    /// In the order in which they are executed. A module imports those before it.
    static let modules: [(name: String, source: [UInt8])] = [
        ("contract", EmbeddedFiles.contract),
        ("output", EmbeddedFiles.output),
        ("results", EmbeddedFiles.results),
        ("exceptions", EmbeddedFiles.exceptions),
        ("api", EmbeddedFiles.api),
        ("plugins", EmbeddedFiles.plugins),
        ("threads", EmbeddedFiles.threads),
        ("processes", EmbeddedFiles.processes),
        ("stacks", EmbeddedFiles.stacks),
        ("programs", EmbeddedFiles.programs),
        ("main", EmbeddedFiles.main),
    ]

    /// What processes that plugins start with `multiprocessing` are sent as source.
    static let sentSources: [(name: String, source: [UInt8])] = [
        ("contract", EmbeddedFiles.contract), ("spawned", EmbeddedFiles.spawned),
    ]

    static func fileName(of module: String) -> String { "\(folder)/\(module).py" }
}
