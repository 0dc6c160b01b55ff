#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// What confines a child of the agent. Called in a process of one thread, before Python: Landlock and seccomp bind to
// the thread that asks for them and to what it starts afterwards.

#ifdef __cplusplus
extern "C" {
#endif

/// The mechanisms of the kernel that were tried; a bit each.
enum rb_mechanism {
    RB_NO_NEW_PRIVILEGES,
    RB_LIMITS,
    RB_LANDLOCK_FILES,
    RB_LANDLOCK_NETWORK,
    RB_LANDLOCK_SCOPE,
    RB_SECCOMP,
    RB_OWN_USER,
    RB_USER_NAMESPACE,
    RB_PID_NAMESPACE,
    RB_MOUNT_NAMESPACE,
    RB_READ_ONLY_MOUNTS,
    RB_IPC_NAMESPACE,
    RB_NETWORK_NAMESPACE,
    RB_NO_CAPABILITIES,
    RB_OWN_PROC,
    RB_MECHANISM_COUNT
};

enum {
    RB_PATH_READ = 1,
    RB_PATH_EXECUTE = 2,
    RB_PATH_WRITE = 4,
    /// It need not be there.
    RB_PATH_OPTIONAL = 8,
    /// A path of a policy, which has no links in it: one that is there now was put there to have the rule bind
    /// elsewhere.
    RB_PATH_LINKLESS = 16,
    /// Only where /proc is that of the child's own process namespace.
    RB_PATH_OWN_PROC = 32
};

/// Users from here on have no name.
#define RB_FIRST_UNNAMED_USER 0x70000000U

struct rb_path {
    const char *path;
    int access;
};

struct rb_ports {
    uint16_t first;
    uint16_t last;
};

enum { RB_NETWORK_NONE, RB_NETWORK_PORTS, RB_NETWORK_FULL };

/// How much there is of a resource of setrlimit(2).
struct rb_limit {
    int resource;
    uint64_t value;
};

struct rb_plan {
    /// Landlock's rules bind to what a path leads to now. The scratch folder is among them.
    const struct rb_path *paths;
    size_t path_count;
    int network;
    const struct rb_ports *ports;
    size_t port_count;
    const struct rb_limit *limits;
    size_t limit_count;
    uint64_t file_size;
    uint64_t open_files;
    int may_start_programs;
    /// Whether it is to have a /proc, of its own process namespace.
    int has_proc;
    /// 0: stay who the agent is.
    uid_t user;
    gid_t group;
    /// Where a filesystem of memory is put over the folder, so many bytes of it.
    const char *scratch;
    uint64_t scratch_size;
    /// The agent's process, which the child must not outlive.
    pid_t parent;
    /// Descriptors below this are the child's; this one itself is that of the process that watches over it.
    int supervision;
    /// A bit for each mechanism that is to be done without, as on a host that lacks it. Those of namespaces count.
    uint32_t withheld;
    /// Nothing is confined: the twin of an attempt to break out, which shows that it can succeed.
    int unconfined;
};

struct rb_report {
    int landlock_abi;
    /// A bit for each mechanism that is in force.
    uint32_t reached;
    /// By mechanism: what the kernel said, or 0.
    int error[RB_MECHANISM_COUNT];
    /// Of /proc/self/statm, which can't be opened any more; -1 where it could not be.
    int memory_use;
    /// What could not be done at all, or nil; the child must not go on.
    const char *failure;
    int failure_error;
    /// The path that `failure` is about.
    const char *failure_path;
};

/// What the process that watches over a child says of it through the supervision socket: first its own process id,
/// at the end how the child ended (wait(2)).
struct rb_notice {
    int32_t kind;
    int32_t value;
};
enum { RB_NOTICE_SUPERVISOR = 1, RB_NOTICE_ENDED = 2 };

/// Forks: returns confined in the child, as far as `report` says; a process between it and the agent reaps what it
/// leaves behind, and ends with everything the child started when the agent closes the supervision socket.
void rb_confine(const struct rb_plan *plan, struct rb_report *report);

/// Lets so many bytes wait in a socket, or as many as the host allows (socket(7)).
void rb_enlarge_buffer(int socket, int bytes);

/// Lets the allocator keep what is freed, up to some megabytes, in one place for all threads (mallopt(3)): the pages of
/// large arguments and results are not asked of the kernel with each call.
void rb_tune_allocator(void);

/// How many threads this process has; 0 where that can't be seen.
int rb_thread_count(void);

/// Limits the address space to so much beyond what the process has now. Once, before code of others runs.
int rb_limit_memory(const struct rb_report *report, uint64_t bytes);

/// Such as `SEGV`; nil where there is no such signal.
const char *rb_signal_name(int number);

/// Counts the processor time of a process and of everything it starts.
struct rb_meter;

/// Starts counting; nil where memory runs out.
struct rb_meter *rb_meter_start(pid_t ancestor);

/// Seconds since then. Of processes that no one waits for (SIGCHLD ignored, wait(2)) the kernel adds the time to no one's:
/// what they had used at the last reading is kept.
double rb_meter_read(struct rb_meter *meter);

void rb_meter_free(struct rb_meter *meter);

/// The version of Landlock's interface, or 0 where there is none; then errno says why.
int rb_landlock_abi(void);

/// The namespaces that are asked about (namespaces(7)), and what is done with mounts in one of them.
enum { RB_TRY_USER = 1, RB_TRY_PID = 2, RB_TRY_MOUNT = 4, RB_TRY_IPC = 8, RB_TRY_NETWORK = 16, RB_TRY_READ_ONLY = 32, RB_TRY_PROC = 64 };

/// Writes the file of a library of that name that is loaded into this process. 0 where there is none, or where it takes more
/// than `size` bytes (dl_iterate_phdr(3)).
int rb_loaded_library(const char *name, char *file, size_t size);

/// 0, or the errno of making such namespaces and using them as a child does, tried in a process of its own.
int rb_try_namespaces(int namespaces);

/// 0, or the errno of giving up rights and resources for good, tried in a process of its own.
int rb_try_limits(void);

/// pipe2(2) with both ends closed on exec.
int rb_pipe(int descriptors[2]);

/// F_SETPIPE_SZ of fcntl(2).
extern const int rb_set_pipe_size;

/// Waits for the end of a child of this process for so long at most, and reaps it. `status`, as wait(2) has it, may be nil.
/// Returns whether it is no more.
int rb_reap(pid_t child, int milliseconds, int *status);

/// 0, or the errno with which a filter is refused, tried in a process of its own.
int rb_try_seccomp(void);

/// Tries in the confined child what the mechanisms that are in force must refuse. Returns nil, or the name of what got
/// through.
const char *rb_try_forbidden(const struct rb_plan *plan, const struct rb_report *report);

/// The seccomp filter (seccomp(2)). Returns 0, or an errno.
int rb_install_filter(const struct rb_plan *plan, int refuses_attributes);

/// Landlock's rules (landlock(7)); a descriptor, or -1 with `report` filled in.
int rb_make_ruleset(const struct rb_plan *plan, struct rb_report *report);
int rb_enter_ruleset(int ruleset);

/// Starts a program in a session of its own with these descriptors as 0, 1, 2, 3, …. Returns its process id, or a
/// negative errno.
pid_t rb_spawn(const char *program, char *const arguments[], char *const environment[], const int *descriptors,
               size_t count);

#ifdef __cplusplus
}
#endif
