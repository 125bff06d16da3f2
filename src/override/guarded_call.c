/* A frame of its own with a personality routine of its own. The unwinder asks it in the first phase (we always catch) and in
 * the second, where it goes on at the landing pad with the exception in the first return register. The two calls that end
 * the exception's life come from the C++ library that threw it, so they exist when they are needed. */
#define _GNU_SOURCE
#include "override/guarded_call.h"

#include "os/loader.h"

#include <unwind.h>

/* Named so that static programs have them; in libration.so, where each would be looked up at each start of a program, they
 * are null (src/CMakeLists.txt) and found when they are needed. */
extern void *__cxa_begin_catch(void *exception) __attribute__((weak));
extern void __cxa_end_catch(void) __attribute__((weak));
extern void _Unwind_SetGR(struct _Unwind_Context *context, int reg, _Unwind_Word value)
    __attribute__((weak));
extern void _Unwind_SetIP(struct _Unwind_Context *context, _Unwind_Ptr ip) __attribute__((weak));

static struct {
    void *(*begin_catch)(void *exception);
    void (*end_catch)(void);
    void (*set_register)(struct _Unwind_Context *context, int reg, _Unwind_Word value);
    void (*set_ip)(struct _Unwind_Context *context, _Unwind_Ptr ip);
} library;

void guarded_call_prepare(void)
{
    library.begin_catch = __cxa_begin_catch;
    library.end_catch = __cxa_end_catch;
    library.set_register = _Unwind_SetGR;
    library.set_ip = _Unwind_SetIP;
    if (library.begin_catch == NULL)
        library.begin_catch = (void *(*)(void *))loader_name("__cxa_begin_catch");
    if (library.end_catch == NULL)
        library.end_catch = (void (*)(void))loader_name("__cxa_end_catch");
    if (library.set_register == NULL)
        library.set_register =
            (void (*)(struct _Unwind_Context *, int, _Unwind_Word))loader_name("_Unwind_SetGR");
    if (library.set_ip == NULL)
        library.set_ip =
            (void (*)(struct _Unwind_Context *, _Unwind_Ptr))loader_name("_Unwind_SetIP");
}

extern char guarded_call_landing[] HIDDEN;

_Unwind_Reason_Code guarded_personality(int version, _Unwind_Action actions,
                                        _Unwind_Exception_Class kind,
                                        struct _Unwind_Exception *exception,
                                        struct _Unwind_Context *context) HIDDEN;
int guarded_end(void *exception) HIDDEN;

__attribute__((used)) _Unwind_Reason_Code guarded_personality(int version, _Unwind_Action actions,
                                                              _Unwind_Exception_Class kind,
                                                              struct _Unwind_Exception *exception,
                                                              struct _Unwind_Context *context)
{
    (void)version;
    (void)kind;
    /* A thread that is being cancelled unwinds by force and is not ours to stop. */
    if ((actions & _UA_FORCE_UNWIND) != 0)
        return _URC_CONTINUE_UNWIND;
    if ((actions & _UA_SEARCH_PHASE) != 0)
        return _URC_HANDLER_FOUND;
    if ((actions & _UA_HANDLER_FRAME) == 0 || library.set_register == NULL ||
        library.set_ip == NULL)
        return _URC_CONTINUE_UNWIND;
    library.set_register(context, __builtin_eh_return_data_regno(0),
                         (_Unwind_Word)(uintptr_t)exception);
    library.set_ip(context, (_Unwind_Ptr)guarded_call_landing);
    return _URC_INSTALL_CONTEXT;
}

__attribute__((used)) int guarded_end(void *exception)
{
    if (library.begin_catch != NULL && library.end_catch != NULL) {
        library.begin_catch(exception);
        library.end_catch();
    }
    return 1;
}

#if defined(__x86_64__)
__asm__(".text\n"
        ".globl guarded_call\n"
        ".hidden guarded_call\n"
        ".type guarded_call, @function\n"
        "guarded_call:\n"
        ".cfi_startproc\n"
        ".cfi_personality 0x1b, guarded_personality\n"
        "subq $8, %rsp\n"
        ".cfi_def_cfa_offset 16\n"
        "call *%rdi\n"
        "xorl %eax, %eax\n"
        "addq $8, %rsp\n"
        ".cfi_def_cfa_offset 8\n"
        "ret\n"
        ".globl guarded_call_landing\n"
        ".hidden guarded_call_landing\n"
        "guarded_call_landing:\n"
        ".cfi_def_cfa_offset 16\n"
        "movq %rax, %rdi\n"
        "call guarded_end\n"
        "addq $8, %rsp\n"
        ".cfi_def_cfa_offset 8\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size guarded_call, .-guarded_call\n");
#elif defined(__aarch64__)
__asm__(".text\n"
        ".globl guarded_call\n"
        ".hidden guarded_call\n"
        ".type guarded_call, %function\n"
        "guarded_call:\n"
        ".cfi_startproc\n"
        ".cfi_personality 0x1b, guarded_personality\n"
        "stp x29, x30, [sp, #-16]!\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset 29, -16\n"
        ".cfi_offset 30, -8\n"
        "blr x0\n"
        "mov w0, #0\n"
        "ldp x29, x30, [sp], #16\n"
        "ret\n"
        ".globl guarded_call_landing\n"
        ".hidden guarded_call_landing\n"
        "guarded_call_landing:\n"
        "hint #36\n" /* bti j: the unwinder jumps here */
        "bl guarded_end\n"
        "ldp x29, x30, [sp], #16\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size guarded_call, .-guarded_call\n");
#endif
