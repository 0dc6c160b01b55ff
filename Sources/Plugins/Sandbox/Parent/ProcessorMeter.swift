internal import CSandbox

/// The processor time of a child and of everything it starts, from when it is made.
///
/// What a process used after the last reading, and that no one waited for, isn't counted (wait(2)).
public final class ProcessorMeter {
    /// Nil where memory ran out: then nothing is counted.
    private let meter: OpaquePointer?

    init(of ancestor: Int32) {
        meter = rb_meter_start(ancestor)
    }

    deinit {
        rb_meter_free(meter)
    }

    /// Looks at the processes of the host: milliseconds.
    public func read() -> Duration { meter.map { .seconds(rb_meter_read($0)) } ?? .zero }
}
