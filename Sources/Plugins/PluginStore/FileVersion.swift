import Foundation

/// What tells that a file is still the one that was read (stat(2)), without reading it.
public struct FileVersion: Hashable, Sendable {
    public let device: UInt64
    public let inode: UInt64
    /// In bytes.
    public let size: Int64
    /// Of the content, in nanoseconds since 1970.
    public let modified: Int64
    /// Of content or attributes, in nanoseconds since 1970. A program can't set it back, as it can `modified`.
    public let changed: Int64

    init(_ status: stat) {
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        size = Int64(status.st_size)
        modified = Self.nanoseconds(status.st_mtim)
        changed = Self.nanoseconds(status.st_ctim)
    }

    private static func nanoseconds(_ time: timespec) -> Int64 {
        Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
    }
}
