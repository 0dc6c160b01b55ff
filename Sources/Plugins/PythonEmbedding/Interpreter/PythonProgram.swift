internal import CArguments
internal import CPython
internal import Glibc
internal import Synchronization

/// This executable as Python's own program: what `sys.executable` is where the distribution's isn't installed, so that
/// `multiprocessing` and `subprocess.run([sys.executable, …])` work there too.
public enum PythonProgram {
    /// Set by ``runIfAsked()``, which alone makes an executable one that can be started as Python.
    private static let path = Mutex<String?>(nil)

    static var executable: String { path.withLock { $0 } ?? "" }

    /// Where the arguments are those of `python3`, runs that and ends the process. To be called first of all, by an
    /// executable whose own first arguments are words or begin with two dashes.
    public static func runIfAsked() {
        let own = executablePath()
        path.withLock { $0 = own }
        guard isAsked else { return }
        exit(run(executable: own))
    }

    /// Whether the first argument is one of Python's options of a letter, or a script.
    private static var isAsked: Bool {
        guard rb_argument_count() >= 2, let first = rb_arguments()[1].map({ String(cString: $0) }) else { return false }
        if first.hasSuffix(".py") { return true }
        let letters = first.utf8.dropFirst()
        return first.hasPrefix("-") && letters.first.map { "bBcdEiIJmOPqRsSuvWxX".utf8.contains($0) } == true
    }

    private static func run(executable: String) -> Int32 {
        let library = StandardLibrary.locate()
        let paths = (library?.searchPaths ?? []).map { strdup($0) }
        defer { paths.forEach { free($0) } }
        var reason = [CChar](repeating: 0, count: 512)
        let status = paths.map { UnsafePointer($0) }.withUnsafeBufferPointer { pointers in
            rb_run_program(
                Int(rb_argument_count()), rb_arguments(), executable, library?.prefix, pointers.baseAddress,
                pointers.count, &reason, reason.count)
        }
        if reason[0] != 0 {
            let text = reason.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } } ?? ""
            let line = "error: the embedded Python could not start: \(text) [python.initialization_failed]\n"
            _ = line.withCString { write(STDERR_FILENO, $0, strlen($0)) }
        }
        return status
    }

    private static func executablePath() -> String {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = buffer.withUnsafeMutableBytes { bytes in
            readlink("/proc/self/exe", bytes.baseAddress!.assumingMemoryBound(to: CChar.self), bytes.count)
        }
        if count > 0 { return String(decoding: buffer[..<count], as: UTF8.self) }
        // In the sandbox there is no /proc, and the parent has named the whole path.
        guard let name = rb_executed_file().map({ String(cString: $0) }), name.hasPrefix("/") else { return "" }
        return name
    }
}
