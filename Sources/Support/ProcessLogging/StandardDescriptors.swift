import Glibc

/// Descriptors 0, 1 and 2 of this process.
public enum StandardDescriptors {
    /// Opens `/dev/null` in place of those that are closed. Otherwise the next file or socket would get such a number,
    /// and what is meant for standard error would be written into it.
    ///
    /// Called before anything else opens one.
    public static func openMissing() {
        for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) < 0 && errno == EBADF {
            // The lowest number that is free, which is this one.
            _ = open("/dev/null", O_RDWR)
        }
    }
}
