#define _GNU_SOURCE
#include "sandbox.h"
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYS_RB_MOUNT_SETATTR 442
#define SYS_RB_CLOSE_RANGE 436
#define SYS_RB_OPEN_TREE 428
#define SYS_RB_MOVE_MOUNT 429
#define CLONE_TREE 1
#define FROM_AND_TO_EMPTY_PATH 0x44
#define ATTRIBUTE_READ_ONLY 1
#define ATTRIBUTES_OF_WRITABLE (2 | 4 | 8) /* nosuid, nodev, noexec */
#define EMPTY_PATH 0x1000
#define RECURSIVELY 0x8000

struct mount_attributes {
    uint64_t set;
    uint64_t clear;
    uint64_t propagation;
    uint64_t user_namespace;
};

static void reach(struct rb_report *report, enum rb_mechanism mechanism, int error) {
    if (error == 0) report->reached |= 1U << mechanism;
    report->error[mechanism] = error;
}

static int has(const struct rb_report *report, enum rb_mechanism mechanism) {
    return (report->reached >> mechanism) & 1;
}

static int write_file(int folder, const char *name, const char *text) {
    int descriptor = openat(folder, name, O_WRONLY | O_CLOEXEC);
    if (descriptor < 0) return errno;
    int error = write(descriptor, text, strlen(text)) < 0 ? errno : 0;
    close(descriptor);
    return error;
}

/// What users without a name are called in their namespace: nobody, on every Linux.
#define NO_ONE 65534

int rb_enter_user_namespace(int own_folder) {
    uid_t user = geteuid(), inside_user = user < RB_FIRST_UNNAMED_USER ? user : NO_ONE;
    gid_t group = getegid(), inside_group = group < RB_FIRST_UNNAMED_USER ? group : NO_ONE;
    if (unshare(CLONE_NEWUSER) != 0) return errno;
    char map[64];
    int error = write_file(own_folder, "setgroups", "deny");
    snprintf(map, sizeof map, "%u %u 1", (unsigned)inside_user, (unsigned)user);
    if (error == 0) error = write_file(own_folder, "uid_map", map);
    snprintf(map, sizeof map, "%u %u 1", (unsigned)inside_group, (unsigned)group);
    if (error == 0) error = write_file(own_folder, "gid_map", map);
    return error;
}

static int set_mount_at(int folder, const char *path, unsigned flags, uint64_t set, uint64_t clear) {
    struct mount_attributes attributes = {.set = set, .clear = clear};
    return syscall(SYS_RB_MOUNT_SETATTR, folder, path, flags, &attributes, sizeof attributes) == 0 ? 0 : errno;
}

static int set_mount(const char *path, unsigned flags, uint64_t set, uint64_t clear) {
    return set_mount_at(AT_FDCWD, path, flags, set, clear);
}

int rb_detach_mounts(void) { return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 ? 0 : errno; }

int rb_make_everything_read_only(void) { return set_mount("/", RECURSIVELY, ATTRIBUTE_READ_ONLY, 0); }

int rb_mount_memory(const char *path, uint64_t size, uid_t user, gid_t group, unsigned long more_flags) {
    char options[160];
    snprintf(options, sizeof options, "size=%llu,nr_inodes=65536,mode=0700,uid=%u,gid=%u", (unsigned long long)size,
             (unsigned)user, (unsigned)group);
    unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | more_flags;
    return mount("runbook", path, "tmpfs", flags, options) == 0 ? 0 : errno;
}

static int mount_scratch(const struct rb_plan *plan) {
    uid_t user = plan->user != 0 ? plan->user : geteuid();
    gid_t group = plan->user != 0 ? plan->group : getegid();
    return rb_mount_memory(plan->scratch, plan->scratch_size, user, group, 0);
}

#define MOST_WRITABLE_PATHS 256

/// Everything but the paths to write to: what changes a file's mode, owner, times and attributes isn't among Landlock's
/// rights. Those are taken out of the tree by descriptor and put back, so that no link takes them elsewhere meanwhile.
static int make_mounts_read_only(const struct rb_plan *plan) {
    int places[MOST_WRITABLE_PATHS], trees[MOST_WRITABLE_PATHS];
    size_t count = 0;
    int error = 0;
    for (size_t index = 0; index < plan->path_count && error == 0; index++) {
        const struct rb_path *rule = &plan->paths[index];
        if ((rule->access & RB_PATH_WRITE) == 0 || (rule->access & RB_PATH_LINKLESS) == 0) continue;
        if (count == MOST_WRITABLE_PATHS) return E2BIG;
        int place = rb_open_path(rule);
        // Landlock's rules say what is wrong with it.
        if (place < 0) continue;
        places[count] = place;
        trees[count] = (int)syscall(SYS_RB_OPEN_TREE, place, "", CLONE_TREE | O_CLOEXEC | AT_EMPTY_PATH | RECURSIVELY);
        if (trees[count] < 0) error = errno;
        // Nothing that it wrote is mapped as code, as the dynamic loader does it.
        if (error == 0) error = set_mount_at(trees[count], "", EMPTY_PATH | RECURSIVELY, ATTRIBUTES_OF_WRITABLE, 0);
        count++;
    }
    if (error == 0) error = rb_make_everything_read_only();
    for (size_t index = 0; index < count; index++) {
        if (error == 0 && syscall(SYS_RB_MOVE_MOUNT, trees[index], "", places[index], "", FROM_AND_TO_EMPTY_PATH) != 0)
            error = errno;
        if (trees[index] >= 0) close(trees[index]);
        close(places[index]);
    }
    // The map of a user namespace that a child of root makes for itself is written there. What lies over parts of it stays
    // as it is: an ordinary user's child could not change that, and needs nothing of it.
    if (error == 0 && plan->user != 0) error = set_mount("/proc", 0, 0, ATTRIBUTE_READ_ONLY);
    return error;
}

