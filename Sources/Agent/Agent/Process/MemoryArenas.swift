import CProcess

/// How the C library's allocator grows and gives back (mallopt(3)).
public enum MemoryArenas {
    /// Lets all threads share two arenas. By default there may be eight for each processor, and what one thread frees
    /// helps no other: memory that grows with the number of threads and not with what they hold. What is freed is kept
    /// up to 8 MiB an arena, so that the pages of large arguments and results aren't asked of the kernel with each run.
    ///
    /// Called before there are other threads.
    public static func bound() { runbook_tune_allocator(2, 8 << 20) }
}
