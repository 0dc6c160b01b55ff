import Glibc

/// An absolute path in components.
public struct SandboxPath: Hashable, CustomStringConvertible {
    private let components: [Substring]

    /// Nil for one that isn't absolute, or goes back, or that C would end elsewhere.
    public init?(_ text: String) {
        let components = text.split(separator: "/")
        guard text.hasPrefix("/"), !text.unicodeScalars.contains("\0"),
            !components.contains(where: { $0 == "." || $0 == ".." })
        else { return nil }
        self.components = components
    }

    /// Where it leads once links are followed (realpath(3)); what doesn't exist is taken as it is written, below the
    /// part that does. Nil where that can't be known.
    public init?(resolving text: String) {
        guard let written = SandboxPath(text) else { return nil }
        for length in stride(from: written.components.count, through: 0, by: -1) {
            let path = "/" + written.components.prefix(length).joined(separator: "/")
            if let resolved = realpath(path, nil) {
                defer { free(resolved) }
                let rest = written.components.dropFirst(length)
                components = String(cString: resolved).split(separator: "/") + rest
                return
            }
            // A link that leads nowhere yet may lead anywhere later, and what can't be looked at likewise.
            var status = stat()
            guard lstat(path, &status) != 0, errno == ENOENT else { return nil }
        }
        return nil
    }

    /// Whether it is a folder or something in it.
    public func lies(in folder: SandboxPath) -> Bool { components.starts(with: folder.components) }

    public var description: String { "/" + components.joined(separator: "/") }
}
