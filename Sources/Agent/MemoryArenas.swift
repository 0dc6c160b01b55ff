import CProcess

/// How the C library's allocator grows.
public enum MemoryArenas {
    /// Lets all threads share two arenas (mallopt(3), `M_ARENA_MAX`). By default there may be eight for each processor, and
    /// what one thread frees helps no other: memory that grows with the number of threads and not with what they hold.
    ///
    /// Called before there are other threads.
    public static func bound() { runbook_bound_arenas(2) }
}
