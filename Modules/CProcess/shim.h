#include <malloc.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// Swift can't call functions with a variable number of arguments, and Glibc's module leaves malloc.h out.
static inline int runbook_set_undumpable(void) { return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }
static inline void runbook_tune_allocator(int arenas, int kept) {
    mallopt(M_ARENA_MAX, arenas);
    mallopt(M_TRIM_THRESHOLD, kept);
    mallopt(M_MMAP_THRESHOLD, kept / 2);
}

// What the headers show only with _GNU_SOURCE: a connection that programs don't inherit (accept4(2)), and whose process is
// at the other end of one (unix(7), SO_PEERCRED). Both return -1 where that can't be.
static inline int runbook_accept(int listener) { return (int)syscall(SYS_accept4, listener, 0, 0, SOCK_CLOEXEC); }
static inline int runbook_peer_user(int connection, uid_t *user) {
    struct { pid_t process; uid_t user; gid_t group; } peer;
    socklen_t length = sizeof peer;
    if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return -1;
    *user = peer.user;
    return 0;
}
