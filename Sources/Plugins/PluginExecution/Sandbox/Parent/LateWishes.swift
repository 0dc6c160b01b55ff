import PythonEmbedding

/// What somebody may come to want of a call while it goes on.
struct LateWishes {
    /// Raised when there is something to look at.
    let wake: WakeSignal
    let cancellation: Cancellation?
    let relay: OutputRelay?
}
