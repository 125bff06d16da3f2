/* A game's loop: what a frame needs comes from an arena and is gone at its end; a malloc that slips
 * in is reported with its size and its source line. Linked with libration-frame.a, which puts
 * frames over the process's malloc. */
#include <ration.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_FRAMES = 100, N_PARTICLES = 2000 };

struct particle {
    float x, y, vx, vy;
};

static unsigned n_violations;
static void *volatile label;

/* A release build counts; without this handler the first violation ends the program with a report.
 */
static void note_violation(const struct ration_misuse *misuse)
{
    char text[512];
    n_violations++;
    ration_misuse_text(misuse, text, sizeof text);
    fputs(text, stderr);
}

static float draw(struct ration_arena *arena, int frame_number)
{
    struct particle *particles = ration_arena_alloc(arena, N_PARTICLES * sizeof *particles);
    float sum = 0;
    for (int i = 0; i < N_PARTICLES; i++) {
        particles[i] = (struct particle){(float)i, (float)frame_number, 1, 2};
        sum += particles[i].x;
    }
    if (frame_number == 42) /* the stray malloc that drops a frame */
        free(label = malloc(48));
    return sum;
}

int main(void)
{
    static char memory[128 * 1024];
    struct ration_arena arena;
    struct ration_arena_options options = {
        .name = "frame", .buffer = memory, .buffer_bytes = sizeof memory};
    if (ration_arena_init(&arena, &options) == NULL)
        return 1;
    ration_misuse_handler(note_violation);
    float sum = 0;
    for (int i = 0; i < N_FRAMES; i++) {
        struct ration_mark start = ration_arena_mark(&arena);
        struct ration_frame frame;
        ration_frame_begin(&frame, "render", RATION_FRAME_FORBID, NULL);
        if (ration_frame_cover_malloc(&frame) != 0)
            return 1;
        sum += draw(&arena, i);
        ration_frame_end(&frame);
        ration_arena_rewind(&arena, start);
    }
    printf("%d frames, %u with a forbidden allocation (sum %.0f)\n", N_FRAMES, n_violations, sum);
    return n_violations == 1 ? 0 : 1;
}
