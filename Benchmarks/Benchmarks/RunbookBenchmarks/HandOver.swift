import Glibc
import PythonEmbedding

/// A ping-pong of two threads on a mutex and two condition variables.
///
/// Unchecked because the mutex guards `turn`.
final class HandOver: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let conditions = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 2)
    private var turn = 0

    private init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(conditions, nil)
        pthread_cond_init(conditions + 1, nil)
    }

    deinit {
        pthread_cond_destroy(conditions)
        pthread_cond_destroy(conditions + 1)
        pthread_mutex_destroy(mutex)
        conditions.deallocate()
        mutex.deallocate()
    }

    static func perHandOver(repetitions: Int) throws -> Int {
        let handOver = HandOver()
        try PythonInterpreter.startPlainThread(name: "pong") {
            for _ in 0..<repetitions { handOver.waitAndPass(player: 1) }
        }
        let start = ContinuousClock.now
        for _ in 0..<repetitions {
            handOver.waitAndPass(player: 0)
        }
        handOver.wait(player: 0)
        return start.duration(to: .now).wholeNanoseconds / (2 * repetitions)
    }

    private func waitAndPass(player: Int) {
        pthread_mutex_lock(mutex)
        while turn != player { pthread_cond_wait(conditions + player, mutex) }
        turn = 1 - player
        pthread_cond_signal(conditions + turn)
        pthread_mutex_unlock(mutex)
    }

    private func wait(player: Int) {
        pthread_mutex_lock(mutex)
        while turn != player { pthread_cond_wait(conditions + player, mutex) }
        pthread_mutex_unlock(mutex)
    }
}
