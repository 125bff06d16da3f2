#define _GNU_SOURCE
#include "callers/callers.h"

#include "base/atomics.h"
#include "base/bits.h"
#include "callers/rules.h"
#include "os/frame.h"
#include "os/loader.h"

#include <sys/auxv.h>
#include <unwind.h>

enum { CHECK_EACH = 1024 };

/* Named so that static programs have them; null in libration.so (src/CMakeLists.txt), where they are looked up when needed. */
extern _Unwind_Reason_Code _Unwind_Backtrace(_Unwind_Trace_Fn step, void *arg)
    __attribute__((weak));
extern _Unwind_Ptr _Unwind_GetIPInfo(struct _Unwind_Context *context, int *is_exact)
    __attribute__((weak));
extern _Unwind_Word _Unwind_GetCFA(struct _Unwind_Context *context) __attribute__((weak));
extern _Unwind_Word _Unwind_GetGR(struct _Unwind_Context *context, int reg) __attribute__((weak));

extern void *__libc_stack_end __attribute__((weak));

static struct {
    _Unwind_Reason_Code (*walk)(_Unwind_Trace_Fn step, void *arg);
    _Unwind_Ptr (*ip)(struct _Unwind_Context *context, int *is_exact);
    _Unwind_Word (*cfa)(struct _Unwind_Context *context);
    _Unwind_Word (*reg)(struct _Unwind_Context *context, int reg);
} unwinder;

/* Set by the linker: the first byte of this library, or of the program that it is linked into. */
extern const ElfW(Ehdr) __ehdr_start HIDDEN;

static struct own_addresses own;
static uintptr_t first_stack_end; /* 0: not known */
static bool is_ready;
struct callers_counts callers_counts;
static THREAD_LOCAL uint32_t walks;

/* A walk by the unwinder. */
struct asking {
    uintptr_t start_ip;
    struct frame last;
    uintptr_t *callers;
    unsigned n, max;
    bool begun;    /* past the frames of the walk itself */
    bool is_exact; /* last.ip is no return address, but where a signal struck */
};

static bool is_own(uintptr_t ip)
{
    return ip - own.start < own.bytes;
}

/* In a frame's context the unwinder's CFA is that of the frame it called: its own stack pointer. */
static _Unwind_Reason_Code step(struct _Unwind_Context *context, void *arg)
{
    struct asking *a = arg;
    int is_exact = 0;
    struct frame now = {.ip = unwinder.ip(context, &is_exact),
                        .sp = unwinder.cfa(context),
                        .bp = unwinder.reg(context, FRAME_POINTER_REGISTER)};
    if (!a->begun && now.ip != a->start_ip)
        return _URC_NO_REASON;
    if (a->begun && a->is_exact)
        rules_set(a->last.ip, RULE_ASK);
    else if (a->begun && now.ip == 0)
        rules_set(a->last.ip, RULE_END);
    else if (a->begun)
        rules_learn(&a->last, &now);
    a->begun = true;
    a->is_exact = is_exact != 0;
    a->last = now;
    if (now.ip != 0 && !is_own(now.ip))
        a->callers[a->n++] = now.ip;
    return now.ip == 0 || a->n == a->max ? _URC_END_OF_STACK : _URC_NO_REASON;
}

static NOINLINE unsigned ask(uintptr_t start_ip, uintptr_t *callers, unsigned max)
{
    struct asking a = {.start_ip = start_ip, .callers = callers, .max = max};
    unwinder.walk(step, &a);
    return a.n;
}

static COLD void check(uintptr_t start_ip, const uintptr_t *callers, unsigned n, unsigned max)
{
    uintptr_t asked[CALLERS_MAX];
    unsigned n_asked = ask(start_ip, asked, max);
    bool same = n == n_asked;
    for (unsigned i = 0; same && i < n; i++)
        same = callers[i] == asked[i];
    callers_counts.checked++;
    callers_counts.wrong += !same;
}

