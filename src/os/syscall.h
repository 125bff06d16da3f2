/* System calls without the C library: no errno, no cancellation point, usable on a thread it does not know.
 * A result from -4095 to -1 is an error number. */
#ifndef RATION_OS_SYSCALL_H
#define RATION_OS_SYSCALL_H

#include "base/compiler.h"

#include <sys/syscall.h>

#if defined(__x86_64__)

static ALWAYS_INLINE long syscall6(long n, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* clone() into entry(arg) on `stack`; the child ends with exit(0). `alive` is cleared by the kernel at its end. */
static inline long syscall_clone_into(unsigned long flags, void *stack, uint32_t *alive, void *tls,
                                      void (*entry)(void *), void *arg)
{
    register uint32_t *r10 __asm__("r10") = alive;
    register void *r8 __asm__("r8") = tls;
    register void (*r12)(void *) __asm__("r12") = entry;
    register void *r13 __asm__("r13") = arg;
    long result;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r13, %%rdi\n\t"
                     "call *%%r12\n\t"
                     "mov %[exit], %%eax\n\t"
                     "xor %%edi, %%edi\n\t"
                     "syscall\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(result)
                     : "a"((long)SYS_clone), "D"(flags), "S"(stack), "d"(0L), "r"(r10), "r"(r8),
                       "r"(r12), "r"(r13), [exit] "i"(SYS_exit)
                     : "rcx", "r11", "memory");
    return result;
}

#elif defined(__aarch64__)

static ALWAYS_INLINE long syscall6(long n, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}

static inline long syscall_clone_into(unsigned long flags, void *stack, uint32_t *alive, void *tls,
                                      void (*entry)(void *), void *arg)
{
    register long x8 __asm__("x8") = SYS_clone;
    register long x0 __asm__("x0") = (long)flags;
    register void *x1 __asm__("x1") = stack;
    register long x2 __asm__("x2") = 0;
    register void *x3 __asm__("x3") = tls;
    register uint32_t *x4 __asm__("x4") = alive;
    register void (*x20)(void *) __asm__("x20") = entry;
    register void *x21 __asm__("x21") = arg;
    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, #0\n\t"
                     "mov x0, x21\n\t"
                     "blr x20\n\t"
                     "mov x0, #0\n\t"
                     "mov x8, %[exit]\n\t"
                     "svc #0\n\t"
                     "brk #0\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x20),
                       "r"(x21), [exit] "i"(SYS_exit)
                     : "memory", "x30");
    return x0;
}

#else
#error "ration knows x86-64 and aarch64"
#endif

static ALWAYS_INLINE bool syscall_failed(long result)
{
    return (unsigned long)result >= (unsigned long)-4095L;
}

#endif
