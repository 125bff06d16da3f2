#include "core/foreign.h"

#include "area/window.h"
#include "base/bits.h"
#include "base/chars.h"
#include "os/os.h"

#define SMALL_NUMBERS 65536

static bool is_named(const struct os_mapping *m, const char *name)
{
    return chars_are(m->name, name);
}

static bool has_file(const struct os_mapping *m)
{
    return m->name[0] == '/';
}

static bool is_anonymous(const struct os_mapping *m)
{
    return m->name[0] == '\0' || chars_behind(m->name, "[anon") != NULL;
}

/* A mapping without access right below is how stacks of threads are guarded. */
static bool looks_like_a_stack(const struct os_mapping *m, const struct os_mapping *before)
{
    return is_anonymous(m) && m->access[1] == 'w' && before->end == m->start &&
           before->name[0] == '\0' && chars_behind(before->access, "---") != NULL;
}

static const char *section_of(const struct os_mapping *m)
{
    if (m->access[2] == 'x')
        return "the code of ";
    return m->access[1] == 'w' ? "a variable of " : "the constant data of ";
}

static bool is_in(const struct os_mapping *m, uintptr_t address)
{
    return address >= m->start && address < m->end;
}

/* What a mapping is to the program; *file: the name to add, or null. */
static const char *role_of(const struct os_mapping *m, const struct os_mapping *before,
                           const char **file)
{
    *file = NULL;
    if (is_in(m, (uintptr_t)__builtin_frame_address(0)))
        return "the stack of the calling thread";
    if (is_named(m, "[stack]"))
        return "the stack of the main thread";
    if (is_named(m, "[heap]"))
        return "the brk heap, which another allocator uses";
    if (has_file(m)) {
        *file = m->name;
        return m->access[3] == 's' ? "a shared mapping of the file " : section_of(m);
    }
    if (m->name[0] != '\0' && !is_anonymous(m)) {
        *file = m->name;
        return "the kernel's mapping ";
    }
    /* zero-initialised variables lie behind the file's last mapping */
    if (has_file(before) && before->end == m->start && before->access[1] == 'w') {
        *file = before->name;
        return "a variable of ";
    }
    return looks_like_a_stack(m, before)
               ? "the stack of another thread, by its guard page"
               : "a mapping of the program without a file, or of another allocator";
}

static void add_mapping(struct text *t, const struct os_mapping *m, const struct os_mapping *before)
{
    const char *file;
    text_add(t, "  it lies in ");
    text_add(t, role_of(m, before, &file));
    if (file != NULL)
        text_add(t, file);
    text_add(t, " (");
    text_add_hex(t, m->start);
    text_add(t, " to ");
    text_add_hex(t, m->end);
    text_add(t, ", ");
    text_add(t, m->access);
    text_add(t, ")\n");
}

static bool is_ours(uintptr_t address)
{
    return window_is_open() && address - window.base < window.unit_limit << UNIT_SHIFT;
}

void foreign_describe(struct text *t, uintptr_t address)
{
    struct os_mapping m;
    struct os_mapping before;
    if (address < SMALL_NUMBERS)
        text_add(t, "  that is a small number, no address\n");
    else if (address >= ADDRESS_END)
        text_add(t, "  no program has such addresses: the pointer was never valid, or was "
                    "overwritten\n");
    else if (is_ours(address))
        text_add(t, "  it lies where libration places blocks, but none was ever there\n");
    else if (os->mapping_find(address, &m, &before))
        add_mapping(t, &m, &before);
    else
        text_add(t, "  nothing is mapped there, as far as the system tells\n");
}