NOINLINE unsigned callers_take(uintptr_t *callers, unsigned max)
{
    unsigned n = 0;
    if (!is_ready || max == 0)
        return 0;
    const uintptr_t *frame = __builtin_frame_address(0);
    struct frame start = {
        .ip = frame_return_address(frame[1]), .sp = (uintptr_t)(frame + 2), .bp = frame[0]};
    uintptr_t stack_end = frame_stack_end(start.sp, first_stack_end);
    if (stack_end == 0 || !rules_walk(start, stack_end, &own, callers, max, &n)) {
        callers_counts.asked++;
        return ask(start.ip, callers, max);
    }
    callers_counts.quick++;
    if (UNLIKELY(++walks % CHECK_EACH == 0))
        check(start.ip, callers, n, max);
    return n;
}

static bool has_unwinder(void)
{
    return unwinder.walk != NULL && unwinder.ip != NULL && unwinder.cfa != NULL &&
           unwinder.reg != NULL;
}

static bool find_linked(void)
{
    unwinder.walk = _Unwind_Backtrace;
    unwinder.ip = _Unwind_GetIPInfo;
    unwinder.cfa = _Unwind_GetCFA;
    unwinder.reg = _Unwind_GetGR;
    return has_unwinder();
}

/* In a library, or, without one, in all that is loaded for all to see. */
static bool find_in(void *library)
{
    unwinder.walk =
        (_Unwind_Reason_Code(*)(_Unwind_Trace_Fn, void *))dlsym(library, "_Unwind_Backtrace");
    unwinder.ip =
        (_Unwind_Ptr(*)(struct _Unwind_Context *, int *))dlsym(library, "_Unwind_GetIPInfo");
    unwinder.cfa = (_Unwind_Word(*)(struct _Unwind_Context *))dlsym(library, "_Unwind_GetCFA");
    unwinder.reg = (_Unwind_Word(*)(struct _Unwind_Context *, int))dlsym(library, "_Unwind_GetGR");
    return has_unwinder();
}

/* dlopen is looked up by name, because the mention of it would make every static link print a warning. */
static bool load_unwinder(void)
{
    if (dlsym == NULL)
        return false;
    if (find_in(RTLD_DEFAULT))
        return true;
    void *(*open_library)(const char *name, int flags) =
        (void *(*)(const char *, int))loader_name("dlopen");
    void *library = open_library != NULL ? open_library("libgcc_s.so.1", RTLD_LAZY) : NULL;
    return library != NULL && find_in(library);
}

/* Of this library, whose addresses count from 0 in its file. */
static size_t own_bytes(void)
{
    const ElfW(Phdr) *header =
        (const ElfW(Phdr) *)((uintptr_t)&__ehdr_start + __ehdr_start.e_phoff);
    size_t bytes = 0;
    for (int i = 0; i < __ehdr_start.e_phnum; i++) {
        if (header[i].p_type == PT_LOAD)
            bytes = max_size(bytes, header[i].p_vaddr + header[i].p_memsz);
    }
    return bytes;
}

/* Linked into the program, the library's addresses lie among the program's. */
static void find_own_addresses(void)
{
    uintptr_t start = (uintptr_t)&__ehdr_start;
    if (getauxval(AT_PHDR) - start >= own_bytes())
        own = (struct own_addresses){start, own_bytes()};
}

static void find_first_stack(void)
{
    void *const *end = &__libc_stack_end;
    if (end == NULL)
        end = loader_name("__libc_stack_end");
    first_stack_end = end != NULL ? (uintptr_t)*end : 0;
}

bool callers_begin(void)
{
    uintptr_t callers[1];
    if (is_ready)
        return true;
    if (!(find_linked() || load_unwinder()) || !rules_begin())
        return false;
    find_own_addresses();
    find_first_stack();
    ask(0, callers, 1);
    is_ready = true;
    return true;
}
