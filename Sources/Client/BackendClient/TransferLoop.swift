import AgentModel
import CCurl
import Foundation
import Threads

/// libcurl's multi interface on a thread of its own (libcurl-multi(3)).
///
/// The thread owns every easy handle. What comes from outside goes through a locked list and `curl_multi_wakeup`, the
/// one function of libcurl that another thread may call on a multi handle.
final class TransferLoop: Sendable {
    /// One transfer to make. `completion` is called once, on the loop's thread, and must not block.
    struct Job: Sendable {
        let id: UInt64
        let request: HTTPRequest
        let deadline: ContinuousClock.Instant
        let completion: @Sendable (Result<HTTPResponse, HTTPClientError>) -> Void
    }

    /// `@unchecked Sendable` because after `init` only the loop's thread uses the handle, but for `curl_multi_wakeup`,
    /// which is thread-safe, and which is called with the lock held that the thread takes before it frees the handle.
    private struct MultiHandle: @unchecked Sendable {
        let pointer: UnsafeMutableRawPointer
    }

    private enum Phase { case running, stopping, stopped }

    private struct State {
        var phase = Phase.running
        var nextID: UInt64 = 0
        var submitted: [Job] = []
        var cancelled: [UInt64] = []
        /// Nil once somebody has joined or detached it.
        var thread: pthread_t?
        var stopWaiters: [CheckedContinuation<Void, Never>] = []
    }

    private let configuration: HTTPClient.Configuration
    private let multi: MultiHandle
    /// That are open and carry nothing.
    private static let keptConnections = 16
    private let state = BlockingLock(State())

    /// - Throws: `HTTPClientError.failed` when libcurl or the system has no resources for it.
    init(_ configuration: HTTPClient.Configuration) throws(HTTPClientError) {
        guard Self.libcurlIsReady, let pointer = curl_multi_init() else {
            throw .failed(url: "", problem: "libcurl could not be started")
        }
        self.configuration = configuration
        multi = MultiHandle(pointer: pointer)
        try start()
    }

    func nextID() -> UInt64 {
        state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
    }

    func submit(_ job: Job) {
        let isAccepted = state.withLock { state in
            guard state.phase == .running else { return false }
            state.submitted.append(job)
            curl_multi_wakeup(multi.pointer)
            return true
        }
        if !isAccepted { job.completion(.failure(.shutDown(url: job.request.url.text))) }
    }

    /// Gives up a transfer that was submitted. One that has ended, or was never there, is ignored.
    func cancel(_ id: UInt64) {
        state.withLock { state in
            guard state.phase == .running else { return }
            state.cancelled.append(id)
            curl_multi_wakeup(multi.pointer)
        }
    }

    /// Fails every transfer with `shutDown` and ends the thread. Doesn't wait for it.
    func stop() {
        state.withLock { state in
            guard state.phase == .running else { return }
            state.phase = .stopping
            curl_multi_wakeup(multi.pointer)
        }
    }

    /// Returns when the thread has let go of every handle and has been joined.
    func waitUntilStopped() async {
        await withCheckedContinuation { continuation in
            let isStopped = state.withLock { state in
                if state.phase != .stopped { state.stopWaiters.append(continuation) }
                return state.phase == .stopped
            }
            if isStopped { continuation.resume() }
        }
        join()
    }

    /// The same for a thread that may block. Must not be called on the loop's own thread.
    func join() {
        let thread = state.withLock { $0.thread.take() }
        if let thread { pthread_join(thread, nil) }
    }

    /// Lets the thread end by itself.
    func detach() {
        let thread = state.withLock { $0.thread.take() }
        if let thread { pthread_detach(thread) }
    }

    private static let libcurlIsReady = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    private func start() throws(HTTPClientError) {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self)
        let status = pthread_create(&thread, nil, transferThread, context.toOpaque())
        guard status == 0 else {
            context.release()
            curl_multi_cleanup(multi.pointer)
            throw .failed(url: "", problem: "no thread for it: \(String(cString: strerror(status)))")
        }
        state.withLock { $0.thread = thread }
    }
}

/// What the loop's thread runs.
private func transferThread(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    // OpenSSL writes with write(2), so a peer that is gone would raise SIGPIPE; and the daemon's signals are for its
    // main thread.
    var signals = sigset_t()
    sigfillset(&signals)
    pthread_sigmask(SIG_BLOCK, &signals, nil)
    Thread.current.name = "http"
    if let context { Unmanaged<TransferLoop>.fromOpaque(context).takeRetainedValue().run() }
    return nil
}

extension TransferLoop {
    /// What only the loop's thread touches.
    private struct Work {
        var waiting: [Job] = []
        var running: [UnsafeMutableRawPointer: Transfer] = [:]
        var mostConnections = 0
    }

