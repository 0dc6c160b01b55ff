import Foundation

/// The sanitizer that the tests were built with. What it does itself is in the way of some of them: its memory counts
/// as the child's own, its handlers end the process instead of the signal, its thread keeps a process from a user
/// namespace, and a fork of it doesn't come to life.
public enum Sanitizer {
    public static let isThread = dlsym(nil, "__tsan_init") != nil
    public static let isAddress = dlsym(nil, "__asan_init") != nil
    public static var isActive: Bool { isThread || isAddress }
}
