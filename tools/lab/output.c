#include "output.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

const char *lab_format_bytes(char text[16], uint64_t bytes)
{
    static const char units[] = " KMGTP";
    double value = (double)bytes;
    int unit = 0;
    while (value >= 1024 && unit < 5) {
        value /= 1024;
        unit++;
    }
    if (unit == 0)
        snprintf(text, 16, "%" PRIu64, bytes);
    else
        snprintf(text, 16, "%.1f %c", value, units[unit]);
    return text;
}

static double share(uint64_t part, uint64_t whole)
{
    return whole > 0 ? 100.0 * (double)part / (double)whole : 0;
}

/* A request that was not served is not in the heap, but the ceiling counts it. */
static bool has_ceiling(const struct lab_result *result)
{
    return result->ceiling_heap > 0 && result->peak_heap > 0 && result->n_failures == 0 &&
           result->outcome == LAB_DONE;
}

/* Utilisation as a share of what this header size allows; 0 when that is not known. */
static double of_ceiling(const struct lab_result *result)
{
    return has_ceiling(result) ? 100.0 * (double)result->ceiling_heap / (double)result->peak_heap
                               : 0;
}

static const char *outcome_name(enum lab_outcome outcome)
{
    static const char *const names[] = {"done", "slow", "skipped", "wrong"};
    return names[outcome];
}

/* ---- table ------------------------------------------------------------------------------- */

static void put_trace(FILE *out, const struct trace *trace)
{
    char peak[16];
    fprintf(out,
            "%s: %zu operations, %zu ids, at most %zu live, peak payload %s (%" PRIu64 " bytes)\n",
            trace->name, trace->n_ops, trace->n_ids, trace->peak_live,
            lab_format_bytes(peak, trace->peak_payload), trace->peak_payload);
    if (trace->n_threads > 1)
        fprintf(out, "  %u threads recorded; replayed in the order of the file by one\n",
                trace->n_threads);
    if (trace->notes.n_missing_sizes > 0)
        fprintf(out, "  tolerated: %zu allocations without a size took the one before\n",
                trace->notes.n_missing_sizes);
    if (trace->notes.n_carriage_returns > 0)
        fprintf(out, "  tolerated: %zu lines end in CR\n", trace->notes.n_carriage_returns);
    if (trace->notes.n_ops_off != 0)
        fprintf(out, "  tolerated: %+ld operations against the header\n", trace->notes.n_ops_off);
}

static void put_head(FILE *out)
{
    fprintf(out, "\n%-15s %7s %7s %7s %7s %7s %7s %9s %9s %15s %15s %8s %6s\n", "", "util",
            "of ceil", "mean", "intern", "overh", "extern", "largest", "peak", "steps/malloc",
            "steps/free", "ns/op", "calls");
    fprintf(out, "%-15s %7s %7s %7s %7s %7s %7s %9s %9s %15s %15s %8s %6s\n", "strategy", "%", "%",
            "%", "%", "%", "%", "free", "heap", "mean max", "mean max", "", "");
}

static void put_percent(FILE *out, double value, bool known)
{
    if (known)
        fprintf(out, " %7.1f", value);
    else
        fprintf(out, " %7s", "-");
}

static void put_steps(FILE *out, const struct lab_result *result, double mean, uint64_t most)
{
    char text[40];
    if (result->has_steps)
        snprintf(text, sizeof text, "%.1f %" PRIu64, mean, most);
    else
        snprintf(text, sizeof text, "- -");
    fprintf(out, " %15s", text);
}

