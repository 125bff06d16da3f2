/* Filling blocks with a byte, so that a program that reads what it never wrote, or what it freed, shows it
 * (fill_new, fill_freed; MALLOC_PERTURB_, MallocScribble and their like).
 *
 * It listens to events (core/events.h), so the fast paths are closed while it is on, and cost nothing while it is off.
 *
 *   new    the bytes that were asked for, but for calloc's; of a block that grew, those behind what it had
 *   freed  all bytes that the program might use, just before the block is freed; hardening zeroes them after that. The old
 *          place of a block that realloc moved is not filled: its memory may have another owner already.
 *
 * Blocks handed out before it began are not filled when they are freed. */
#ifndef RATION_CORE_FILL_H
#define RATION_CORE_FILL_H

#include "base/compiler.h"

/* Begins to do what conf.fill_new and conf.fill_freed say, at any time, also when they change. False if one is set and it is too
 * late: threads have begun. */
bool fill_begin(void);

#endif
