/* A device without an operating system: TLSF over one static buffer, every operation in constant
 * time. Nothing here needs a C library but the printing at the end. */
#include <ration/tlsf.h>
#include <stdio.h>

static char memory[32 * 1024];
static struct ration_tlsf heap;

struct packet {
    struct packet *next;
    unsigned n_bytes;
    unsigned char bytes[];
};

/* Packets come in sizes that nobody knows beforehand; the oldest go when there is no room. */
static unsigned run_radio(unsigned n_packets)
{
    struct packet *oldest = NULL;
    struct packet **newest = &oldest;
    unsigned n_dropped = 0;
    for (unsigned i = 0; i < n_packets; i++) {
        unsigned n_bytes = i * 37 % 1400;
        struct packet *packet;
        while ((packet = ration_heap_alloc(&heap.heap, sizeof *packet + n_bytes)) == NULL) {
            struct packet *dropped = oldest;
            oldest = dropped->next;
            newest = oldest == NULL ? &oldest : newest;
            ration_heap_free(&heap.heap, dropped);
            n_dropped++;
        }
        *packet = (struct packet){.n_bytes = n_bytes};
        *newest = packet;
        newest = &packet->next;
    }
    return n_dropped;
}

int main(void)
{
    struct ration_tlsf_options options = {.name = "radio"};
    if (ration_tlsf_init(&heap, memory, sizeof memory, &options) == NULL)
        return 1;
    unsigned n_dropped = run_radio(10000);
    struct ration_heap_stats stats;
    ration_heap_stats(&heap.heap, &stats);
    printf("%u packets dropped; most steps: %u to allocate (bound %d), %u to free (bound %d)\n",
           n_dropped, (unsigned)stats.alloc_steps.max, RATION_TLSF_ALLOC_STEPS,
           (unsigned)stats.free_steps.max, RATION_TLSF_FREE_STEPS);
    return ration_heap_check(&heap.heap, NULL) == 0 ? 0 : 1;
}
