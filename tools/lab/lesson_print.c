/* A lesson in the terminal. */
#include "../command.h"
#include "lesson.h"
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum { strip_columns = 96 };

/* Colours only for a terminal; the characters alone tell everything. */
struct printer {
    FILE *out;
    bool has_colour;
    const struct lab_strategy *strategy;
};

static const char *place_text(uint64_t place, char text[32])
{
    if (place == lesson_nowhere)
        snprintf(text, 32, "-");
    else if (place >= lesson_map_base)
        snprintf(text, 32, "map+%" PRIu64, place - lesson_map_base);
    else
        snprintf(text, 32, "@%" PRIu64, place);
    return text;
}

static void print_event(const struct printer *printer, const struct lesson_event *event,
                        uint64_t wanted)
{
    char at[32], other[32], list[24];
    FILE *out = printer->out;
    place_text(event->block, at);
    place_text(event->other, other);
    lesson_list_name(printer->strategy, event->list, list);
    switch (event->kind) {
    case RATION_EVENT_REQUEST:
        fprintf(out, "    request  needs a block of %" PRIu64 "\n", event->bytes);
        break;
    case RATION_EVENT_EXAMINE:
        fprintf(out, "    look     %-8s %" PRIu64 " bytes%s\n", at, event->bytes,
                event->bytes < wanted ? ": too small" : "");
        break;
    case RATION_EVENT_CLASS:
        fprintf(out, "    turn to  %s\n", list);
        break;
    case RATION_EVENT_REMOVE:
        fprintf(out, "    unlink   %-8s %" PRIu64 " bytes\n", at, event->bytes);
        break;
    case RATION_EVENT_SPLIT:
        fprintf(out, "    split    %-8s %" PRIu64 " bytes into %" PRIu64 " and %" PRIu64 " %s\n",
                at, event->bytes, event->other - event->block,
                event->bytes - (event->other - event->block), other);
        break;
    case RATION_EVENT_TAKE:
        fprintf(out, "    take     %-8s %" PRIu64 " bytes\n", at, event->bytes);
        break;
    case RATION_EVENT_FAIL:
        break; /* said by the step itself, with what is free */
    case RATION_EVENT_RELEASE:
        fprintf(out, "    release  %-8s %" PRIu64 " bytes\n", at, event->bytes);
        break;
    case RATION_EVENT_MERGE:
        fprintf(out, "    merge    %-8s with %s: %" PRIu64 " bytes\n", at, other, event->bytes);
        break;
    case RATION_EVENT_INSERT:
        fprintf(out, "    link     %-8s %" PRIu64 " bytes into %s%s%s\n", at, event->bytes, list,
                event->other == lesson_nowhere ? " at the front" : " behind ",
                event->other == lesson_nowhere ? "" : other);
        break;
    case RATION_EVENT_PASS:
        fprintf(out, "    pass     %-8s %" PRIu64 " bytes, on the way to the place in the list\n",
                at, event->bytes);
        break;
    case RATION_EVENT_RESIZE:
        fprintf(out, "    resize   %-8s in place to %" PRIu64 " bytes\n", at, event->bytes);
        break;
    case RATION_EVENT_GROW:
        fprintf(out, "    grow     %-8s %" PRIu64 " bytes more from the system\n", at,
                event->bytes);
        break;
    case RATION_EVENT_SHRINK:
        fprintf(out, "    shrink   %-8s %" PRIu64 " bytes back to the system\n", at, event->bytes);
        break;
    case RATION_EVENT_COALESCE:
        fprintf(out, "    coalesce all free neighbours, in one pass\n");
        break;
    }
}

/* The letter of a live block's owner. */
static char letter_of(uint32_t id)
{
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    return letters[id % (sizeof letters - 1)];
}

static char character_of(const struct lesson_part *part)
{
    switch (part->state) {
    case RATION_BLOCK_FREE:
        return '.';
    case RATION_BLOCK_LIVE:
        return letter_of(part->id);
    case RATION_BLOCK_TABLE:
        return '#';
    case RATION_BLOCK_FOREIGN:
        break;
    }
    return '?';
}

