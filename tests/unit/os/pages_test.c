/* os/pages: each reason's account adds up, refusals count, the account in a shared file, what is no such file. */
#include "os/pages.h"

#include "support/fake_os.h"
#include "support/unit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct pages_calls calls_of(enum pages_reason why)
{
    return pages_account->by[why];
}

static void count_all(void *arg)
{
    (void)arg;
    fake_os_install();
    size_t page = os->page_bytes();
    char *p = pages_map(PAGES_SLABS, NULL, 8 * page, OS_MAP_ANYWHERE);
    REQUIRE(p != NULL);
    REQUIRE(calls_of(PAGES_SLABS).calls == 1 && calls_of(PAGES_SLABS).bytes == 8 * page);
    REQUIRE(calls_of(PAGES_SLABS).nanoseconds == 0 && calls_of(PAGES_SLABS).refused == 0);

    memset(p, 1, 8 * page);
    struct os_range ranges[] = {{p, page}, {p + 2 * page, 2 * page}};
    REQUIRE(pages_purge(PAGES_CLEAN, ranges, 0) == 0 && calls_of(PAGES_CLEAN).calls == 0);
    REQUIRE(pages_purge(PAGES_CLEAN, ranges, 2) == 2 && calls_of(PAGES_CLEAN).bytes == 3 * page);
    REQUIRE(calls_of(PAGES_CLEAN).calls >= 1 && calls_of(PAGES_CLEAN).calls <= 3);

    fake_os_fail(ENTRY_BIT(ENTRY_PAGES_MAP) | ENTRY_BIT(ENTRY_PAGES_UNMAP) |
                     ENTRY_BIT(ENTRY_PAGES_MOVE),
                 1, true);
    REQUIRE(pages_map(PAGES_LARGE, NULL, page, OS_MAP_ANYWHERE) == NULL);
    REQUIRE(calls_of(PAGES_LARGE).calls == 1 && calls_of(PAGES_LARGE).refused == 1 &&
            calls_of(PAGES_LARGE).bytes == 0);
    REQUIRE(!pages_unmap(PAGES_UNMAP, p, page) && calls_of(PAGES_UNMAP).refused == 1);
    REQUIRE(!pages_move(p, page, p + 4 * page, page) && calls_of(PAGES_MOVE).refused == 1);
    fake_os_fail(0, 0, false);
    REQUIRE(pages_unmap(PAGES_UNMAP, p, 8 * page) && calls_of(PAGES_UNMAP).bytes == 8 * page);
    REQUIRE(calls_of(PAGES_UNMAP).calls == 2);
}

static int make_file(const void *content, size_t bytes)
{
    int fd = memfd_create("account", MFD_CLOEXEC);
    REQUIRE(fd >= 0 && write(fd, content, bytes) == (ssize_t)bytes);
    return fd;
}

/* What two processes count lands in one file, what was counted before as well, however they end. */
static void share(void *arg)
{
    (void)arg;
    fake_os_install();
    size_t page = os->page_bytes();
    struct pages_account account = {.magic = PAGES_MAGIC, .bytes = sizeof account};
    int fd = make_file(&account, sizeof account);
    void *p = pages_map(PAGES_SLABS, NULL, page, OS_MAP_ANYWHERE);
    REQUIRE(p != NULL && pages_share(fd));
    pid_t child = fork();
    if (child == 0) {
        pages_unmap(PAGES_UNMAP, p, page);
        kill(getpid(), SIGKILL);
    }
    int status;
    REQUIRE(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    REQUIRE(pread(fd, &account, sizeof account, 0) == (ssize_t)sizeof account);
    REQUIRE(account.programs == 1 && account.by[PAGES_SLABS].calls == 1 &&
            account.by[PAGES_SLABS].bytes == page);
    REQUIRE(account.by[PAGES_UNMAP].calls == 1 && account.by[PAGES_LOOK].calls == 1);
    REQUIRE(account.by[PAGES_SLABS].nanoseconds == 0); /* before it was shared nothing is timed */
    REQUIRE(account.by[PAGES_UNMAP].nanoseconds > 0 && account.by[PAGES_LOOK].nanoseconds > 0);
}

/* Nothing is mapped of a file that is not an account, for then a touch might kill the program. */
static void refuse(void *arg)
{
    (void)arg;
    fake_os_install();
    struct pages_account account = {.magic = PAGES_MAGIC, .bytes = sizeof account};
    const struct pages_account *own = pages_account;
    REQUIRE(!pages_share(-1));
    REQUIRE(!pages_share(make_file("", 0)));
    REQUIRE(!pages_share(make_file(&account, sizeof account - 1)));
    account.bytes--;
    REQUIRE(!pages_share(make_file(&account, sizeof account)));
    account.bytes++;
    account.magic++;
    REQUIRE(!pages_share(make_file(&account, sizeof account)));
    REQUIRE(pages_account == own && own->programs == 1);
}

static void test_count(void **state)
{
    (void)state;
    require_in_child(count_all, NULL);
}

static void test_share(void **state)
{
    (void)state;
    require_in_child(share, NULL);
}

static void test_refuse(void **state)
{
    (void)state;
    require_in_child(refuse, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_share),
        cmocka_unit_test(test_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
