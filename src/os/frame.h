/* How a function's frame lies on the stack, per machine: what a walk over return addresses needs to know. */
#ifndef RATION_OS_FRAME_H
#define RATION_OS_FRAME_H

#include "base/compiler.h"

/* The frame pointer's number in the unwinder's count of registers. A record of two words lies where it points: the
 * caller's frame pointer, the return address. FRAME_RETURN_IS_PUSHED: a call pushes the return address, so it lies
 * right below the caller's stack pointer. */
#if defined(__x86_64__)
enum { FRAME_POINTER_REGISTER = 6, FRAME_RETURN_IS_PUSHED = 1 };
#elif defined(__aarch64__)
enum { FRAME_POINTER_REGISTER = 29, FRAME_RETURN_IS_PUSHED = 0 };
#else
#error "ration knows x86-64 and aarch64"
#endif

/* The return address that a word of the stack stands for. On aarch64 a function may keep it signed, in bits that no address
 * has; the instruction that takes the signature off does nothing where the processor knows of none. */
static ALWAYS_INLINE uintptr_t frame_return_address(uintptr_t word)
{
#if defined(__aarch64__)
    register uintptr_t x30 __asm__("x30") = word;
    __asm__("hint #7 /* xpaclri */" : "+r"(x30));
    return x30;
#else
    return word;
#endif
}

/* The end of the stack that holds `sp`, or 0 if that is none that the C library made. It keeps a thread's descriptor, which
 * the thread pointer names, at the end of the thread's stack. `first`: where the first thread's stack ends. */
static inline uintptr_t frame_stack_end(uintptr_t sp, uintptr_t first)
{
    enum { MOST_BYTES = 128 << 20 }; /* the kernel leaves at least as much below the first stack */
    uintptr_t thread = (uintptr_t)__builtin_thread_pointer();
    if (first - sp < MOST_BYTES)
        return first;
    return thread - sp < MOST_BYTES ? thread : 0;
}

#endif
