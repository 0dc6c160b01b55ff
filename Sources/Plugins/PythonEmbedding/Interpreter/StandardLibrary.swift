internal import CPython
internal import Foundation

/// Where the standard library of the linked libpython lies.
///
/// Found from the library's own place in memory, so that neither a `python3` on the path nor the environment has a
/// say.
struct StandardLibrary {
    /// Such as `/usr`.
    let prefix: String
    /// What goes to `sys.path`, before `site` adds the distribution's own folders.
    let searchPaths: [String]
    /// What `sys.executable` is: the distribution's interpreter if it is installed, otherwise this program
    /// (``PythonProgram``).
    let executable: String

    static let version = "\(PY_MAJOR_VERSION).\(PY_MINOR_VERSION)"

    /// Nil where no `os.py` of the right version is found above the library.
    static func locate() -> StandardLibrary? {
        guard let library = rb_library_file().map({ String(cString: $0) }) else { return nil }
        let files = FileManager.default
        var folder = URL(filePath: library).resolvingSymlinksInPath().deletingLastPathComponent()
        while folder.path() != "/" {
            for name in ["lib", "lib64"] {
                let candidate = folder.appending(path: "\(name)/python\(version)")
                guard files.fileExists(atPath: candidate.appending(path: "os.py").path()) else { continue }
                let executable = folder.appending(path: "bin/python\(version)").path()
                return StandardLibrary(
                    prefix: folder.path().trimmingSuffix("/"),
                    searchPaths: [
                        folder.appending(path: "\(name)/python\(PY_MAJOR_VERSION)\(PY_MINOR_VERSION).zip").path(),
                        candidate.path(), candidate.appending(path: "lib-dynload").path(),
                    ],
                    executable: files.isExecutableFile(atPath: executable) ? executable : PythonProgram.executable)
            }
            folder.deleteLastPathComponent()
        }
        return nil
    }
}

extension PythonInterpreter {
    /// The folders that the linked library's Python is installed in, where that isn't the system's own place.
    public static var libraryFolders: [String] {
        guard let prefix = StandardLibrary.locate()?.prefix, prefix != "/usr" else { return [] }
        return [prefix + "/lib", prefix + "/lib64"]
    }
}

extension String {
    fileprivate func trimmingSuffix(_ suffix: String) -> String {
        hasSuffix(suffix) && count > suffix.count ? String(dropLast(suffix.count)) : self
    }
}