/// Returns 0, or an errno.
static int enter_namespace(const struct rb_plan *plan, enum rb_mechanism mechanism, int flag) {
    if ((plan->withheld >> mechanism) & 1) return ENOSYS;
    return unshare(flag) == 0 ? 0 : errno;
}

static int enter_own_user_namespace(void) {
    int folder = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int error = folder < 0 ? errno : rb_enter_user_namespace(folder);
    close(folder);
    return error;
}

static void enter_namespaces(const struct rb_plan *plan, struct rb_report *report) {
    // Root makes them as they are: the child gives that up afterwards.
    if (geteuid() != 0) {
        int error = (plan->withheld >> RB_USER_NAMESPACE) & 1 ? ENOSYS : enter_own_user_namespace();
        reach(report, RB_USER_NAMESPACE, error);
        if (error != 0) {
            report->error[RB_PID_NAMESPACE] = report->error[RB_MOUNT_NAMESPACE] = report->error[RB_IPC_NAMESPACE] =
                report->error[RB_NETWORK_NAMESPACE] = report->error[RB_READ_ONLY_MOUNTS] = error;
            return;
        }
    }
    reach(report, RB_PID_NAMESPACE, enter_namespace(plan, RB_PID_NAMESPACE, CLONE_NEWPID));
    reach(report, RB_IPC_NAMESPACE, enter_namespace(plan, RB_IPC_NAMESPACE, CLONE_NEWIPC));
    if (plan->network == RB_NETWORK_NONE)
        reach(report, RB_NETWORK_NAMESPACE, enter_namespace(plan, RB_NETWORK_NAMESPACE, CLONE_NEWNET));
    int error = enter_namespace(plan, RB_MOUNT_NAMESPACE, CLONE_NEWNS);
    if (error == 0) error = rb_detach_mounts();
    reach(report, RB_READ_ONLY_MOUNTS, error == 0 ? make_mounts_read_only(plan) : error);
    // After that, because it is to be written to.
    reach(report, RB_MOUNT_NAMESPACE, error == 0 ? mount_scratch(plan) : error);
}

static int limit(int resource, uint64_t value) {
    struct rlimit bounds = {.rlim_cur = value, .rlim_max = value}, present;
    // No one may raise what the agent itself was given.
    if (getrlimit(resource, &present) == 0 && present.rlim_max < value) bounds.rlim_cur = bounds.rlim_max = present.rlim_max;
    return setrlimit(resource, &bounds) == 0 ? 0 : errno;
}

static int set_limits(const struct rb_plan *plan, int is_alone) {
    // core(5): 0 keeps the kernel from writing a file, 1 also from handing the memory to a program of the host's.
    int error = limit(RLIMIT_CORE, 1);
    if (error == 0) error = limit(RLIMIT_NOFILE, plan->open_files);
    if (error == 0) error = limit(RLIMIT_FSIZE, plan->file_size);
    if (error == 0) error = limit(RLIMIT_MSGQUEUE, 0);
    if (error == 0) error = limit(RLIMIT_MEMLOCK, 0);
    // Signals that wait count for the user, the agent included.
    if (error == 0) error = limit(RLIMIT_SIGPENDING, 256);
    for (size_t i = 0; error == 0 && i < plan->limit_count; i++) {
        // Counted by user: it would count the agent's, and those of other plugins.
        if (plan->limits[i].resource == RLIMIT_NPROC && !is_alone) continue;
        error = limit(plan->limits[i].resource, plan->limits[i].value);
    }
    return error;
}

static int drop_capabilities(void) {
    for (int capability = 0; capability <= 63; capability++) {
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 && errno == EPERM) break;
    }
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    return syscall(SYS_capset, &header, data) == 0 ? 0 : errno;
}

static void fail(struct rb_report *report, const char *what) {
    report->failure = what;
    report->failure_error = errno;
}