    fileprivate func run() {
        var work = Work()
        while takeOrders(into: &work) {
            startWaiting(&work)
            // libcurl counts those that carry something, and closes one that has become free where they are more.
            let most = work.running.count + Self.keptConnections
            if most != work.mostConnections {
                runbook_multi_set_long(multi.pointer, CURLMOPT_MAXCONNECTS, most)
                work.mostConnections = most
            }
            var count: Int32 = 0
            curl_multi_perform(multi.pointer, &count)
            let finished = finishCompleted(&work)
            // A slot that became free is used before the thread sleeps.
            if finished && !work.waiting.isEmpty { continue }
            curl_multi_poll(multi.pointer, nil, 0, sleepMilliseconds(work), nil)
        }
        end(&work)
    }

    /// Takes over what was submitted and cancelled meanwhile. False when it is time to end.
    private func takeOrders(into work: inout Work) -> Bool {
        let (phase, submitted, cancelled) = state.withLock { state in
            defer {
                state.submitted.removeAll()
                state.cancelled.removeAll()
            }
            return (state.phase, state.submitted, state.cancelled)
        }
        work.waiting += submitted
        if !cancelled.isEmpty { cancel(Set(cancelled), in: &work) }
        return phase == .running
    }

    private func cancel(_ ids: Set<UInt64>, in work: inout Work) {
        for job in work.waiting where ids.contains(job.id) {
            job.completion(.failure(.cancelled(url: job.request.url.text)))
        }
        work.waiting.removeAll { ids.contains($0.id) }
        for (easy, transfer) in work.running where ids.contains(transfer.job.id) {
            curl_multi_remove_handle(multi.pointer, easy)
            work.running[easy] = nil
            transfer.job.completion(.failure(.cancelled(url: transfer.job.request.url.text)))
        }
    }

    private func startWaiting(_ work: inout Work) {
        guard !work.waiting.isEmpty else { return }
        let now = ContinuousClock.now
        var next = 0
        while next < work.waiting.count, work.running.count < configuration.concurrency {
            let job = work.waiting[next]
            next += 1
            do throws(HTTPClientError) {
                let transfer = try Transfer(job, configuration: configuration, now: now)
                guard curl_multi_add_handle(multi.pointer, transfer.easy) == CURLM_OK else {
                    throw .failed(url: job.request.url.text, problem: "libcurl did not take the transfer")
                }
                work.running[transfer.easy] = transfer
            } catch {
                job.completion(.failure(error))
            }
        }
        work.waiting.removeFirst(next)
        expireWaiting(&work, now: now)
    }

    private func expireWaiting(_ work: inout Work, now: ContinuousClock.Instant) {
        for job in work.waiting where job.deadline <= now {
            let phase = "it waited for one of \(configuration.concurrency) transfers to end"
            job.completion(.failure(.timeout(url: job.request.url.text, phase: phase)))
        }
        work.waiting.removeAll { $0.deadline <= now }
    }

    /// Hands out the answers that are complete. True when there were any.
    private func finishCompleted(_ work: inout Work) -> Bool {
        var finished = false
        var left: Int32 = 0
        while let message = curl_multi_info_read(multi.pointer, &left) {
            guard message.pointee.msg == CURLMSG_DONE, let easy = message.pointee.easy_handle else { continue }
            // Read before the handle is removed: the message lives no longer than that.
            let result = runbook_message_result(message)
            guard let transfer = work.running.removeValue(forKey: easy) else { continue }
            let outcome = transfer.outcome(result)
            curl_multi_remove_handle(multi.pointer, easy)
            transfer.job.completion(outcome)
            finished = true
        }
        return finished
    }

    /// Until the next deadline of a job that waits; libcurl minds the deadlines of those that run.
    private func sleepMilliseconds(_ work: Work) -> Int32 {
        guard let deadline = work.waiting.map(\.deadline).min() else { return .max }
        return Int32(clamping: max(1, (deadline - .now).milliseconds))
    }

    private func end(_ work: inout Work) {
        for (easy, transfer) in work.running {
            curl_multi_remove_handle(multi.pointer, easy)
            transfer.job.completion(.failure(.shutDown(url: transfer.job.request.url.text)))
        }
        work.running.removeAll()
        let (leftOver, waiters) = state.withLock { state in
            // From here on nobody wakes the handle up.
            state.phase = .stopped
            defer {
                state.submitted.removeAll()
                state.stopWaiters.removeAll()
            }
            return (state.submitted, state.stopWaiters)
        }
        curl_multi_cleanup(multi.pointer)
        for job in work.waiting + leftOver { job.completion(.failure(.shutDown(url: job.request.url.text))) }
        for waiter in waiters { waiter.resume() }
    }
}

extension Duration {
    /// Whole milliseconds, rounded up, so that a limit is never zero by rounding (zero means none to libcurl).
    var milliseconds: Int {
        let (seconds, attoseconds) = components
        let (product, overflow) = Int(clamping: seconds).multipliedReportingOverflow(by: 1000)
        if overflow { return seconds < 0 ? .min : .max }
        let fraction = Int((attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
        return product.addingReportingOverflow(fraction).overflow ? .max : product + fraction
    }
}
