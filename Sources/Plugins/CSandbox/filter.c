#define _GNU_SOURCE
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define NATIVE_ARCHITECTURE AUDIT_ARCH_X86_64
#define NATIVE_IO_PGETEVENTS 333
#elif defined(__aarch64__)
#define NATIVE_ARCHITECTURE AUDIT_ARCH_AARCH64
#define NATIVE_IO_PGETEVENTS 292
#else
#error "the sandbox knows the system calls of x86_64 and aarch64"
#endif

#define X32_BIT 0x40000000U
#define NAMESPACES                                                                                                    \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)
#define FAST_OPEN 0x20000000
#define SOCKET_TYPE 0xF
/// Programs with these run as the owner or group of their file (chmod(2)).
#define SET_ID_BITS (S_ISUID | S_ISGID)
/// With these of open(2) the mode counts: `__O_TMPFILE` alone, because the rest of `O_TMPFILE` is `O_DIRECTORY`.
#define CREATING (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))
#define TCP_UPPER_LAYER 31
#define TERMINAL_INPUT 0x5412
#define TERMINAL_LINUX 0x541C

/// FS_IOC_SETFLAGS in both widths, and FS_IOC_FSSETXATTR (ioctl_iflags(2)).
#define SET_FILE_FLAGS 0x40086602
#define SET_FILE_FLAGS_32 0x40046602
#define SET_FILE_ATTRIBUTES 0x401C5820

/// For headers that are older than the calls.
enum {
    RB_SYS_io_pgetevents = NATIVE_IO_PGETEVENTS,
    RB_SYS_io_uring_setup = 425,
    RB_SYS_io_uring_enter = 426,
    RB_SYS_io_uring_register = 427,
    RB_SYS_open_tree = 428,
    RB_SYS_move_mount = 429,
    RB_SYS_fsopen = 430,
    RB_SYS_fsconfig = 431,
    RB_SYS_fsmount = 432,
    RB_SYS_fspick = 433,
    RB_SYS_clone3 = 435,
    RB_SYS_openat2 = 437,
    RB_SYS_pidfd_getfd = 438,
    RB_SYS_process_madvise = 440,
    RB_SYS_mount_setattr = 442,
    RB_SYS_quotactl_fd = 443,
    RB_SYS_landlock_create_ruleset = 444,
    RB_SYS_landlock_add_rule = 445,
    RB_SYS_landlock_restrict_self = 446,
    RB_SYS_memfd_secret = 447,
    RB_SYS_process_mrelease = 448,
    RB_SYS_fchmodat2 = 452,
    RB_SYS_statmount = 457,
    RB_SYS_listmount = 458,
    RB_SYS_setxattrat = 463,
    RB_SYS_getxattrat = 464,
    RB_SYS_listxattrat = 465,
    RB_SYS_removexattrat = 466,
    RB_SYS_open_tree_attr = 467,
    RB_SYS_file_setattr = 469,
};

