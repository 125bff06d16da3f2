/* Debug switches that people know from other allocators, honoured where they mean something here: the variables of glibc
 * (MALLOC_PERTURB_ …, GLIBC_TUNABLES=glibc.malloc.…), those of macOS (MallocScribble …), and the spellings that students of
 * the malloc exercise gave to these (MALLOC_SCRIBBLE …).
 *
 * Each sets options of conf, before the file and RATION are read: those win. Of two that set the same option the later of
 * the table wins, a variable over a tunable. What is known and has no meaning here is accepted without a word, as is every
 * value that cannot be understood: such a variable was meant for somebody else. docs/CONFIG.md lists them. */
#ifndef RATION_CONF_FAMILIAR_H
#define RATION_CONF_FAMILIAR_H

#include "base/compiler.h"

/* Reads them from an environment, ended by null. Call before conf_read, and not with raised privileges. */
void familiar_read(char **environment);

/* What MALLOC_PERTURB_=n, MALLOC_CHECK_=n and MALLOC_TRIM_THRESHOLD_=n set; mallopt() does the same. Each takes glibc's values. */
void familiar_perturb(int64_t n);
void familiar_check(int64_t n);
void familiar_trim_threshold(int64_t n);

#endif
