internal import CSandbox
import Glibc

/// An absolute path in components.
public struct SandboxPath: Hashable, Sendable, CustomStringConvertible {
    private let components: [Substring]

    /// Nil for one that isn't absolute, or goes back, or that C would end elsewhere.
    public init?(_ text: String) {
        let components = text.split(separator: "/")
        guard text.hasPrefix("/"), !text.unicodeScalars.contains("\0"),
            !components.contains(where: { $0 == "." || $0 == ".." })
        else { return nil }
        self.components = components
    }

    private init(_ components: [Substring]) {
        self.components = components
    }

    /// Where it leads once links are followed; what doesn't exist is taken as it is written, below the part that does.
    /// Nil where that can't be known.
    public init?(resolving text: String) {
        guard let resolved = Self.resolve(text) else { return nil }
        self = resolved.path
    }

    /// A symbolic link that a path leads through.
    public struct Link: Hashable, Sendable {
        public var path: SandboxPath
        /// The number of the user that made it.
        public var owner: UInt32
    }

    /// As many as the kernel follows (path_resolution(7)).
    private static let mostLinks = 40

    /// Where a path leads, as ``init(resolving:)`` has it, and through which links.
    public static func resolve(_ text: String) -> (path: SandboxPath, links: [Link])? {
        guard let written = SandboxPath(text) else { return nil }
        var rest = ArraySlice(written.components)
        var (found, links): ([Substring], [Link]) = ([], [])
        while let next = rest.popFirst() {
            if next == "." { continue }
            if next == ".." {
                _ = found.popLast()
                continue
            }
            let place = SandboxPath(found + [next])
            var status = stat()
            guard lstat(place.description, &status) == 0 else {
                // What can't be looked at may lead anywhere.
                guard errno == ENOENT, !rest.contains("..") else { return nil }
                found += [next] + rest.filter { $0 != "." }
                // A link that leads nowhere yet may lead anywhere later.
                return links.isEmpty || !Self.isBroken(links) ? (SandboxPath(found), links) : nil
            }
            guard status.st_mode & S_IFMT == S_IFLNK else {
                found.append(next)
                continue
            }
            links.append(Link(path: place, owner: status.st_uid))
            guard links.count <= mostLinks, let target = target(of: place) else { return nil }
            if target.hasPrefix("/") { found = [] }
            rest = target.split(separator: "/") + rest
        }
        return (SandboxPath(found), links)
    }

    /// Whether the last of the links leads to what isn't there.
    private static func isBroken(_ links: [Link]) -> Bool {
        var status = stat()
        return links.contains { stat($0.path.description, &status) != 0 }
    }

    private static func target(of link: SandboxPath) -> String? {
        withUnsafeTemporaryAllocation(byteCount: Int(PATH_MAX), alignment: 1) { buffer in
            let count = readlink(link.description, buffer.baseAddress!, buffer.count)
            guard count > 0 else { return nil }
            return String(validating: buffer.prefix(count), as: UTF8.self)
        }
    }

    /// Whether it is a folder or something in it.
    public func lies(in folder: SandboxPath) -> Bool { components.starts(with: folder.components) }

    /// Whether it belongs to a child of an agent that is root.
    public static func isChild(_ owner: UInt32) -> Bool { owner >= UInt32(RB_FIRST_UNNAMED_USER) }

    public var description: String { "/" + components.joined(separator: "/") }
}
