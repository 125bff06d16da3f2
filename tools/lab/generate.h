/* Patterns of allocation that the literature and the courses use, made here by short programs
 * instead of being shipped as files. The same name and seed give the same trace, everywhere. */
#ifndef RATION_LAB_GENERATE_H
#define RATION_LAB_GENERATE_H

#include "trace.h"

struct generator;

/* The generators in a fixed order; NULL behind the last one. */
const struct generator *generator_at(size_t index);
const struct generator *generator_find(const char *name);
const char *generator_name(const struct generator *generator);
const char *generator_what(const struct generator *generator);

/* Fills `trace`, which need not be started; trace_drop is owed. */
void generator_run(const struct generator *generator, uint64_t seed, struct trace *trace);

#endif
