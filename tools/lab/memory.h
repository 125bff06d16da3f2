/* Memory for the lab's own tables: these never return NULL but end the command with a message,
 * because no result of the lab means anything after it ran out of memory itself. */
#ifndef RATION_LAB_MEMORY_H
#define RATION_LAB_MEMORY_H

#include <stddef.h>

void *lab_allocate(size_t count, size_t size); /* zeroed */
void *lab_resize(void *old, size_t count, size_t size);
char *lab_copy_text(const char *text);

#endif
