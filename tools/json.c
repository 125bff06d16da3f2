#include "json.h"
#include <inttypes.h>
#include <math.h>

void json_begin(struct json *json, FILE *out, bool compact)
{
    *json = (struct json){.out = out, .compact = compact};
}

static void put_text(struct json *json, const char *text)
{
    fputc('"', json->out);
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(json->out, "\\%c", *c);
        else if (*c < 0x20 || *c == '<') /* '<' so that data inside a page cannot end it */
            fprintf(json->out, "\\u%04x", *c);
        else
            fputc(*c, json->out);
    }
    fputc('"', json->out);
}

static void start_line(struct json *json)
{
    if (json->compact)
        return;
    fputc('\n', json->out);
    for (int i = 0; i < json->depth; i++)
        fputs("  ", json->out);
}

static void put_key(struct json *json, const char *key)
{
    if (json->has_element)
        fputc(',', json->out);
    if (json->depth > 0)
        start_line(json);
    json->has_element = true;
    if (key != NULL) {
        put_text(json, key);
        fputs(json->compact ? ":" : ": ", json->out);
    }
}

static void open_group(struct json *json, const char *key, char bracket)
{
    put_key(json, key);
    fputc(bracket, json->out);
    json->depth++;
    json->has_element = false;
}

static void close_group(struct json *json, char bracket)
{
    json->depth--;
    if (json->has_element)
        start_line(json);
    fputc(bracket, json->out);
    json->has_element = true;
}

void json_open_object(struct json *json, const char *key)
{
    open_group(json, key, '{');
}

void json_close_object(struct json *json)
{
    close_group(json, '}');
}

void json_open_array(struct json *json, const char *key)
{
    open_group(json, key, '[');
}

void json_close_array(struct json *json)
{
    close_group(json, ']');
}

void json_string(struct json *json, const char *key, const char *value)
{
    put_key(json, key);
    put_text(json, value);
}

void json_integer(struct json *json, const char *key, int64_t value)
{
    put_key(json, key);
    fprintf(json->out, "%" PRId64, value);
}

void json_size(struct json *json, const char *key, uint64_t value)
{
    put_key(json, key);
    fprintf(json->out, "%" PRIu64, value);
}

void json_real(struct json *json, const char *key, double value)
{
    if (!isfinite(value)) {
        json_null(json, key);
        return;
    }
    put_key(json, key);
    fprintf(json->out, "%.6g", value);
}

void json_bool(struct json *json, const char *key, bool value)
{
    put_key(json, key);
    fputs(value ? "true" : "false", json->out);
}

void json_null(struct json *json, const char *key)
{
    put_key(json, key);
    fputs("null", json->out);
}

void json_end(struct json *json)
{
    fputc('\n', json->out);
}
