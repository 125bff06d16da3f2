/* A lesson as one self-contained page: page.html of this folder, in whose middle the recorded
 * lessons of all strategies are put as JSON. */
#include "../command.h"
#include "../json.h"
#include "lesson.h"
#include <inttypes.h>
#include <string.h>

/* The page travels inside the command, so that the command is one file. */
__asm__(".section .rodata\n"
        ".global lesson_page_text\n"
        "lesson_page_text:\n"
        ".incbin \"" RATION_LESSON_PAGE "\"\n"
        ".byte 0\n"
        ".previous\n");

extern const char lesson_page_text[] __attribute__((visibility("hidden")));

static const char data_mark[] = "\"LESSON-DATA\"";

/* -1 for nowhere, which no address is. */
static void put_place(struct json *json, uint64_t place)
{
    json_integer(json, NULL, place == lesson_nowhere ? -1 : (int64_t)place);
}

static void put_events(struct json *json, const struct lesson_step *step)
{
    static const char *const names[] = {"request", "examine", "class",   "remove", "split",
                                        "take",    "fail",    "release", "merge",  "insert",
                                        "pass",    "resize",  "grow",    "shrink", "coalesce"};
    json_open_array(json, "events");
    for (size_t i = 0; i < step->n_events; i++) {
        const struct lesson_event *event = &step->events[i];
        json_open_array(json, NULL);
        json_string(json, NULL, names[event->kind]);
        json_size(json, NULL, event->list);
        put_place(json, event->block);
        put_place(json, event->other);
        json_size(json, NULL, event->bytes);
        json_close_array(json);
    }
    json_close_array(json);
}

static void put_parts(struct json *json, const struct lesson_step *step)
{
    static const char *const states[] = {"free", "live", "table", "foreign"};
    json_open_array(json, "parts");
    for (size_t i = 0; i < step->n_parts; i++) {
        const struct lesson_part *part = &step->parts[i];
        json_open_array(json, NULL);
        put_place(json, part->address);
        json_size(json, NULL, part->bytes);
        json_string(json, NULL, states[part->state]);
        json_size(json, NULL, part->id);
        json_size(json, NULL, part->requested);
        json_close_array(json);
    }
    json_close_array(json);
}

static void put_step(struct json *json, const struct lab_strategy *strategy,
                     const struct lesson_step *step)
{
    json_open_object(json, NULL);
    put_events(json, step);
    put_parts(json, step);
    json_open_array(json, "links");
    for (size_t i = 0; i < step->n_links; i++) {
        char name[24];
        lesson_list_name(strategy, step->links[i].list, name);
        json_open_array(json, NULL);
        json_size(json, NULL, step->links[i].list);
        put_place(json, step->links[i].block);
        json_string(json, NULL, name);
        json_close_array(json);
    }
    json_close_array(json);
    json_bool(json, "failed", step->failed);
    json_size(json, "heap", step->heap_bytes);
    json_size(json, "payload", step->payload_bytes);
    json_string(json, "free", step->free_text);
    json_close_object(json);
}

/* Names of the lists that any event of the lesson mentions. */
static void put_list_names(struct json *json, const struct lesson *lesson)
{
    bool is_named[512] = {false};
    json_open_object(json, "lists");
    for (size_t i = 0; i < lesson->n_steps; i++) {
        for (size_t k = 0; k < lesson->steps[i].n_events; k++) {
            const unsigned list = lesson->steps[i].events[k].list;
            char key[16], name[24];
            if (list >= sizeof is_named || is_named[list])
                continue;
            is_named[list] = true;
            snprintf(key, sizeof key, "%u", list);
            lesson_list_name(lesson->strategy, list, name);
            json_string(json, key, name);
        }
    }
    json_close_object(json);
}

static void put_lesson(struct json *json, const struct lesson *lesson)
{
    json_open_object(json, NULL);
    json_string(json, "name", lesson->strategy->name);
    json_string(json, "what", lesson->strategy->what);
    put_list_names(json, lesson);
    json_open_array(json, "steps");
    for (size_t i = 0; i < lesson->n_steps; i++)
        put_step(json, lesson->strategy, &lesson->steps[i]);
    json_close_array(json);
    json_close_object(json);
}

static void put_operations(struct json *json, const struct lesson_request *request)
{
    const struct trace *trace = request->trace;
    json_open_array(json, "operations");
    for (size_t i = 0; i < trace->n_ops && i < request->first; i++) {
        char text[64];
        lesson_op_text(&trace->ops[i], text);
        json_string(json, NULL, text);
    }
    json_close_array(json);
}

/* Strategies that cannot show their steps are named on stderr and left out; a page needs one. */
static size_t put_lessons(struct json *json, const struct lesson_request *request)
{
    size_t n_shown = 0;
    json_open_array(json, "strategies");
    for (size_t i = 0; i < request->n_strategies; i++) {
        struct lesson lesson;
        const char *message = "";
        if (lesson_record(&lesson, request->strategies[i], request, &message) != 0) {
            command_fail("sim", EXIT_USAGE, "%s is left out of the page: %s",
                         request->strategies[i]->name, message);
            continue;
        }
        put_lesson(json, &lesson);
        lesson_drop(&lesson);
        n_shown++;
    }
    json_close_array(json);
    return n_shown;
}

int lesson_write_page(const struct lesson_request *request, FILE *out)
{
    const char *mark = strstr(lesson_page_text, data_mark);
    struct json json;
    fwrite(lesson_page_text, 1, (size_t)(mark - lesson_page_text), out);
    json_begin(&json, out, true);
    json_open_object(&json, NULL);
    json_string(&json, "trace", request->trace->name);
    json_size(&json, "operations_in_trace", request->trace->n_ops);
    put_operations(&json, request);
    const size_t n_shown = put_lessons(&json, request);
    json_close_object(&json);
    fputs(mark + sizeof data_mark - 1, out);
    return n_shown > 0 ? EXIT_FINE : EXIT_USAGE;
}
