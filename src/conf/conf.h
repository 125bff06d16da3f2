/* Options: RATION=key=value,key=value in the environment, and the same in a configuration file.
 *
 * The file is /etc/ration.conf, or the one named by the key `config`. It holds key = value lines; lines behind a
 * [program] heading count for the program of that file name only. The environment wins over the file. A process with
 * raised privileges (AT_SECURE) reads neither. What cannot be understood is named on stderr once, and ignored.
 *
 * conf is written once, by conf_read, before the program's own code runs; defaults hold until then. */
#ifndef RATION_CONF_CONF_H
#define RATION_CONF_CONF_H

#include "base/compiler.h"

enum on_error { ON_ERROR_ABORT, ON_ERROR_REPORT, ON_ERROR_IGNORE };
enum huge_pages { HUGE_PAGES_AUTO, HUGE_PAGES_NEVER };
enum deepbind { DEEPBIND_DROP, DEEPBIND_KEEP };
enum { FILL_NOT = -1 }; /* of fill_new and fill_freed */
enum harden { HARDEN_OFF, HARDEN_FAST, HARDEN_FULL };

struct conf {
#define CHOICE(name, standard, words, doc)             int name;
#define NUMBER(name, standard, least, most, unit, doc) int name;
#define WORDS(name, words, doc)                        int name; /* a bit for each word */
#include "conf/knobs.def"
#undef CHOICE
#undef NUMBER
#undef WORDS
};

extern struct conf conf HIDDEN;

/* Reads the file and `setting`, the value of RATION or null. `program` is the program's file name, for sections. */
void conf_read(const char *setting, const char *program);

/* Sets one option from text; false if the key or the value is unknown (nothing is reported then). */
bool conf_set(const char *key, size_t key_chars, const char *value, size_t value_chars);

/* Calls visit for each option with its value as text. */
void conf_visit(void (*visit)(const char *name, const char *value, const char *doc, void *arg),
                void *arg);

#endif
