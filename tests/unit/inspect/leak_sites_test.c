/* inspect/leak_sites: sums, order, the lines for the command. */
#include "inspect/leak_sites.h"

#include "callers/sites.h"
#include "core/life.h"
#include "support/heap.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SITES = 500 };

static void begin(struct leak_sites *s)
{
    fake_os_install();
    REQUIRE(life_cache() != NULL && sites_begin() && leak_sites_begin(s, 4 * SITES));
}

static void add(struct leak_sites *s, uint32_t site, enum leak_kind kind, size_t bytes)
{
    const struct leak_site one = {.site = site, .kind = kind, .blocks = 1, .bytes = bytes};
    leak_sites_add(s, &one);
}

static void summed_and_sorted(void *arg)
{
    struct leak_sites s;
    struct chance c = {.state = chance_seed()};
    size_t sum = 0;
    (void)arg;
    begin(&s);
    for (int i = 0; i < 4 * SITES; i++) {
        size_t bytes = chance_below(&c, 1000);
        sum += bytes;
        add(&s, (uint32_t)chance_below(&c, SITES), (enum leak_kind)chance_below(&c, 3), bytes);
    }
    leak_sites_sort(&s);
    size_t blocks = 0;
    for (size_t i = 0; i < s.count; i++) {
        blocks += s.sites[i].blocks;
        sum -= s.sites[i].bytes;
        REQUIRE(i == 0 || s.sites[i - 1].kind <= s.sites[i].kind);
        REQUIRE(i == 0 || s.sites[i - 1].kind < s.sites[i].kind ||
                s.sites[i - 1].bytes >= s.sites[i].bytes);
    }
    REQUIRE(blocks == 4 * SITES && sum == 0);
    leak_sites_end(&s);
    REQUIRE(s.sites == NULL);
}

static void lines(void *arg)
{
    struct leak_sites s;
    struct writer w;
    int ends[2];
    char got[2000];
    char wanted[200];
    (void)arg;
    begin(&s);
    uint32_t site = site_of((const uintptr_t[]){0x1001, 0x2001}, 2);
    add(&s, site, LEAK_LOST, 70);
    add(&s, site, LEAK_LOST, 30);
    add(&s, SITE_NONE, LEAK_REACHABLE, 5);
    leak_sites_sort(&s);
    REQUIRE(pipe(ends) == 0);
    writer_begin(&w, ends[1]);
    leak_sites_tell(&s, &w);
    leak_sites_print(&s, &w, 1);
    REQUIRE(writer_end(&w) == 0);
    ssize_t n = read(ends[0], got, sizeof got - 1);
    REQUIRE(n > 0);
    got[n] = '\0';
    snprintf(wanted, sizeof wanted,
             "site %u lost 2 100 0\nsite 0 reachable 1 5 0\ncallers %u 2\nat 4096 ?\nat 8192 "
             "?\ncallers 0 0\n",
             site, site);
    REQUIRE(strncmp(got, wanted, strlen(wanted)) == 0);
    REQUIRE(strcmp(got + strlen(wanted),
                   "    100 bytes in 2 blocks lost, from\n      #0 0x1000\n      #1 0x2000\n") ==
            0);
}

static void no_memory(void *arg)
{
    struct leak_sites s;
    (void)arg;
    fake_os_install();
    fake.refuse = ENTRY_BIT(ENTRY_PAGES_MAP);
    REQUIRE(!leak_sites_begin(&s, 10));
    add(&s, 1, LEAK_LOST, 1);
    leak_sites_sort(&s);
    leak_sites_end(&s);
}

#define IN_CHILD(body)                                                                             \
    static void test_##body(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        require_in_child(body, NULL);                                                              \
    }
IN_CHILD(summed_and_sorted)
IN_CHILD(lines)
IN_CHILD(no_memory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_summed_and_sorted),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
