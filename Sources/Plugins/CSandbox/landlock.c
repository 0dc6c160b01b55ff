#define _GNU_SOURCE
#include "sandbox.h"
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// The header of the machine that builds may be older than the kernel that runs (landlock(7), "Version").
#define ACCESS_FS_EXECUTE (1ULL << 0)
#define ACCESS_FS_WRITE_FILE (1ULL << 1)
#define ACCESS_FS_READ_FILE (1ULL << 2)
#define ACCESS_FS_READ_DIR (1ULL << 3)
#define ACCESS_FS_MAKE_CHAR (1ULL << 6)
#define ACCESS_FS_MAKE_BLOCK (1ULL << 11)
#define ACCESS_FS_ABI_1 ((1ULL << 13) - 1)
#define ACCESS_FS_REFER (1ULL << 13)
#define ACCESS_FS_TRUNCATE (1ULL << 14)
#define ACCESS_FS_IOCTL_DEV (1ULL << 15)
#define ACCESS_NET_BIND_TCP (1ULL << 0)
#define ACCESS_NET_CONNECT_TCP (1ULL << 1)
#define SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)
#define SCOPE_SIGNAL (1ULL << 1)
#define RULE_PATH_BENEATH 1
#define RULE_NET_PORT 2

#define SYS_RB_LANDLOCK_CREATE_RULESET 444
#define SYS_RB_LANDLOCK_ADD_RULE 445
#define SYS_RB_LANDLOCK_RESTRICT_SELF 446
#define SYS_RB_OPENAT2 437
#define RESOLVE_LINKLESS 0x04 /* RESOLVE_NO_SYMLINKS of openat2(2), Linux 5.6: older than Landlock */

struct ruleset {
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
    uint64_t scoped;
};

struct __attribute__((packed)) path_rule {
    uint64_t allowed_access;
    int32_t parent_fd;
};

struct port_rule {
    uint64_t allowed_access;
    uint64_t port;
};

int rb_landlock_abi(void) {
    long abi = syscall(SYS_RB_LANDLOCK_CREATE_RULESET, NULL, 0, 1 /* LANDLOCK_CREATE_RULESET_VERSION */);
    return abi < 0 ? 0 : (int)abi;
}

static uint64_t handled_files(int abi) {
    uint64_t handled = ACCESS_FS_ABI_1;
    if (abi >= 2) handled |= ACCESS_FS_REFER;
    if (abi >= 3) handled |= ACCESS_FS_TRUNCATE;
    if (abi >= 5) handled |= ACCESS_FS_IOCTL_DEV;
    return handled;
}

/// Rights that only folders can have are refused for a file.
static const uint64_t file_rights = ACCESS_FS_EXECUTE | ACCESS_FS_WRITE_FILE | ACCESS_FS_READ_FILE | ACCESS_FS_TRUNCATE;

struct open_rules {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};

int rb_open_path(const struct rb_path *rule) {
    if ((rule->access & RB_PATH_LINKLESS) == 0) return open(rule->path, O_PATH | O_CLOEXEC);
    struct open_rules rules = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_LINKLESS};
    return (int)syscall(SYS_RB_OPENAT2, AT_FDCWD, rule->path, &rules, sizeof rules);
}

static int allow_path(int ruleset, const struct rb_path *rule, uint64_t handled) {
    int descriptor = rb_open_path(rule);
    if (descriptor < 0) return rule->access & RB_PATH_OPTIONAL ? 0 : errno;
    struct stat status;
    if (fstat(descriptor, &status) != 0) {
        int error = errno;
        close(descriptor);
        return error;
    }
    uint64_t rights = 0;
    if (rule->access & RB_PATH_READ) rights |= ACCESS_FS_READ_FILE | ACCESS_FS_READ_DIR;
    if (rule->access & RB_PATH_EXECUTE) rights |= ACCESS_FS_EXECUTE;
    if (rule->access & RB_PATH_WRITE)
        rights |= handled
                  & ~(ACCESS_FS_EXECUTE | ACCESS_FS_READ_FILE | ACCESS_FS_READ_DIR | ACCESS_FS_MAKE_CHAR
                      | ACCESS_FS_MAKE_BLOCK | ACCESS_FS_IOCTL_DEV);
    if (!S_ISDIR(status.st_mode)) rights &= file_rights;
    struct path_rule attributes = {.allowed_access = rights & handled, .parent_fd = descriptor};
    long result = attributes.allowed_access == 0
        ? 0
        : syscall(SYS_RB_LANDLOCK_ADD_RULE, ruleset, RULE_PATH_BENEATH, &attributes, 0);
    int error = result == 0 ? 0 : errno;
    close(descriptor);
    return error;
}

static int allow_ports(int ruleset, const struct rb_ports *ports) {
    for (uint32_t port = ports->first; port <= ports->last; port++) {
        struct port_rule rule = {.allowed_access = ACCESS_NET_CONNECT_TCP, .port = port};
        if (syscall(SYS_RB_LANDLOCK_ADD_RULE, ruleset, RULE_NET_PORT, &rule, 0) != 0) return errno;
    }
    return 0;
}

int rb_make_ruleset(const struct rb_plan *plan, struct rb_report *report) {
    int abi = report->landlock_abi = rb_landlock_abi();
    if (abi == 0) {
        report->error[RB_LANDLOCK_FILES] = report->error[RB_LANDLOCK_NETWORK] = report->error[RB_LANDLOCK_SCOPE] =
            errno == 0 ? ENOSYS : errno;
        return -1;
    }
    struct ruleset attributes = {.handled_access_fs = handled_files(abi)};
    size_t size = sizeof attributes.handled_access_fs;
    int names_ports = plan->network != RB_NETWORK_FULL;
    if (abi >= 4) size = offsetof(struct ruleset, scoped);
    if (abi >= 4 && names_ports) attributes.handled_access_net = ACCESS_NET_BIND_TCP | ACCESS_NET_CONNECT_TCP;
    if (abi >= 6) {
        size = sizeof attributes;
        attributes.scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
    }
    int ruleset = (int)syscall(SYS_RB_LANDLOCK_CREATE_RULESET, &attributes, size, 0);
    if (ruleset < 0) {
        report->error[RB_LANDLOCK_FILES] = errno;
        return -1;
    }
    for (size_t index = 0; index < plan->path_count; index++) {
        const struct rb_path *rule = &plan->paths[index];
        if (rule->access & RB_PATH_OWN_PROC && (report->reached >> RB_OWN_PROC & 1) == 0) continue;
        int error = allow_path(ruleset, rule, attributes.handled_access_fs);
        if (error == 0) continue;
        report->failure = "the path can't be allowed";
        report->failure_path = plan->paths[index].path;
        report->failure_error = error;
        close(ruleset);
        return -1;
    }
    if (plan->network == RB_NETWORK_PORTS && abi >= 4) {
        for (size_t index = 0; index < plan->port_count; index++) {
            int error = allow_ports(ruleset, &plan->ports[index]);
            if (error == 0) continue;
            report->error[RB_LANDLOCK_NETWORK] = error;
            close(ruleset);
            return -1;
        }
    }
    if (abi < 4) report->error[RB_LANDLOCK_NETWORK] = ENOSYS;
    if (abi < 6) report->error[RB_LANDLOCK_SCOPE] = ENOSYS;
    return ruleset;
}

int rb_enter_ruleset(int ruleset) {
    return syscall(SYS_RB_LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0 ? 0 : errno;
}
