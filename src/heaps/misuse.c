#include "base/atomics.h"
#include "base/fmt.h"
#include "heaps/internal.h"
#include <ration/frame.h>

static ration_misuse_fn *replaced; /* null: the default */

const char *ration_misuse_kind_name(enum ration_misuse_kind kind)
{
    static const char *const names[] = {
        [RATION_DOUBLE_FREE] = "double free",
        [RATION_INVALID_FREE] = "invalid free",
        [RATION_INTERIOR_FREE] = "interior free",
        [RATION_MISALIGNED_FREE] = "misaligned free",
        [RATION_SIZE_MISMATCH] = "size mismatch",
        [RATION_USE_AFTER_FREE] = "use after free",
        [RATION_OVERFLOW] = "overflow",
        [RATION_CORRUPT_HEAP] = "corrupt heap",
        [RATION_FORBIDDEN_ALLOCATION] = "forbidden allocation",
    };
    return (size_t)kind < sizeof names / sizeof *names ? names[kind] : "misuse";
}

static void add_headline(struct text *t, const struct ration_misuse *misuse)
{
    text_add(t, "ration: ");
    text_add(t, ration_misuse_kind_name(misuse->kind));
    text_add(t, " at ");
    text_add_hex(t, (uintptr_t)misuse->address);
    if (misuse->heap != NULL) {
        text_add(t, " in heap '");
        text_add(t, ration_heap_name(misuse->heap));
        text_add(t, "' (");
        text_add(t, ration_heap_kind(misuse->heap));
        text_add(t, ")");
    }
    if (misuse->operation != NULL) {
        text_add(t, " during ");
        text_add(t, misuse->operation);
    }
    text_add(t, "\n");
}

/* Where the call is, as addr2line wants it: the file, and the offset in it of the call itself, one
 * byte before the address of return. */
static void add_caller(struct text *t, const void *caller)
{
    struct libc_calls libc = ration_libc();
    struct libc_place place = {0};
    if (libc.dladdr == NULL || libc.dladdr(caller, &place) == 0 || place.file == NULL)
        return;
    text_add(t, "  called from ");
    if (place.symbol != NULL) {
        text_add(t, place.symbol);
        text_add(t, "+");
        text_add_hex(t, (uintptr_t)caller - (uintptr_t)place.symbol_start);
        text_add(t, ", ");
    }
    text_add(t, "source line: addr2line -e ");
    text_add(t, place.file);
    text_add(t, " ");
    text_add_hex(t, (uintptr_t)caller - 1 - (uintptr_t)place.file_start);
    text_add(t, "\n");
}

static void add_frame(struct text *t, const struct ration_misuse *misuse)
{
    text_add(t, "  ");
    text_add_unsigned(t, misuse->block_bytes);
    text_add(t, " bytes inside frame '");
    text_add(t, misuse->frame->name);
    text_add(t, "', which began at ");
    text_add(t, misuse->frame->file);
    text_add(t, ":");
    text_add_unsigned(t, misuse->frame->line);
    text_add(t, "\n");
    add_caller(t, misuse->address);
}

static void add_explanation(struct text *t, const struct ration_misuse *misuse)
{
    if (misuse->detail != NULL) {
        text_add(t, "  ");
        text_add(t, misuse->detail);
        text_add(t, "\n");
    }
    if (misuse->frame != NULL) {
        add_frame(t, misuse);
    } else if (misuse->block != NULL) {
        text_add(t, "  block ");
        text_add_hex(t, (uintptr_t)misuse->block);
        if (misuse->block_bytes != 0) {
            text_add(t, ", ");
            text_add_unsigned(t, misuse->block_bytes);
            text_add(t, " usable bytes");
        }
        text_add(t, "\n");
    }
    if (misuse->advice != NULL) {
        text_add(t, "  ");
        text_add(t, misuse->advice);
        text_add(t, "\n");
    }
}

static void compose(struct text *t, const struct ration_misuse *misuse)
{
    text_clear(t);
    add_headline(t, misuse);
    add_explanation(t, misuse);
}

size_t ration_misuse_text(const struct ration_misuse *misuse, char *text, size_t capacity)
{
    struct text t;
    compose(&t, misuse);
    if (capacity == 0)
        return 0;
    size_t n = min_size(t.used, capacity - 1);
    memcpy(text, t.chars, n);
    text[n] = '\0';
    return n;
}

static void handle_by_default(const struct ration_misuse *misuse)
{
    struct libc_calls libc = ration_libc();
    if (libc.write == NULL || libc.abort == NULL)
        __builtin_trap();
    if (ration_libc_option_is("on_error", "ignore"))
        return;
    struct text t;
    compose(&t, misuse);
    if (libc.write(2, t.chars, t.used) < 0) {
        /* Nobody can be told; the next line still ends the program. */
    }
    if (!ration_libc_option_is("on_error", "report"))
        libc.abort();
}

ration_misuse_fn *ration_misuse_handler(ration_misuse_fn *handler)
{
    ration_misuse_fn *before = atomic_exchange_full(&replaced, handler);
    return before != NULL ? before : handle_by_default;
}

void ration_misuse_report(const struct ration_misuse *misuse)
{
    ration_misuse_fn *handler =
        atomic_load_acquire(&replaced); /* pairs with ration_misuse_handler */
    if (handler == NULL)
        handler = handle_by_default;
    handler(misuse);
}

void ration_heap_report(const struct ration_heap *heap, enum ration_misuse_kind kind,
                        const void *address, const char *operation, const char *detail,
                        const void *block, size_t block_bytes)
{
    struct ration_misuse misuse = {
        .kind = kind,
        .address = address,
        .heap = heap,
        .operation = operation,
        .detail = detail,
        .block = block,
        .block_bytes = block_bytes,
        .advice = "to see who did it, run with RATION=pools=passthrough under AddressSanitizer or "
                  "valgrind",
    };
    if (heap == NULL || heap->caught == NULL)
        ration_misuse_report(&misuse);
    else if (heap->caught->detail == NULL)
        *heap->caught = misuse;
}
