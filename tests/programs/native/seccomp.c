/* seccomp MODE PROGRAM ARGS: runs PROGRAM where the kernel refuses calls that an allocator can do
 * without.
 *
 *   eperm, enosys   the optional calls fail with that error
 *   tight           so do madvise, gettid and threads started by clone (the C library uses clone3
 * for its own); of the calls that libration makes only mmap, munmap, futex, write and signal masks
 * are left */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

#define LOAD_NUMBER BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define REFUSE(nr, error)                                                                          \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1),                                               \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static int install(struct sock_filter *filter, size_t n)
{
    struct sock_fprog program = {.len = (unsigned short)n, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        printf("seccomp is not available here: %s\n", strerror(errno));
        return 77;
    }
    return 0;
}

static int refuse_optional(unsigned error)
{
    struct sock_filter filter[] = {
        LOAD_NUMBER,
        REFUSE(SYS_process_madvise, error),
        REFUSE(SYS_membarrier, error),
        REFUSE(SYS_rseq, error),
        REFUSE(SYS_getrandom, error),
        REFUSE(SYS_mremap, error),
        REFUSE(SYS_prctl, error),
        REFUSE(SYS_prlimit64, error),
        ALLOW,
    };
    return install(filter, sizeof filter / sizeof filter[0]);
}

static int refuse_all_but_mapping(void)
{
    struct sock_filter filter[] = {
        LOAD_NUMBER,
        REFUSE(SYS_process_madvise, EPERM),
        REFUSE(SYS_madvise, EPERM),
        REFUSE(SYS_membarrier, EPERM),
        REFUSE(SYS_getrandom, EPERM),
        REFUSE(SYS_mremap, EPERM),
        REFUSE(SYS_prctl, EPERM),
        REFUSE(SYS_prlimit64, EPERM),
        REFUSE(SYS_gettid, EPERM),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        ALLOW,
    };
    return install(filter, sizeof filter / sizeof filter[0]);
}

int main(int argc, char **argv)
{
    int status = 2;
    if (argc < 3) {
        fprintf(stderr, "usage: seccomp eperm|enosys|tight PROGRAM [ARGUMENT...]\n");
        return status;
    }
    if (strcmp(argv[1], "eperm") == 0)
        status = refuse_optional(EPERM);
    else if (strcmp(argv[1], "enosys") == 0)
        status = refuse_optional(ENOSYS);
    else if (strcmp(argv[1], "tight") == 0)
        status = refuse_all_but_mapping();
    if (status != 0)
        return status;
    execvp(argv[2], argv + 2);
    perror(argv[2]);
    return 1;
}