static const char *colour_of(const struct lesson_part *part)
{
    if (part->state == RATION_BLOCK_LIVE)
        return "\033[44;97m";
    return part->state == RATION_BLOCK_FREE ? "\033[100;97m" : "\033[43;30m";
}

/* Columns in proportion to bytes, at least one for each part. */
static void print_strip(const struct printer *printer, const struct lesson_step *step)
{
    uint64_t total = 0;
    for (size_t i = 0; i < step->n_parts; i++)
        total += step->parts[i].bytes;
    if (total == 0)
        return;
    fputs("    |", printer->out);
    uint64_t before = 0;
    for (size_t i = 0; i < step->n_parts; i++) {
        const struct lesson_part *part = &step->parts[i];
        const uint64_t from = before * strip_columns / total;
        before += part->bytes;
        uint64_t columns = before * strip_columns / total - from;
        columns = columns > 0 ? columns : 1;
        if (printer->has_colour)
            fputs(colour_of(part), printer->out);
        for (uint64_t k = 0; k < columns; k++)
            fputc(k == 0 && i > 0 && columns > 1 ? ' ' : character_of(part), printer->out);
        if (printer->has_colour)
            fputs("\033[0m", printer->out);
    }
    fprintf(printer->out, "| %" PRIu64 " bytes\n", total);
}

static uint64_t bytes_at(const struct lesson_step *step, uint64_t place)
{
    for (size_t i = 0; i < step->n_parts; i++)
        if (step->parts[i].address == place)
            return step->parts[i].bytes;
    return 0;
}

static void print_lists(const struct printer *printer, const struct lesson_step *step)
{
    char name[24], at[32];
    for (size_t i = 0; i < step->n_links; i++) {
        const struct lesson_link *link = &step->links[i];
        lesson_list_name(printer->strategy, link->list, name);
        const bool is_first = i == 0 || step->links[i - 1].list != link->list;
        if (is_first)
            fprintf(printer->out, "%s    %s: ", i > 0 ? "\n" : "", name);
        fprintf(printer->out, "%s%s(%" PRIu64 ")", is_first ? "" : " -> ",
                place_text(link->block, at), bytes_at(step, link->block));
    }
    if (step->n_links > 0)
        fputc('\n', printer->out);
}

static void print_step(const struct printer *printer, const struct lesson_step *step, size_t number)
{
    char text[64], at[32];
    uint64_t wanted = 0;
    lesson_op_text(step->op, text);
    fprintf(printer->out, "%3zu. %s%s%s\n", number, text,
            step->placed_at != lesson_nowhere ? "   -> " : "",
            step->placed_at != lesson_nowhere ? place_text(step->placed_at, at) : "");
    for (size_t i = 0; i < step->n_events; i++) {
        if (step->events[i].kind == RATION_EVENT_REQUEST)
            wanted = step->events[i].bytes;
        print_event(printer, &step->events[i], wanted);
    }
    print_lists(printer, step);
    print_strip(printer, step);
    if (step->failed)
        fprintf(printer->out, "FAIL %" PRIu64 " (%s)\n", step->op->size, step->free_text);
}

int lesson_print(const struct lesson_request *request, FILE *out)
{
    int status = EXIT_FINE;
    for (size_t i = 0; i < request->n_strategies; i++) {
        struct lesson lesson;
        const char *message = "";
        const struct printer printer = {
            .out = out, .has_colour = isatty(fileno(out)) == 1, .strategy = request->strategies[i]};
        if (lesson_record(&lesson, printer.strategy, request, &message) != 0) {
            status = command_fail("sim", request->n_strategies == 1 ? EXIT_USAGE : EXIT_FINE,
                                  "%s: %s", printer.strategy->name, message);
            continue;
        }
        fprintf(out, "%s%s on %s: %s\n", i > 0 ? "\n" : "", printer.strategy->name,
                request->trace->name, printer.strategy->what);
        for (size_t k = 1; k < lesson.n_steps; k++)
            print_step(&printer, &lesson.steps[k], k);
        if (lesson.n_steps <= request->trace->n_ops)
            fprintf(out, "… %zu more operations (--first)\n",
                    request->trace->n_ops - (lesson.n_steps - 1));
        lesson_drop(&lesson);
    }
    return status;
}
