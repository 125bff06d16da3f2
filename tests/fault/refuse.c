/* refuse CALL[,CALL...] PROGRAM ARGS: runs a program for which the kernel refuses these system
 * calls with EPERM (seccomp). `mmap-exact` refuses mmap with MAP_FIXED_NOREPLACE only. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif

enum { MAP_EXACT_FLAG = 0x100000, CALLS_MAX = 16, ARGS_3 = offsetof(struct seccomp_data, args[3]) };

static const struct {
    const char *name;
    unsigned number;
} known[] = {
    {"madvise", SYS_madvise},
    {"mremap", SYS_mremap},
    {"getrandom", SYS_getrandom},
    {"membarrier", SYS_membarrier},
    {"munmap", SYS_munmap},
    {"process_madvise", SYS_process_madvise},
    {"prlimit64", SYS_prlimit64},
    {"rt_sigprocmask", SYS_rt_sigprocmask},
    {"clone", SYS_clone},
    {"clone3", SYS_clone3},
    {"gettid", SYS_gettid},
    {"mmap-exact", SYS_mmap},
    {"sched_yield", SYS_sched_yield},
};

static int number_of(const char *name)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, name) == 0)
            return (int)known[i].number;
    }
    return -1;
}

static struct sock_filter filter[4 * CALLS_MAX + 2];
static unsigned short length;

static void add(unsigned short code, unsigned k, unsigned char yes, unsigned char no)
{
    filter[length++] = (struct sock_filter){code, yes, no, k};
}

static void add_call(const char *name, int number)
{
    add(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
    if (strcmp(name, "mmap-exact") == 0) {
        add(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 3);
        add(BPF_LD | BPF_W | BPF_ABS, ARGS_3, 0, 0);
        add(BPF_JMP | BPF_JSET | BPF_K, MAP_EXACT_FLAG, 0, 1);
    } else {
        add(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1);
    }
    add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM, 0, 0);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: refuse CALL[,CALL...] PROGRAM [ARGS...]\n");
        return 2;
    }
    for (char *name = strtok(argv[1], ","); name != NULL; name = strtok(NULL, ",")) {
        int number = number_of(name);
        if (number < 0 || length > 4 * CALLS_MAX - 4) {
            fprintf(stderr, "refuse: unknown call '%s', or too many\n", name);
            return 2;
        }
        add_call(name, number);
    }
    add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
    struct sock_fprog program = {length, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        perror("refuse: the kernel takes no filter");
        return 77;
    }
    execv(argv[2], argv + 2);
    perror(argv[2]);
    return 2;
}
