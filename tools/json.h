/*
 * The one JSON writer of the command. It puts commas, quotes and indentation where they belong,
 * so that a caller only says what the data is. A key is NULL for an element of an array.
 */
#ifndef RATION_TOOLS_JSON_H
#define RATION_TOOLS_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json {
    FILE *out;
    int depth;
    bool has_element; /* the open object or array has one already */
    bool compact;     /* no line breaks: for data inside a page */
};

void json_begin(struct json *json, FILE *out, bool compact);
void json_open_object(struct json *json, const char *key);
void json_close_object(struct json *json);
void json_open_array(struct json *json, const char *key);
void json_close_array(struct json *json);
void json_string(struct json *json, const char *key, const char *value);
void json_integer(struct json *json, const char *key, int64_t value);
void json_size(struct json *json, const char *key, uint64_t value);
/* Writes null for a number that JSON cannot hold (infinite, not a number). */
void json_real(struct json *json, const char *key, double value);
void json_bool(struct json *json, const char *key, bool value);
void json_null(struct json *json, const char *key);
/* Ends the document with a line feed. */
void json_end(struct json *json);

#endif
