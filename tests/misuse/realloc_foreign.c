/* realloc of a global. */
#include "misuse.h"

static _Alignas(64) char global[256];

int main(void)
{
    new_block(64);
    hide(realloc(crime(global + 64), 500));
    return go_on();
}