/// Refused whatever the arguments.
static const int refused[] = {
    // Other processes.
    SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, RB_SYS_pidfd_getfd, RB_SYS_process_madvise,
    RB_SYS_process_mrelease, SYS_kcmp, SYS_move_pages, SYS_migrate_pages, SYS_ioprio_set, SYS_acct,
    // Mounts and namespaces.
    SYS_mount, SYS_umount2, RB_SYS_open_tree, RB_SYS_open_tree_attr, RB_SYS_move_mount, RB_SYS_fsopen,
    RB_SYS_fsconfig, RB_SYS_fsmount, RB_SYS_fspick, RB_SYS_mount_setattr, RB_SYS_statmount, RB_SYS_listmount,
    SYS_pivot_root, SYS_chroot, SYS_unshare, SYS_setns, SYS_sethostname, SYS_setdomainname, SYS_swapon, SYS_swapoff,
    // Large parts of the kernel that plugins don't need.
    SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, RB_SYS_io_uring_setup, RB_SYS_io_uring_enter,
    RB_SYS_io_uring_register, SYS_add_key, SYS_request_key, SYS_keyctl, SYS_fanotify_init, SYS_fanotify_mark,
    SYS_personality, SYS_vmsplice, SYS_lookup_dcookie, RB_SYS_memfd_secret,
    // The machine.
    SYS_kexec_load, SYS_kexec_file_load, SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_reboot,
    SYS_clock_settime, SYS_settimeofday, SYS_clock_adjtime, SYS_adjtimex, SYS_syslog, SYS_vhangup, SYS_quotactl,
    RB_SYS_quotactl_fd,
    // What goes on in folders that it may not read.
    SYS_inotify_init1, SYS_inotify_add_watch,
    // Ways around the rules for files.
    SYS_open_by_handle_at, SYS_name_to_handle_at, SYS_memfd_create, SYS_execveat, SYS_mknodat,
    // Memory and queues that all processes of a user share.
    SYS_shmget, SYS_shmat, SYS_shmctl, SYS_semget, SYS_semop, SYS_semctl, SYS_semtimedop, SYS_msgget, SYS_msgsnd,
    SYS_msgrcv, SYS_msgctl, SYS_mq_open, SYS_mq_unlink,
    // Of these contexts the whole host has one number (aio-max-nr of proc_sys_fs(5)).
    SYS_io_setup, SYS_io_submit, SYS_io_getevents, RB_SYS_io_pgetevents, SYS_io_cancel, SYS_io_destroy,
#if defined(__x86_64__)
    SYS_inotify_init, SYS_mknod, SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS_uselib, SYS_ustat, SYS_sysfs, SYS__sysctl,
    SYS_create_module, SYS_get_kernel_syms, SYS_query_module, SYS_nfsservctl,
#endif
};

/// What changes who may do what with a file, by its name or by a descriptor that may only read: Landlock sees none of it.
static const int attributes[] = {
    SYS_fchmod, SYS_fchmodat, RB_SYS_fchmodat2, SYS_fchown, SYS_fchownat, SYS_utimensat, SYS_setxattr, SYS_lsetxattr,
    SYS_fsetxattr, SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr, RB_SYS_setxattrat, RB_SYS_removexattrat,
    RB_SYS_file_setattr,
#if defined(__x86_64__)
    SYS_chmod, SYS_chown, SYS_lchown, SYS_utime, SYS_utimes, SYS_futimesat,
#endif
};

/// What tells of attributes by a file's name, whatever Landlock says of the file. Programs that copy files take the answer
/// for that of a file system which has none.
static const int attribute_reads[] = {
    SYS_getxattr, SYS_lgetxattr, SYS_listxattr, SYS_llistxattr, RB_SYS_getxattrat, RB_SYS_listxattrat,
};

/// What programs do without where it isn't there: its arguments lie in memory, where a filter can't see them, or it takes
/// memory of the kernel's that counts for no process.
static const int absent[] = {
    // Without it the C library takes `clone`.
    RB_SYS_clone3, RB_SYS_openat2, RB_SYS_landlock_create_ruleset, RB_SYS_landlock_add_rule,
    RB_SYS_landlock_restrict_self,
};

struct program {
    struct sock_filter filter[768];
    unsigned short length;
};

static void add(struct program *program, struct sock_filter instruction) {
    if (program->length < sizeof program->filter / sizeof program->filter[0])
        program->filter[program->length] = instruction;
    program->length++;
}

#define STATEMENT(code, value) add(program, (struct sock_filter)BPF_STMT(code, value))
#define JUMP(code, value, yes, no) add(program, (struct sock_filter)BPF_JUMP(code, value, yes, no))
#define LOAD_NUMBER() STATEMENT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
/// The kernel itself looks at no more than the low half of the arguments that are asked about here.
#define LOAD_ARGUMENT(index) STATEMENT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[index]))
#define RETURN_ERROR(error) STATEMENT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))
#define ALLOW() STATEMENT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void refuse(struct program *program, int number, int error) {
    JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1);
    RETURN_ERROR(error);
}

/// Refuses the call where one of these bits is set in the argument.
static void refuse_bits(struct program *program, int number, int argument, unsigned bits) {
    JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 4);
    LOAD_ARGUMENT(argument);
    JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1);
    RETURN_ERROR(EPERM);
    ALLOW();
}

