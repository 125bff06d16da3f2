/* How results of the lab are shown. Every function writes all results of one trace. */
#ifndef RATION_LAB_OUTPUT_H
#define RATION_LAB_OUTPUT_H

#include "../json.h"
#include "replay.h"

/* Bytes for people: "617", "12.4 K", "3.1 M" with 1024 as the step. Returns `text`. */
const char *lab_format_bytes(char text[16], uint64_t bytes);

void output_table(FILE *out, const struct trace *trace, const struct lab_result *results, size_t n);
void output_json(struct json *json, const struct trace *trace, const struct lab_result *results,
                 size_t n);
/* One line a strategy; the header line comes first when `has_header`. */
void output_csv(FILE *out, const struct trace *trace, const struct lab_result *results, size_t n,
                bool has_header);

/* The course's table: naive, buckets and buddy against its three dimensions. `results` are those
 * three in that order. */
void output_course(FILE *out, const struct trace *trace, const struct lab_result *results);

/* Heap size over time, a panel for each trace. `results` holds n for each trace in turn. */
void output_svg(FILE *out, const struct trace *traces, size_t n_traces,
                const struct lab_result *results, size_t n);

#endif
