/* The heaps that a program published (registry.h): their names and figures, read as they are, in
 * this process or another one. */
#ifndef RATION_INSPECT_NAMED_H
#define RATION_INSPECT_NAMED_H

#include "inspect/view.h"
#include "inspect/writer.h"
#include <ration/stats.h>

/* Fills stats->heaps and stats->n_heaps. */
void named_read(const struct view *v, struct ration_stats *stats);

/* Their section in the three formats. Text: nothing if there are none. */
void named_write_text(struct writer *w, const struct ration_stats *stats);
void named_write_json(struct writer *w, const struct ration_stats *stats);
void named_write_openmetrics(struct writer *w, const struct ration_stats *stats);

#endif