/// Puts an empty folder over /proc, or one of the child's own processes: nothing else in it can be opened, and what doesn't
/// ask Landlock (stat(2), readlink(2)) would tell which processes the host has. Not where the keeper has to look at them.
static void hide_processes(const struct rb_plan *plan, struct rb_report *report) {
    int is_alone = has(report, RB_MOUNT_NAMESPACE) && has(report, RB_PID_NAMESPACE);
    if (plan->has_proc) reach(report, RB_OWN_PROC, is_alone ? rb_mount_own_proc() : ENOSYS);
    if (is_alone && !has(report, RB_OWN_PROC)) rb_mount_memory("/proc", 4096, geteuid(), getegid(), MS_RDONLY);
}

static void confine_child(const struct rb_plan *plan, struct rb_report *report) {
    syscall(SYS_RB_CLOSE_RANGE, plan->supervision, ~0U, 0);
    setsid();
    report->memory_use = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    int own_folder = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    // A folder of the host's in its place would be written to.
    if (plan->scratch_size > 0 && !has(report, RB_MOUNT_NAMESPACE)) {
        errno = report->error[RB_MOUNT_NAMESPACE];
        return fail(report, "the scratch folder can't be made");
    }
    // Before the rules, which bind to what is there.
    hide_processes(plan, report);
    int ruleset = rb_make_ruleset(plan, report);
    if (report->failure != NULL) return;
    if (plan->user != 0) {
        if (setgroups(0, NULL) != 0 || setresgid(plan->group, plan->group, plan->group) != 0
            || setresuid(plan->user, plan->user, plan->user) != 0)
            return fail(report, "the user can't be changed");
        reach(report, RB_OWN_USER, 0);
        // Changing the user took it away, and with it the right to write the map.
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
        reach(report, RB_USER_NAMESPACE, rb_enter_user_namespace(own_folder));
    }
    close(own_folder);
    // After every change of the user, which clears it (prctl(2)).
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return fail(report, "it can't be tied to its parent");
    if (chdir(plan->scratch) != 0) return fail(report, "the scratch folder can't be entered");
    reach(report, RB_NO_CAPABILITIES, drop_capabilities());
    int is_alone = has(report, RB_OWN_USER) || has(report, RB_USER_NAMESPACE);
    reach(report, RB_LIMITS, set_limits(plan, is_alone));
    reach(report, RB_NO_NEW_PRIVILEGES, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? 0 : errno);
    if (ruleset >= 0) {
        int error = rb_enter_ruleset(ruleset);
        close(ruleset);
        reach(report, RB_LANDLOCK_FILES, error);
        if (report->landlock_abi >= 4) reach(report, RB_LANDLOCK_NETWORK, error);
        if (report->landlock_abi >= 6) reach(report, RB_LANDLOCK_SCOPE, error);
    }
    int keeps_attributes = has(report, RB_OWN_USER) || has(report, RB_READ_ONLY_MOUNTS);
    reach(report, RB_SECCOMP, rb_install_filter(plan, !keeps_attributes));
}

int rb_limit_memory(const struct rb_report *report, uint64_t bytes) {
    char text[128];
    unsigned long pages = 0;
    ssize_t count = pread(report->memory_use, text, sizeof text - 1, 0);
    if (count <= 0) return count < 0 ? errno : EIO;
    text[count] = 0;
    if (sscanf(text, "%lu", &pages) != 1) return EIO;
    close(report->memory_use);
    return limit(RLIMIT_AS, (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) + bytes);
}

void rb_confine(const struct rb_plan *plan, struct rb_report *report) {
    memset(report, 0, sizeof *report);
    report->memory_use = -1;
    if (plan->unconfined) {
        rb_notify(plan->supervision, RB_NOTICE_SUPERVISOR, getpid());
        return;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != plan->parent) _exit(1);
    // Where the host runs out of memory this is what ends first, and not the agent (proc(5)).
    write_file(AT_FDCWD, "/proc/self/oom_score_adj", "1000");
    enter_namespaces(plan, report);
    int owns_processes = has(report, RB_PID_NAMESPACE);
    if (owns_processes) {
        // The first process of the namespace, which everything in it ends with. A child of the agent, and not of this
        // process, which has nothing more to do.
        long supervisor = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
        if (supervisor < 0) _exit(1);
        if (supervisor > 0) {
            rb_notify(plan->supervision, RB_NOTICE_SUPERVISOR, (int32_t)supervisor);
            _exit(0);
        }
    } else {
        rb_notify(plan->supervision, RB_NOTICE_SUPERVISOR, getpid());
    }
    int signals = rb_prepare_supervision(owns_processes);
    pid_t child = fork();
    if (child < 0) _exit(1);
    if (child > 0) rb_supervise(plan->supervision, signals, child, owns_processes);
    rb_leave_supervision();
    confine_child(plan, report);
}
