#include "core/fill.h"

#include "base/chars.h"
#include "conf/conf.h"
#include "core/core.h"
#include "core/events.h"

#include <string.h>

/* What the block at hand had when realloc began: between the two events of one realloc nothing else of its thread is told. */
static THREAD_LOCAL size_t bytes_before;

static void fill_new(const struct event *event, size_t from)
{
    if (conf.fill_new != FILL_NOT && from < event->bytes)
        memset((char *)event->address + from, conf.fill_new, event->bytes - from);
}

static void fill_freed(const struct event *event)
{
    if (conf.fill_freed != FILL_NOT)
        memset((void *)event->address, conf.fill_freed,
               core_usable((void *)event->address, event->function));
}

static void tell(const struct event *event)
{
    switch (event->kind) {
    case EVENT_MALLOC:
        if (!chars_are(event->function, "calloc"))
            fill_new(event, 0);
        break;
    case EVENT_FREE:
        fill_freed(event);
        break;
    case EVENT_REALLOC_BEGIN:
        bytes_before = core_usable((void *)event->address, event->function);
        break;
    case EVENT_REALLOC_END:
        if (event->address != 0)
            fill_new(event, bytes_before);
        break;
    }
}

bool fill_begin(void)
{
    static const struct event_listener listener = {.tell = tell};
    static bool listening;
    if (!listening && (conf.fill_new != FILL_NOT || conf.fill_freed != FILL_NOT))
        listening = events_listen(&listener, 0);
    return listening || (conf.fill_new == FILL_NOT && conf.fill_freed == FILL_NOT);
}
