#include "os/limit.h"

#include "base/atomics.h"
#include "base/fmt.h"
#include "os/os.h"

/* UNKNOWN -> LOOKING -> one of the others, once; `folder` is written while LOOKING. */
enum place { UNKNOWN, LOOKING, NO_LIMIT, VERSION_1, VERSION_2 };

enum { FOLDER_CHARS = 512, FILE_CHARS = 2048 };
#define UNLIMITED UINT64_MAX
/* What v1 calls no limit: the highest count of pages that the kernel can write, in bytes. */
#define V1_UNLIMITED ((uint64_t)1 << 62)

static struct {
    uint32_t place;
    struct text folder;
} group;

static bool starts_with(const char *s, const char *with)
{
    while (*with != '\0' && *s == *with) {
        s++;
        with++;
    }
    return *with == '\0';
}

static const char *find(const char *s, const char *what)
{
    while (*s != '\0' && !starts_with(s, what))
        s++;
    return *s != '\0' ? s : NULL;
}

/* The file's text, cut to n - 1 characters; false if it cannot be read. */
static bool read_text(const struct text *folder, const char *name, char *chars, size_t n)
{
    struct text path = *folder;
    text_add(&path, name);
    text_add_bytes(&path, "", 1);
    int64_t got = os->read_file(path.chars, chars, n - 1);
    chars[got > 0 ? got : 0] = '\0';
    return got > 0;
}

static uint64_t to_number(const char *s)
{
    uint64_t n = 0;
    if (*s < '0' || *s > '9')
        return UNLIMITED; /* "max" */
    for (; *s >= '0' && *s <= '9'; s++)
        n = n * 10 + (uint64_t)(*s - '0');
    return n;
}

static uint64_t read_number(const struct text *folder, const char *name)
{
    char chars[32];
    return read_text(folder, name, chars, sizeof chars) ? to_number(chars) : UNLIMITED;
}

/* Of a file of lines `key number`. */
static uint64_t read_field(const struct text *folder, const char *name, const char *key)
{
    char chars[FILE_CHARS];
    const char *at = read_text(folder, name, chars, sizeof chars) ? find(chars, key) : NULL;
    if (at == NULL)
        return 0;
    while (*at != ' ' && *at != '\0')
        at++;
    uint64_t n = *at == ' ' ? to_number(at + 1) : 0;
    return n != UNLIMITED ? n : 0;
}

static uint64_t limit_in(const struct text *folder, enum place version)
{
    if (version == VERSION_1) {
        uint64_t limit = read_number(folder, "/memory.limit_in_bytes");
        return limit < V1_UNLIMITED ? limit : UNLIMITED;
    }
    uint64_t high = read_number(folder, "/memory.high");
    uint64_t max = read_number(folder, "/memory.max");
    return high < max ? high : max;
}

static uint64_t anonymous_in(const struct text *folder, enum place version)
{
    return read_field(folder, "/memory.stat", version == VERSION_1 ? "\ntotal_rss " : "anon ");
}

/* folder := root and the path that ends the line; a path of "/" adds nothing. */
static void set_folder(struct text *folder, const char *root, const char *path)
{
    size_t n = 0;
    while (path[n] != '\n' && path[n] != '\0')
        n++;
    text_clear(folder);
    text_add(folder, root);
    if (n > 1 && n < FOLDER_CHARS)
        text_add_bytes(folder, path, n);
}

/* Cuts the last name off. False when only the root is left. */
static bool to_parent(struct text *folder, const char *root)
{
    size_t root_chars = 0;
    while (root[root_chars] != '\0')
        root_chars++;
    if (folder->used <= root_chars)
        return false;
    while (folder->chars[--folder->used] != '/') {
    }
    return true;
}

/* The group or the nearest above it that has a limit. */
static bool find_limit(const char *root, const char *path, enum place version)
{
    set_folder(&group.folder, root, path);
    do {
        if (limit_in(&group.folder, version) != UNLIMITED)
            return true;
    } while (to_parent(&group.folder, root));
    return false;
}

static enum place look(void)
{
    char lines[2048];
    int64_t got = os->read_file("/proc/self/cgroup", lines, sizeof lines - 1);
    lines[got > 0 ? got : 0] = '\0';
    const char *v1 = find(lines, ":memory:");
    if (v1 != NULL && find_limit("/sys/fs/cgroup/memory", v1 + sizeof ":memory:" - 1, VERSION_1))
        return VERSION_1;
    const char *v2 = find(lines, "0::");
    if (v2 != NULL && find_limit("/sys/fs/cgroup", v2 + sizeof "0::" - 1, VERSION_2))
        return VERSION_2;
    return NO_LIMIT;
}

bool limit_is_near(void)
{
    enum place place = (enum place)atomic_load_acquire(&group.place);
    if (place == UNKNOWN &&
        atomic_cas_acquire(&group.place, (uint32_t)UNKNOWN, (uint32_t)LOOKING)) {
        place = look();
        atomic_store_release(&group.place, (uint32_t)place);
    }
    if (place != VERSION_1 && place != VERSION_2)
        return false;
    uint64_t limit = limit_in(&group.folder, place);
    return limit != UNLIMITED && anonymous_in(&group.folder, place) > limit - limit / 8;
}

void limit_forget(void)
{
    atomic_store_release(&group.place, (uint32_t)UNKNOWN);
}