/// Refuses a call that opens files where it may make one, with one of these bits in its mode.
static void refuse_mode_of_new_files(struct program *program, int number, int flags, unsigned bits) {
    JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 6);
    LOAD_ARGUMENT(flags);
    // Without one the argument behind it is whatever the register held.
    JUMP(BPF_JMP | BPF_JSET | BPF_K, CREATING, 0, 3);
    LOAD_ARGUMENT(flags + 1);
    JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1);
    RETURN_ERROR(EPERM);
    ALLOW();
}

/// A program of the user's that others can start, with the user's rights, would outlive every limit of the sandbox.
static void refuse_set_id_bits(struct program *program) {
    refuse_bits(program, SYS_fchmod, 1, SET_ID_BITS);
    refuse_bits(program, SYS_fchmodat, 2, SET_ID_BITS);
    refuse_bits(program, RB_SYS_fchmodat2, 2, SET_ID_BITS);
    refuse_bits(program, SYS_mkdirat, 2, SET_ID_BITS);
    refuse_mode_of_new_files(program, SYS_openat, 2, SET_ID_BITS);
#if defined(__x86_64__)
    refuse_bits(program, SYS_chmod, 1, SET_ID_BITS);
    refuse_bits(program, SYS_mkdir, 1, SET_ID_BITS);
    refuse_bits(program, SYS_creat, 1, SET_ID_BITS);
    refuse_mode_of_new_files(program, SYS_open, 1, SET_ID_BITS);
#endif
}

/// Refuses the call where the argument is one of these.
static void refuse_values(
    struct program *program, int number, int argument, const unsigned *values, unsigned char count
) {
    JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, (unsigned char)(2 * count + 2));
    LOAD_ARGUMENT(argument);
    for (unsigned char index = 0; index < count; index++) {
        JUMP(BPF_JMP | BPF_JEQ | BPF_K, values[index], 0, 1);
        RETURN_ERROR(EPERM);
    }
    ALLOW();
}

/// What one argument may be, under a mask.
struct allowed {
    int argument;
    unsigned mask;
    unsigned char count;
    unsigned values[5];
};

/// Allows the call only where each of these arguments is one of its values.
static void require(struct program *program, int number, const struct allowed *allowed, size_t count) {
    unsigned char length = 1;
    for (size_t index = 0; index < count; index++) length = (unsigned char)(length + 3 + allowed[index].count);
    JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, length);
    for (size_t index = 0; index < count; index++) {
        LOAD_ARGUMENT(allowed[index].argument);
        STATEMENT(BPF_ALU | BPF_AND | BPF_K, allowed[index].mask);
        for (unsigned char value = 0; value < allowed[index].count; value++)
            JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[index].values[value],
                 (unsigned char)(allowed[index].count - value), 0);
        RETURN_ERROR(EPERM);
    }
    ALLOW();
}

static void require_value(struct program *program, int number, int argument, unsigned value) {
    struct allowed allowed = {argument, ~0U, 1, {value}};
    require(program, number, &allowed, 1);
}

/// Where the first two of the arguments `level` and `option` of setsockopt(2) are these, answers with `error`. 0: it is
/// taken and not done.
static void answer_option(struct program *program, unsigned level, unsigned option, int error) {
    JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setsockopt, 0, 6);
    LOAD_ARGUMENT(1);
    JUMP(BPF_JMP | BPF_JEQ | BPF_K, level, 0, 3);
    LOAD_ARGUMENT(2);
    JUMP(BPF_JMP | BPF_JEQ | BPF_K, option, 0, 1);
    RETURN_ERROR(error);
    LOAD_NUMBER();
}

static void allow_sockets(struct program *program, int network) {
    if (network == RB_NETWORK_NONE) {
        refuse(program, SYS_socket, EPERM);
        return;
    }
    // Never raw, and never a protocol that Landlock's rules for TCP don't cover.
    int is_full = network == RB_NETWORK_FULL;
    if (is_full) {
        // Of what the kernel has to say there, that on interfaces and routes: `NETLINK_ROUTE`, which is 0.
        JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 6);
        LOAD_ARGUMENT(0);
        JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 3);
        LOAD_ARGUMENT(2);
        JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
        RETURN_ERROR(EPERM);
        LOAD_NUMBER();
    }
    struct allowed allowed[] = {
        {0, ~0U, is_full ? 3 : 2, {AF_INET, AF_INET6, AF_NETLINK}},
        {1, SOCKET_TYPE, is_full ? 2 : 1, {SOCK_STREAM, SOCK_DGRAM}},
        {2, ~0U, is_full ? 5 : 2, {0, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6}},
    };
    require(program, SYS_socket, allowed, 3);
}

