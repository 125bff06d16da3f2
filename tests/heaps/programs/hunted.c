/* A heap whose user writes one byte behind a block. Inside the heap's buffer no sanitizer can see
 * that; with the one switch, RATION=pools=passthrough, every block is malloc's and the write is
 * found. */
#include <ration.h>
#include <string.h>

static char buffer[65536];

int main(int argc, char **argv)
{
    struct ration_tlsf tlsf;
    struct ration_heap *heap = ration_tlsf_init(&tlsf, buffer, sizeof buffer, NULL);
    char *block = ration_heap_alloc(heap, 24 + (argc > 100 ? strlen(argv[1]) : 0));
    memset(block, 0, 24);
    if (argc > 1)
        *(volatile char *)(block + 24) =
            1; /* inside the heap this byte is the block's too or the next tag's */
    return strcmp(ration_heap_kind(heap), argc > 2 ? argv[2] : "tlsf") != 0;
}
