/* A fuzz target: bytes are operations on the shadow (tests/shadow). Any wrong answer ends the
 * process. */
#include "api.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static int started;
    if (!started)
        api.start();
    started = 1;
    shadow_run_bytes(data, n);
    return 0;
}