int rb_install_filter(const struct rb_plan *plan, int refuses_attributes) {
    struct program storage = {.length = 0}, *program = &storage;
    STATEMENT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCHITECTURE, 1, 0);
    STATEMENT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    LOAD_NUMBER();
#if defined(__x86_64__)
    // Other numbers for the same calls.
    JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
    STATEMENT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
#endif
    for (size_t index = 0; index < sizeof refused / sizeof refused[0]; index++)
        refuse(program, refused[index], EPERM);
    if (refuses_attributes)
        for (size_t index = 0; index < sizeof attributes / sizeof attributes[0]; index++)
            refuse(program, attributes[index], EPERM);
    if (!plan->may_start_programs) refuse(program, SYS_execve, EPERM);

    for (size_t index = 0; index < sizeof absent / sizeof absent[0]; index++) refuse(program, absent[index], ENOSYS);
    for (size_t index = 0; index < sizeof attribute_reads / sizeof attribute_reads[0]; index++)
        refuse(program, attribute_reads[index], EOPNOTSUPP);
    refuse_bits(program, SYS_clone, 0, NAMESPACES);
    refuse_set_id_bits(program);

    // No plugin needs to make a file immutable, with mounts that are read-only or without.
    static const unsigned requests[] = {
        TERMINAL_INPUT, TERMINAL_LINUX, SET_FILE_FLAGS, SET_FILE_FLAGS_32, SET_FILE_ATTRIBUTES};
    refuse_values(program, SYS_ioctl, 1, requests, 5);
    // What makes its end, and that of what it starts, certain.
    static const unsigned options[] = {PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_DUMPABLE, PR_SET_MM};
    refuse_values(program, SYS_prctl, 0, options, 4);
    // Of everything it may signal, which without namespaces is everything of the user.
    static const unsigned everyone[] = {0xFFFFFFFF};
    refuse_values(program, SYS_kill, 0, everyone, 1);
    require_value(program, SYS_prlimit64, 0, 0);
    require_value(program, SYS_sched_setaffinity, 0, 0);
    require_value(program, SYS_sched_setscheduler, 0, 0);
    require_value(program, SYS_sched_setparam, 0, 0);
    require_value(program, SYS_sched_setattr, 0, 0);
    struct allowed itself[] = {{0, ~0U, 1, {PRIO_PROCESS}}, {1, ~0U, 1, {0}}};
    require(program, SYS_setpriority, itself, 2);

    // Datagram pairs could still send to any path socket.
    struct allowed streams = {1, SOCKET_TYPE, 1, {SOCK_STREAM}};
    require(program, SYS_socketpair, &streams, 1);
    allow_sockets(program, plan->network);
    // What waits in sockets is the kernel's memory, which counts for no process: 125 pairs held 2 GB with buffers as large
    // as they get, and hold 50 MB with those they are made with.
    answer_option(program, SOL_SOCKET, SO_SNDBUF, 0);
    answer_option(program, SOL_SOCKET, SO_RCVBUF, 0);
    // Whoever closes such a socket last waits for what it has to send, and may be another process, or a worker of the
    // kernel's that every process needs.
    answer_option(program, SOL_SOCKET, SO_LINGER, 0);
    // Another protocol in TCP's place, such as SMC, that Landlock's rules don't cover.
    answer_option(program, IPPROTO_TCP, TCP_UPPER_LAYER, EPERM);
    if (plan->network != RB_NETWORK_FULL) {
        // Landlock asks about connect(2) and bind(2) only.
        refuse(program, SYS_listen, EPERM);
        refuse_bits(program, SYS_sendto, 3, FAST_OPEN);
        refuse_bits(program, SYS_sendmsg, 2, FAST_OPEN);
        refuse_bits(program, SYS_sendmmsg, 3, FAST_OPEN);
    }
    ALLOW();
    if (storage.length > sizeof storage.filter / sizeof storage.filter[0]) return E2BIG;
    struct sock_fprog installed = {.len = storage.length, .filter = storage.filter};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &installed) == 0 ? 0 : errno;
}
