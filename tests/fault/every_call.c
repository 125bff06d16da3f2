/* Each scenario with its call N to the system failing, for every N, alone and with all that follow;
 * in a window of chosen addresses, in a reserved one, and with larger pages. Afterwards every
 * checker is content, every block is as it was, and the heap serves again. */
#include "scenarios.h"

#include "conf/conf.h"
#include "core/core.h"
#include "core/fast_path.h"
#include "core/purge.h"
#include "support/heap.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum mode { MODE_OPEN, MODE_RESERVED, MODE_PAGES_16K, MODE_COUNT };
static const char *const mode_names[] = {"open window", "reserved window", "16 KiB pages"};

struct trial {
    const struct scenario *scenario;
    enum mode mode;
    unsigned long n; /* 0: none fails, count */
    bool and_all_after;
};

/* Shared with the child. */
static unsigned long *calls;
static unsigned long *failures;

static void require_serves_again(void)
{
    REQUIRE_SOUND();
    scenario_end();
    for (size_t n = 1; n < MIB(1); n += n + 1) {
        void *p = malloc_fast(n);
        REQUIRE(p != NULL);
        memset(p, 1, n);
        p = core_realloc(p, 3 * n, "realloc");
        REQUIRE(p != NULL);
        free_fast(p);
    }
    purge_all();
    REQUIRE_SOUND();
    REQUIRE(heap_live_blocks() == 0);
}

static void try(void *arg)
{
    const struct trial *t = arg;
    fake_os_install();
    heap_go_on_after_misuse();
    fake.refuse = 0;
    fake.capture_helper = true;
    fake.page_bytes = t->mode == MODE_PAGES_16K ? KIB(16) : 0;
    fake.refuse_maps = t->mode == MODE_RESERVED ? 1U << OS_MAP_EXACT : 0;
    fake.move_unmaps_first = t->n % 2 == 0;
    fake_os_fail(ENTRIES_FALLIBLE, t->n, t->and_all_after);
    errno = 0;
    t->scenario->run();
    *calls = fake.counted;
    *failures += fake.failed;
    fake_os_fail(0, 0, false);
    REQUIRE(strstr(fake.message, " free at 0x") == NULL); /* nothing was taken for misuse */
    require_serves_again();
}

static bool is_fine(struct trial *t)
{
    int status = run_in_child(try, t);
    if (status != 0)
        fprintf(stderr, "scenario '%s', %s, call %lu%s: wait status 0x%x\n", t->scenario->name,
                mode_names[t->mode], t->n, t->and_all_after ? " and all after it" : "",
                (unsigned)status);
    return status == 0;
}

static unsigned run_scenario(const struct scenario *s, enum mode mode)
{
    struct trial t = {.scenario = s, .mode = mode};
    unsigned broken = !is_fine(&t);
    unsigned long n = *calls;
    for (t.n = 1; t.n <= n && broken < 5; t.n++) {
        t.and_all_after = false;
        broken += !is_fine(&t);
        t.and_all_after = true;
        broken += !is_fine(&t);
    }
    printf("%-12s %-16s %3lu calls%s\n", s->name, mode_names[mode], n,
           broken != 0 ? "  FAILED" : "");
    return broken;
}

int main(void)
{
    calls = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    failures = calls + 1;
    unsigned broken = 0;
    for (int mode = MODE_OPEN; mode < MODE_COUNT; mode++) {
        for (unsigned i = 0; i < scenario_count; i++)
            broken += run_scenario(&scenarios[i], (enum mode)mode);
    }
    printf("%lu calls were made to fail; %u trials went wrong\n", *failures, broken);
    return broken != 0 || *failures < 2000;
}