static void put_row(FILE *out, const struct lab_result *result)
{
    char text[16];
    const struct lab_moment *moment = &result->at_peak;
    const bool known = result->has_moments;
    fprintf(out, "%-15s", result->strategy->name);
    if (result->outcome == LAB_SKIPPED || result->outcome == LAB_WRONG) {
        fprintf(out, " %s: %s\n", outcome_name(result->outcome), result->text);
        return;
    }
    put_percent(out, 100 * lab_utilisation(result), result->peak_heap > 0);
    put_percent(out, of_ceiling(result), has_ceiling(result));
    put_percent(out, 100 * result->mean_utilisation, result->mean_utilisation > 0);
    put_percent(out, share(moment->slack, moment->heap_bytes), known);
    put_percent(out, share(moment->overhead, moment->heap_bytes), known);
    put_percent(out, share(moment->free_bytes, moment->heap_bytes), known);
    fprintf(out, " %9s", known ? lab_format_bytes(text, result->at_end.largest_free) : "-");
    fprintf(out, " %9s", result->peak_heap > 0 ? lab_format_bytes(text, result->peak_heap) : "-");
    put_steps(out, result, result->alloc_steps_mean, result->alloc_steps_max);
    put_steps(out, result, result->free_steps_mean, result->free_steps_max);
    if (result->ns_per_op > 0)
        fprintf(out, " %8.1f", result->ns_per_op);
    else
        fprintf(out, " %8s", "-");
    if (known)
        fprintf(out, " %6" PRIu64 "\n", result->n_system_calls);
    else
        fprintf(out, " %6s\n", "-");
}

static void put_remarks(FILE *out, const struct lab_result *result)
{
    if (result->outcome == LAB_SLOW)
        fprintf(out, "  %s: %s\n", result->strategy->name, result->text);
    if (result->n_failures > 0)
        fprintf(out, "  %s: %" PRIu64 " request%s not served; first: %s\n", result->strategy->name,
                result->n_failures, result->n_failures == 1 ? "" : "s",
                result->failure[0] != '\0' ? result->failure : "(no detail from a process)");
    if (result->strategy->is_process && result->outcome == LAB_DONE)
        fprintf(out, "  %s: peak heap is %s%s\n", result->strategy->name, result->accounting,
                result->peak_heap > 0 ? ""
                                      : "; not known here: no page became resident, or blocks "
                                        "above 256 MiB stayed untouched");
}

void output_table(FILE *out, const struct trace *trace, const struct lab_result *results, size_t n)
{
    put_trace(out, trace);
    put_head(out);
    for (size_t i = 0; i < n; i++)
        put_row(out, &results[i]);
    fputs("\nutil: peak payload / peak heap. of ceil: util against the best that this header size "
          "allows. mean: over all\noperations. intern, overh, extern: parts of the heap at the "
          "payload's peak. largest free: at the end. Every\nrun was verified. ns/op has no "
          "verification in it.\n",
          out);
    for (size_t i = 0; i < n; i++)
        put_remarks(out, &results[i]);
}

/* ---- JSON -------------------------------------------------------------------------------- */

static void json_moment(struct json *json, const char *key, const struct lab_moment *moment)
{
    json_open_object(json, key);
    json_size(json, "heap_bytes", moment->heap_bytes);
    json_size(json, "payload_bytes", moment->payload);
    json_size(json, "internal_bytes", moment->slack);
    json_size(json, "overhead_bytes", moment->overhead);
    json_size(json, "free_bytes", moment->free_bytes);
    json_size(json, "free_blocks", moment->n_free);
    json_size(json, "largest_free_bytes", moment->largest_free);
    json_real(json, "external_fragmentation",
              moment->free_bytes > 0 ? 1 - (double)moment->largest_free / (double)moment->free_bytes
                                     : 0);
    json_close_object(json);
}

static void json_steps(struct json *json, const struct lab_result *result)
{
    json_open_object(json, "steps");
    json_real(json, "per_malloc_mean", result->alloc_steps_mean);
    json_size(json, "per_malloc_max", result->alloc_steps_max);
    json_real(json, "per_free_mean", result->free_steps_mean);
    json_size(json, "per_free_max", result->free_steps_max);
    json_close_object(json);
}

static void json_samples(struct json *json, const struct lab_result *result)
{
    json_open_array(json, "heap_over_time");
    for (size_t i = 0; i < result->n_samples; i++) {
        json_open_object(json, NULL);
        json_size(json, "operations", result->samples[i].op);
        json_size(json, "payload_bytes", result->samples[i].payload);
        json_size(json, "heap_bytes", result->samples[i].heap);
        json_close_object(json);
    }
    json_close_array(json);
}

