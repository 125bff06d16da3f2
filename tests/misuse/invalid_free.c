/* free of what malloc never gave: stack, global, code, ... */
#include "misuse.h"

#include <sys/mman.h>

static _Alignas(64) char global[256];
static const _Alignas(64) char constant[256] = "constant";
static _Thread_local _Alignas(64) char local_to_thread[256];

__attribute__((aligned(64), noinline)) static int code(void)
{
    return 5;
}

static void *foreign(const char *kind, void *stack)
{
    if (strcmp(kind, "stack") == 0)
        return stack;
    if (strcmp(kind, "global") == 0)
        return global + 64;
    if (strcmp(kind, "constant") == 0)
        return (void *)(uintptr_t)constant;
    if (strcmp(kind, "tls") == 0)
        return local_to_thread;
    if (strcmp(kind, "code") == 0)
        return (void *)(uintptr_t)code;
    if (strcmp(kind, "mmap") == 0)
        return mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (strcmp(kind, "brk") == 0)
        return (void *)(((uintptr_t)sbrk(65536) + 4096) & ~(uintptr_t)4095);
    return (void *)(uintptr_t)strtoul(kind, NULL, 0);
}

int main(int argc, char **argv)
{
    _Alignas(64) char stack[256] = "";
    new_block(64);
    free(crime(foreign(argc > 1 ? argv[1] : "stack", stack)));
    return go_on() + code() - 5;
}
