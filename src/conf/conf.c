#include "conf/conf.h"

#include "base/fmt.h"
#include "os/os.h"

#include <string.h>

struct conf conf = {
#define CHOICE(name, standard, words, doc)             .name = (standard),
#define NUMBER(name, standard, least, most, unit, doc) .name = (standard),
#define WORDS(name, words, doc)                        .name = 0,
#include "conf/knobs.def"
#undef CHOICE
#undef NUMBER
#undef WORDS
};

enum { FILE_BYTES_MAX = 16384, PATH_MAX_CHARS = 256 };

struct knob {
    const char *name;
    const char *words; /* null: a number */
    bool is_set;       /* several words, joined by `+` */
    int least, most;
    const char *unit;
    const char *doc;
    int *value;
};

static const struct knob knobs[] = {
#define CHOICE(name, standard, words, doc) {#name, words, false, 0, 0, "", doc, &conf.name},
#define NUMBER(name, standard, least, most, unit, doc)                                             \
    {#name, NULL, false, least, most, unit, doc, &conf.name},
#define WORDS(name, words, doc) {#name, words, true, 0, 0, "", doc, &conf.name},
#include "conf/knobs.def"
#undef CHOICE
#undef NUMBER
#undef WORDS
};
enum { KNOB_COUNT = sizeof knobs / sizeof *knobs };

/* A piece of text, not terminated. */
struct piece {
    const char *chars;
    size_t n;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct piece trim(struct piece p)
{
    while (p.n > 0 && is_space(p.chars[0])) {
        p.chars++;
        p.n--;
    }
    while (p.n > 0 && is_space(p.chars[p.n - 1]))
        p.n--;
    return p;
}

static bool is_same(struct piece p, const char *word)
{
    return strlen(word) == p.n && memcmp(p.chars, word, p.n) == 0;
}

/* Cuts off the text before the first `mark` (or all of it); *rest is what follows the mark. */
static struct piece cut(struct piece from, char mark, struct piece *rest)
{
    size_t i = 0;
    while (i < from.n && from.chars[i] != mark)
        i++;
    size_t behind = i < from.n ? i + 1 : i;
    *rest = (struct piece){from.chars + behind, from.n - behind};
    return (struct piece){from.chars, i};
}

/* The place of a word among those of an option, or -1. */
static int find_word(const struct knob *k, struct piece value)
{
    struct piece rest = {k->words, strlen(k->words)};
    for (int i = 0; rest.n > 0; i++) {
        struct piece word = cut(rest, '|', &rest);
        if (word.n == value.n && memcmp(word.chars, value.chars, word.n) == 0)
            return i;
    }
    return -1;
}

static bool set_choice(const struct knob *k, struct piece value)
{
    int i = find_word(k, value);
    if (i >= 0)
        *k->value = i;
    return i >= 0;
}

static bool set_words(const struct knob *k, struct piece value)
{
    int bits = 0;
    while (value.n > 0) {
        int i = find_word(k, trim(cut(value, '+', &value)));
        if (i < 0)
            return false;
        bits |= 1 << i;
    }
    *k->value = bits;
    return true;
}

static bool set_number(const struct knob *k, struct piece value)
{
    bool negative = value.n > 0 && value.chars[0] == '-';
    size_t i = negative ? 1 : 0;
    if (i == value.n)
        return false;
    int64_t n = 0;
    for (; i < value.n; i++) {
        char c = value.chars[i];
        if (c < '0' || c > '9' || n > INT32_MAX)
            return false;
        n = n * 10 + (c - '0');
    }
    n = negative ? -n : n;
    if (n < k->least || n > k->most)
        return false;
    *k->value = (int)n;
    return true;
}

static const struct knob *find_knob(struct piece key)
{
    for (int i = 0; i < KNOB_COUNT; i++) {
        if (is_same(key, knobs[i].name))
            return &knobs[i];
    }
    return NULL;
}

static bool set(const struct knob *k, struct piece value)
{
    if (k->is_set)
        return set_words(k, value);
    return k->words != NULL ? set_choice(k, value) : set_number(k, value);
}

bool conf_set(const char *key, size_t key_chars, const char *value, size_t value_chars)
{
    const struct knob *k = find_knob((struct piece){key, key_chars});
    return k != NULL && set(k, (struct piece){value, value_chars});
}

static void add_accepted(struct text *t, const struct knob *k)
{
    if (k->words != NULL) {
        text_add(t, k->is_set ? "some of " : "one of ");
        text_add(t, k->words);
        text_add(t, k->is_set ? ", joined by +" : "");
        return;
    }
    text_add(t, "a whole number from ");
    text_add_signed(t, k->least);
    text_add(t, " to ");
    text_add_signed(t, k->most);
    text_add(t, " (");
    text_add(t, k->unit);
    text_add(t, ")");
}

/* A file that is none of settings shall not write to the terminal what it likes. */
static void add_printable(struct text *t, struct piece p)
{
    for (size_t i = 0; i < p.n; i++)
        text_add_bytes(t, p.chars[i] >= ' ' && p.chars[i] <= '~' ? &p.chars[i] : "?", 1);
}

static void complain(struct piece key, struct piece value, const struct knob *k, const char *where)
{
    struct text t;
    text_clear(&t);
    text_add(&t, "ration: ");
    text_add(&t, where);
    text_add(&t, k == NULL ? ": unknown option '" : ": option '");
    add_printable(&t, key);
    if (k == NULL) {
        text_add(&t, "' is ignored; known are:");
        for (int i = 0; i < KNOB_COUNT; i++) {
            text_add(&t, " ");
            text_add(&t, knobs[i].name);
        }
        text_add(&t, " config");
    } else {
        text_add(&t, "' cannot be '");
        add_printable(&t, value);
        text_add(&t, "', expected ");
        add_accepted(&t, k);
        text_add(&t, "; it is ignored");
    }
    text_add(&t, "\n");
    os->write_error(t.chars, t.used);
}

static void apply(struct piece setting, const char *where)
{
    struct piece value;
    struct piece key = trim(cut(setting, '=', &value));
    value = trim(value);
    if (key.n == 0 || is_same(key, "config"))
        return;
    const struct knob *k = find_knob(key);
    if (k == NULL || !set(k, value))
        complain(key, value, k, where);
}

static void apply_file(struct piece text, const char *path, const char *program)
{
    bool counts = true;
    while (text.n > 0) {
        struct piece comment;
        struct piece line = trim(cut(cut(text, '\n', &text), '#', &comment));
        if (line.n >= 2 && line.chars[0] == '[' && line.chars[line.n - 1] == ']')
            counts = is_same(trim((struct piece){line.chars + 1, line.n - 2}), program);
        else if (counts)
            apply(line, path);
    }
}

/* The file named by `config` in the setting, else the system's. */
static const char *choose_path(const char *setting, char *path)
{
    struct piece rest = {setting, setting != NULL ? strlen(setting) : 0};
    while (rest.n > 0) {
        struct piece value;
        struct piece key = trim(cut(cut(rest, ',', &rest), '=', &value));
        value = trim(value);
        if (is_same(key, "config")) {
            if (value.n >= PATH_MAX_CHARS)
                return "(its path is longer than 255 bytes)";
            memcpy(path, value.chars, value.n);
            path[value.n] = '\0';
            return path;
        }
    }
    return NULL;
}

static void read_file(const char *setting, const char *program)
{
    static char content[FILE_BYTES_MAX];
    char chosen[PATH_MAX_CHARS];
    const char *path = choose_path(setting, chosen);
    bool asked = path != NULL;
    if (!asked)
        path = "/etc/ration.conf";
    int64_t n = os->read_file(path, content, sizeof content);
    if (n >= 0) {
        apply_file((struct piece){content, (size_t)n}, path, program);
    } else if (asked) {
        struct text t;
        text_clear(&t);
        text_add(&t, "ration: RATION: cannot read the configuration file '");
        text_add(&t, path);
        text_add(&t, "'; going on without it\n");
        os->write_error(t.chars, t.used);
    }
}

void conf_read(const char *setting, const char *program)
{
    read_file(setting, program);
    struct piece rest = {setting, setting != NULL ? strlen(setting) : 0};
    while (rest.n > 0)
        apply(cut(rest, ',', &rest), "RATION");
}

/* The words that an option has now. */
static void add_words(struct text *t, const struct knob *k)
{
    struct piece rest = {k->words, strlen(k->words)};
    const char *joint = "";
    for (int i = 0; rest.n > 0; i++) {
        struct piece word = cut(rest, '|', &rest);
        if (k->is_set ? (*k->value >> i & 1) == 0 : *k->value != i)
            continue;
        text_add(t, joint);
        text_add_bytes(t, word.chars, word.n);
        joint = "+";
    }
}

void conf_visit(void (*visit)(const char *name, const char *value, const char *doc, void *arg),
                void *arg)
{
    for (int i = 0; i < KNOB_COUNT; i++) {
        const struct knob *k = &knobs[i];
        struct text t;
        text_clear(&t);
        if (k->words == NULL) {
            text_add_signed(&t, *k->value);
        } else {
            add_words(&t, k);
        }
        text_add_bytes(&t, "", 1);
        visit(k->name, t.chars, k->doc, arg);
    }
}