static void json_figures(struct json *json, const struct lab_result *result)
{
    const struct lab_moment *moment = &result->at_peak;
    json_real(json, "utilisation", result->peak_heap > 0 ? lab_utilisation(result) : (double)NAN);
    json_real(json, "utilisation_mean",
              result->mean_utilisation > 0 ? result->mean_utilisation : (double)NAN);
    if (has_ceiling(result))
        json_real(json, "share_of_ceiling", of_ceiling(result) / 100);
    json_size(json, "peak_payload_bytes", result->peak_payload);
    json_size(json, "peak_heap_bytes", result->peak_heap);
    if (result->has_moments) {
        json_real(json, "internal_share", share(moment->slack, moment->heap_bytes) / 100);
        json_real(json, "overhead_share", share(moment->overhead, moment->heap_bytes) / 100);
        json_real(json, "external_share", share(moment->free_bytes, moment->heap_bytes) / 100);
        json_size(json, "largest_free_bytes", result->at_end.largest_free);
        json_moment(json, "at_peak", moment);
        json_moment(json, "at_end", &result->at_end);
        json_size(json, "splits", result->n_splits);
        json_size(json, "merges", result->n_merges);
        json_size(json, "simulated_system_calls", result->n_system_calls);
    }
    if (result->has_steps)
        json_steps(json, result);
    if (result->ns_per_op > 0) {
        json_open_object(json, "nanoseconds");
        json_real(json, "per_operation", result->ns_per_op);
        if (result->ns_per_alloc > 0)
            json_real(json, "per_malloc", result->ns_per_alloc);
        if (result->ns_per_free > 0)
            json_real(json, "per_free", result->ns_per_free);
        json_close_object(json);
    }
    json_samples(json, result);
}

static void json_result(struct json *json, const struct lab_result *result)
{
    json_open_object(json, NULL);
    json_string(json, "strategy", result->strategy->name);
    json_string(json, "outcome", outcome_name(result->outcome));
    if (result->outcome != LAB_DONE)
        json_string(json, "reason", result->text);
    if (result->outcome == LAB_DONE || result->outcome == LAB_SLOW) {
        json_string(json, "heap_size_by", result->accounting);
        json_size(json, "operations", result->n_ops);
        json_size(json, "failures", result->n_failures);
        if (result->failure[0] != '\0')
            json_string(json, "first_failure", result->failure);
        json_figures(json, result);
    }
    json_close_object(json);
}

void output_json(struct json *json, const struct trace *trace, const struct lab_result *results,
                 size_t n)
{
    json_open_object(json, NULL);
    json_string(json, "trace", trace->name);
    json_size(json, "operations", trace->n_ops);
    json_size(json, "ids", trace->n_ids);
    json_size(json, "threads", trace->n_threads);
    json_size(json, "weight", (uint64_t)trace->weight);
    json_size(json, "peak_payload_bytes", trace->peak_payload);
    json_size(json, "peak_live_blocks", trace->peak_live);
    json_size(json, "tolerated_missing_sizes", trace->notes.n_missing_sizes);
    json_size(json, "tolerated_carriage_returns", trace->notes.n_carriage_returns);
    json_integer(json, "operations_against_header", trace->notes.n_ops_off);
    json_open_array(json, "strategies");
    for (size_t i = 0; i < n; i++)
        json_result(json, &results[i]);
    json_close_array(json);
    json_close_object(json);
}

/* ---- CSV --------------------------------------------------------------------------------- */

