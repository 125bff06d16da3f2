#include "conf/familiar.h"

#include "base/chars.h"
#include "base/fmt.h"
#include "conf/conf.h"
#include "os/os.h"

enum {
    /* What macOS writes into freed and into new memory. */
    SCRIBBLE_FREED = 0x55,
    SCRIBBLE_NEW = 0xaa,
    NEVER = -1,
    STACK_FRAMES = 16, /* deep enough to tell who asks, cheap enough to be left on */
    ALL_CALLS = 31,    /* the words of `log` */
};

void familiar_perturb(int64_t n)
{
    int byte = (int)(n & 0xff);
    conf.fill_freed = byte != 0 ? byte : FILL_NOT;
    conf.fill_new = byte != 0 ? byte ^ 0xff : FILL_NOT;
}

/* Bit 0: a message; bit 1: the end of the program. Here the end is always told. */
void familiar_check(int64_t n)
{
    conf.on_error = (n & 2) != 0   ? ON_ERROR_ABORT
                    : (n & 1) != 0 ? ON_ERROR_REPORT
                                   : ON_ERROR_IGNORE;
}

void familiar_trim_threshold(int64_t n)
{
    if (n < 0)
        conf.purge_delay = NEVER;
}

static void scribble_freed(int64_t n)
{
    conf.fill_freed = n != 0 ? SCRIBBLE_FREED : FILL_NOT;
}

static void scribble_new(int64_t n)
{
    conf.fill_new = n != 0 ? SCRIBBLE_NEW : FILL_NOT;
}

static void guard_edges(int64_t n)
{
    if (n != 0)
        conf.harden = HARDEN_FULL;
}

static void abort_on_error(int64_t n)
{
    conf.on_error = n != 0 ? ON_ERROR_ABORT : ON_ERROR_REPORT;
}

static void log_stacks(int64_t n)
{
    conf.stacks = n != 0 ? STACK_FRAMES : 0;
}

static void log_calls(int64_t n)
{
    conf.log = n != 0 ? ALL_CALLS : 0;
}

static void help(int64_t n);

struct switch_row {
    const char *name;
    void (*set)(int64_t n);
};

/* Their names begin as has_any() asks. A switch that is set without a number (MallocScribble=YES) is on. */
static const struct switch_row variables[] = {
    {"MALLOC_TRIM_THRESHOLD_", familiar_trim_threshold},
    {"MALLOC_CHECK_", familiar_check},
    {"MALLOC_PERTURB_", familiar_perturb},
    {"MallocScribble", scribble_freed},
    {"MALLOC_SCRIBBLE", scribble_freed},
    {"MallocPreScribble", scribble_new},
    {"MALLOC_PRE_SCRIBBLE", scribble_new},
    {"MallocGuardEdges", guard_edges},
    {"MALLOC_GUARD", guard_edges},
    {"MallocErrorAbort", abort_on_error},
    {"MALLOC_ABORT_ON_ERROR", abort_on_error},
    {"MallocStackLogging", log_stacks},
    {"MallocStackLoggingNoCompact", log_stacks},
    {"MALLOC_STACK_LOGGING", log_stacks},
    {"MALLOC_VERBOSE", log_calls},
    {"MallocHelp", help},
};

static const struct switch_row tunables[] = {
    {"glibc.malloc.trim_threshold", familiar_trim_threshold},
    {"glibc.malloc.check", familiar_check},
    {"glibc.malloc.perturb", familiar_perturb},
};

static void add_name(const char *name, const char *value, const char *doc, void *text)
{
    (void)value;
    (void)doc;
    text_add(text, " ");
    text_add(text, name);
}

static void help(int64_t n)
{
    struct text t;
    if (n == 0)
        return;
    text_clear(&t);
    text_add(&t, "ration: MallocHelp: these variables are honoured:");
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        add_name(variables[i].name, NULL, NULL, &t);
    text_add(&t, "\nration: and RATION=KEY=VALUE,... with the keys");
    conf_visit(add_name, &t);
    text_add(&t, "; see ration(3)\n");
    os->write_error(t.chars, t.used);
}

static unsigned digit_of(char c)
{
    return c >= '0' && c <= '9'   ? (unsigned)(c - '0')
           : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
           : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                  : 16;
}

/* A number as strtol reads it with base 0, up to `end`; *is_number tells whether the whole text is one. Past 2^62 it stays. */
static int64_t read_number(const char *s, const char *end, bool *is_number)
{
    bool negative = s < end && *s == '-';
    s += negative;
    unsigned base = 10;
    if (end - s > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
        base = 16;
        s += 2;
    } else if (end - s > 1 && s[0] == '0') {
        base = 8;
    }
    int64_t n = 0;
    *is_number = s < end;
    for (; s < end && *is_number; s++) {
        *is_number = digit_of(*s) < base;
        if (n < INT64_MAX / 32)
            n = n * base + digit_of(*s);
    }
    return negative ? -n : n;
}

/* Behind the name and its equals sign, or null if `text` sets something else. */
static const char *value_of(const char *text, const char *name)
{
    const char *behind = chars_behind(text, name);
    return behind != NULL && *behind == '=' ? behind + 1 : NULL;
}

static void apply(const struct switch_row *row, const char *value, const char *end,
                  bool may_be_word)
{
    bool is_number;
    int64_t n = read_number(value, end, &is_number);
    if (is_number || may_be_word)
        row->set(is_number ? n : 1);
}

/* A yes is enough for the switches of macOS; glibc's want a number. */
static bool takes_word(const struct switch_row *row)
{
    return row->set != familiar_perturb && row->set != familiar_check &&
           row->set != familiar_trim_threshold;
}

static void read_tunables(const char *list)
{
    const size_t count = sizeof tunables / sizeof *tunables;
    while (*list != '\0') {
        const char *end = chars_until(list, ':');
        for (size_t i = 0; i < count; i++) {
            const char *value = value_of(list, tunables[i].name);
            if (value != NULL && value <= end)
                apply(&tunables[i], value, end, false);
        }
        list = end + (*end == ':');
    }
}

static const char *find_variable(char **environment, const char *name)
{
    for (; *environment != NULL; environment++) {
        const char *value = value_of(*environment, name);
        if (value != NULL)
            return value;
    }
    return NULL;
}

/* Whether any of them may be set, by three letters. Most programs have none, and long environments. */
static bool has_any(char **environment)
{
    for (; *environment != NULL; environment++) {
        const char *text = *environment;
        if (chars_behind(text, "MAL") != NULL || chars_behind(text, "Mal") != NULL ||
            chars_behind(text, "GLI") != NULL)
            return true;
    }
    return false;
}

void familiar_read(char **environment)
{
    if (environment == NULL || !has_any(environment))
        return;
    const char *list = find_variable(environment, "GLIBC_TUNABLES");
    if (list != NULL)
        read_tunables(list);
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *value = find_variable(environment, variables[i].name);
        if (value != NULL)
            apply(&variables[i], value, chars_until(value, '\0'), takes_word(&variables[i]));
    }
}