static void put_quoted(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"')
            fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

void output_csv(FILE *out, const struct trace *trace, const struct lab_result *results, size_t n,
                bool has_header)
{
    if (has_header)
        fputs("trace,strategy,outcome,operations,failures,utilisation,share_of_ceiling,"
              "utilisation_mean,peak_payload_bytes,peak_heap_bytes,internal_share,overhead_share,"
              "external_share,largest_free_bytes,steps_malloc_mean,steps_malloc_max,"
              "steps_free_mean,steps_free_max,ns_per_operation,ns_per_malloc,ns_per_free\n",
              out);
    for (size_t i = 0; i < n; i++) {
        const struct lab_result *r = &results[i];
        const struct lab_moment *moment = &r->at_peak;
        put_quoted(out, trace->name);
        fprintf(out,
                ",%s,%s,%" PRIu64 ",%" PRIu64 ",%.6f,%.6f,%.6f,%" PRIu64 ",%" PRIu64
                ",%.6f,%.6f,%.6f,%" PRIu64 ",%.3f,%" PRIu64 ",%.3f,%" PRIu64 ",%.2f,%.2f,%.2f\n",
                r->strategy->name, outcome_name(r->outcome), r->n_ops, r->n_failures,
                lab_utilisation(r), of_ceiling(r) / 100, r->mean_utilisation, r->peak_payload,
                r->peak_heap, share(moment->slack, moment->heap_bytes) / 100,
                share(moment->overhead, moment->heap_bytes) / 100,
                share(moment->free_bytes, moment->heap_bytes) / 100, r->at_end.largest_free,
                r->alloc_steps_mean, r->alloc_steps_max, r->free_steps_mean, r->free_steps_max,
                r->ns_per_op, r->ns_per_alloc, r->ns_per_free);
    }
}

/* ---- the course's table ------------------------------------------------------------------- */

static void put_cell(FILE *out, const char *text, int width, bool is_last)
{
    fprintf(out, "| %-*s %s", width, text, is_last ? "|\n" : "");
}

static void put_course_row(FILE *out, const struct lab_result *result, const char *structure)
{
    char cells[4][3][80] = {{""}};
    const struct lab_moment *peak = &result->at_peak;
    snprintf(cells[0][0], 80, "%s", structure);
    snprintf(cells[1][0], 80, "inside %.1f %%, between %.1f %%",
             share(peak->slack, peak->heap_bytes), share(peak->free_bytes, peak->heap_bytes));
    snprintf(cells[2][0], 80, "utilisation %.1f %%", 100 * lab_utilisation(result));
    snprintf(cells[0][1], 80, "%.1f steps", result->alloc_steps_mean);
    snprintf(cells[1][1], 80, "%" PRIu64 " at most", result->alloc_steps_max);
    snprintf(cells[2][1], 80, "%.0f ns", result->ns_per_alloc);
    snprintf(cells[0][2], 80, "%.1f steps", result->free_steps_mean);
    snprintf(cells[1][2], 80, "%" PRIu64 " at most", result->free_steps_max);
    snprintf(cells[2][2], 80, "%.0f ns", result->ns_per_free);
    for (int line = 0; line < 3; line++) {
        put_cell(out, line == 0 ? result->strategy->name : "", 8, false);
        put_cell(out, cells[line][0], 38, false);
        put_cell(out, cells[line][1], 18, false);
        put_cell(out, cells[line][2], 18, true);
    }
}

static void put_rule(FILE *out)
{
    static const int widths[] = {8, 38, 18, 18};
    for (int column = 0; column < 4; column++) {
        fputc('+', out);
        for (int i = 0; i < widths[column] + 2; i++)
            fputc('-', out);
    }
    fputs("+\n", out);
}

void output_course(FILE *out, const struct trace *trace, const struct lab_result *results)
{
    static const char *const structures[] = {"one list of (start, length)",
                                             "a list per power of two, no split",
                                             "a list per power of two, halves merge"};
    put_trace(out, trace);
    put_rule(out);
    put_cell(out, "", 8, false);
    put_cell(out, "data structure and fragmentation", 38, false);
    put_cell(out, "allocation", 18, false);
    put_cell(out, "release", 18, true);
    put_rule(out);
    for (int i = 0; i < 3; i++) {
        if (results[i].outcome == LAB_DONE)
            put_course_row(out, &results[i], structures[i]);
        else
            fprintf(out, "| %s: %s: %s\n", results[i].strategy->name,
                    outcome_name(results[i].outcome), results[i].text);
        put_rule(out);
    }
    fputs("inside: unused bytes of live blocks; between: free blocks; both as parts of the heap at "
          "the payload's peak\n",
          out);
}
