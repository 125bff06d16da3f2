// The twenty operators new and delete: all forms, bad_alloc, the new-handler loop. They come from a
// C library here, so that exceptions must pass through its frames.
#include "check.h"

#include <cstdint>
#include <cstdio>
#include <map>
#include <new>
#include <string>
#include <sys/mman.h>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>
#include <unordered_map>
#include <vector>

namespace
{

const std::size_t impossible = static_cast<std::size_t>(1) << 62;

template <typename F> void each_size(F visit)
{
    for (std::size_t size = 0; size < 3000; size += 7)
        visit(size);
    for (std::size_t size = 3000; size < 5000000; size += size / 3)
        visit(size);
}

template <typename F> void each_alignment(F visit)
{
    for (std::size_t alignment = 1; alignment <= 65536; alignment *= 2)
        for (std::size_t size = 0; size < 100000; size = size * 3 + 1)
            visit(size, static_cast<std::align_val_t>(alignment));
}

void *used(void *p, std::size_t size)
{
    CHECK(p != nullptr, "operator new(%zu): expected a block, got null", size);
    check_fill(p, size, 1);
    return check_hide(p);
}

void plain_forms()
{
    each_size([](std::size_t n) {
        ::operator delete(used(::operator new(n), n));
        ::operator delete(used(::operator new(n), n), n);
        ::operator delete(used(::operator new(n), n), std::nothrow);
        ::operator delete(used(::operator new(n, std::nothrow), n), std::nothrow);
        ::operator delete(used(::operator new(n, std::nothrow), n), n);
    });
    ::operator delete(static_cast<void *>(nullptr));
    ::operator delete(static_cast<void *>(nullptr), static_cast<std::size_t>(10));
    ::operator delete(static_cast<void *>(nullptr), std::nothrow);
}

void array_forms()
{
    each_size([](std::size_t n) {
        ::operator delete[](used(::operator new[](n), n));
        ::operator delete[](used(::operator new[](n), n), n);
        ::operator delete[](used(::operator new[](n), n), std::nothrow);
        ::operator delete[](used(::operator new[](n, std::nothrow), n), std::nothrow);
        ::operator delete[](used(::operator new[](n, std::nothrow), n), n);
    });
    ::operator delete[](static_cast<void *>(nullptr));
}

void *used_aligned(void *p, std::size_t size, std::align_val_t alignment)
{
    CHECK_ALIGNED(p, static_cast<std::size_t>(alignment));
    return used(p, size);
}

void aligned_forms()
{
    each_alignment([](std::size_t n, std::align_val_t a) {
        ::operator delete(used_aligned(::operator new(n, a), n, a), a);
        ::operator delete(used_aligned(::operator new(n, a), n, a), n, a);
        ::operator delete(used_aligned(::operator new(n, a), n, a), a, std::nothrow);
        ::operator delete(used_aligned(::operator new(n, a, std::nothrow), n, a), a, std::nothrow);
    });
    ::operator delete (static_cast<void *>(nullptr), std::align_val_t{64});
}

void aligned_array_forms()
{
    each_alignment([](std::size_t n, std::align_val_t a) {
        ::operator delete[](used_aligned(::operator new[](n, a), n, a), a);
        ::operator delete[](used_aligned(::operator new[](n, a), n, a), n, a);
        ::operator delete[](used_aligned(::operator new[](n, a), n, a), a, std::nothrow);
        ::operator delete[](used_aligned(::operator new[](n, a, std::nothrow), n, a), a,
                            std::nothrow);
    });
}

void new_of_nothing_is_unique()
{
    void *a = check_hide(::operator new(0));
    void *b = check_hide(::operator new(0));
    void *c = check_hide(::operator new[](0));
    CHECK(a != nullptr && a != b && b != c && a != c, "expected unique pointers, got %p %p %p", a,
          b, c);
    ::operator delete(a);
    ::operator delete(b);
    ::operator delete[](c);
}

template <typename F> void expect_bad_alloc(const char *what, F allocate)
{
    try {
        void *p = check_hide(allocate());
        CHECK(false, "%s: expected std::bad_alloc, got %p", what, p);
    } catch (const std::bad_alloc &) {
        return;
    }
}

void impossible_sizes_throw_bad_alloc()
{
    for (std::size_t n : {impossible, SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX - 4095}) {
        n = check_hide_size(n);
        expect_bad_alloc("new", [n] { return ::operator new(n); });
        expect_bad_alloc("new[]", [n] { return ::operator new[](n); });
        expect_bad_alloc("new aligned", [n] { return ::operator new (n, std::align_val_t{64}); });
        expect_bad_alloc("new[] aligned",
                         [n] { return ::operator new[](n, std::align_val_t{4096}); });
    }
}

void impossible_sizes_give_null_when_nothrow()
{
    for (std::size_t n : {impossible, SIZE_MAX, SIZE_MAX / 2 + 1}) {
        n = check_hide_size(n);
        const std::align_val_t a{64};
        CHECK(::operator new(n, std::nothrow) == nullptr, "new(nothrow): expected null");
        CHECK(::operator new[](n, std::nothrow) == nullptr, "new[](nothrow): expected null");
        CHECK(::operator new(n, a, std::nothrow) == nullptr, "aligned nothrow: expected null");
        CHECK(::operator new[](n, a, std::nothrow) == nullptr, "aligned [] nothrow: expected null");
    }
}

int n_calls;
void *ballast;
const std::size_t ballast_bytes = static_cast<std::size_t>(900) << 20;

void give_up_after_three()
{
    if (++n_calls == 3)
        std::set_new_handler(nullptr);
}

void handler_runs_until_it_is_gone()
{
    std::set_new_handler(give_up_after_three);
    n_calls = 0;
    expect_bad_alloc("new", [] { return ::operator new(check_hide_size(impossible)); });
    CHECK(n_calls == 3, "new-handler: expected 3 calls, got %d", n_calls);
    std::set_new_handler(give_up_after_three);
    n_calls = 0;
    expect_bad_alloc("aligned new", [] {
        return ::operator new (check_hide_size(impossible), std::align_val_t{128});
    });
    CHECK(n_calls == 3, "new-handler of the aligned form: expected 3 calls, got %d", n_calls);
    std::set_new_handler(give_up_after_three);
    n_calls = 0;
    void *p = ::operator new(check_hide_size(impossible), std::nothrow);
    CHECK(p == nullptr && n_calls == 3, "nothrow new: expected null after 3 calls, got %p after %d",
          p, n_calls);
}

void drop_ballast()
{
    n_calls++;
    CHECK(n_calls < 5, "new-handler: called %d times though memory was freed", n_calls);
    if (ballast != nullptr)
        munmap(ballast, ballast_bytes);
    ballast = nullptr;
}

// The address space is full; the handler makes room; the same call must then succeed.
void handler_that_frees_lets_new_succeed()
{
    ballast =
        mmap(nullptr, ballast_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(ballast != MAP_FAILED, "mmap of the ballast");
    std::size_t total_pages = 0;
    std::FILE *statm = std::fopen("/proc/self/statm", "r");
    CHECK(statm != nullptr && std::fscanf(statm, "%zu", &total_pages) == 1, "/proc/self/statm");
    std::fclose(statm);
    const auto page_bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const rlimit limit = {total_pages * page_bytes + (64 << 20), RLIM_INFINITY};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit");
    std::set_new_handler(drop_ballast);
    const std::size_t wanted = static_cast<std::size_t>(500) << 20;
    char *p = static_cast<char *>(check_hide(::operator new(check_hide_size(wanted))));
    CHECK(n_calls >= 1, "new-handler: expected a call with the address space full, got none");
    p[0] = p[wanted - 1] = 1;
    ::operator delete(p);
}

struct own_exception {
};

void throw_own()
{
    throw own_exception();
}

void handler_may_throw()
{
    std::set_new_handler(throw_own);
    for (int form = 0; form < 4; form++) {
        bool caught = false;
        try {
            const std::size_t n = check_hide_size(impossible);
            void *p = form == 0   ? ::operator new(n)
                      : form == 1 ? ::operator new[](n)
                      : form == 2 ? ::operator new (n, std::align_val_t{256})
                                  : ::operator new[](n, std::align_val_t{256});
            CHECK(false, "form %d: expected the handler's exception, got %p", form, check_hide(p));
        } catch (const own_exception &) {
            caught = true;
        }
        CHECK(caught, "form %d: expected the handler's exception", form);
    }
}

void throw_bad_alloc()
{
    throw std::bad_alloc();
}

void nothrow_swallows_a_throwing_handler()
{
    const std::size_t n = check_hide_size(impossible);
    const std::align_val_t a{64};
    for (std::new_handler handler : {throw_bad_alloc, throw_own}) {
        std::set_new_handler(handler);
        CHECK(::operator new(n, std::nothrow) == nullptr, "nothrow new: expected null");
        CHECK(::operator new[](n, std::nothrow) == nullptr, "nothrow new[]: expected null");
        CHECK(::operator new(n, a, std::nothrow) == nullptr, "nothrow aligned: expected null");
        CHECK(::operator new[](n, a, std::nothrow) == nullptr, "nothrow aligned []: expected null");
    }
}

void bad_alloc_passes_through_threads()
{
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; i++)
        threads.emplace_back([] {
            for (int k = 0; k < 200; k++)
                expect_bad_alloc("new in a thread",
                                 [] { return ::operator new(check_hide_size(impossible)); });
        });
    for (std::thread &thread : threads)
        thread.join();
}

template <std::size_t Alignment> struct alignas(Alignment) wide {
    char bytes[Alignment];
};

template <std::size_t Alignment> void new_wide()
{
    for (int i = 0; i < 20; i++) {
        auto *one = new wide<Alignment>;
        auto *many = new wide<Alignment>[7];
        CHECK_ALIGNED(check_hide(one), Alignment);
        CHECK_ALIGNED(check_hide(many), Alignment);
        many[6].bytes[Alignment - 1] = 1;
        delete one;
        delete[] many;
    }
}

void overaligned_types()
{
    new_wide<8>();
    new_wide<32>();
    new_wide<64>();
    new_wide<512>();
    new_wide<4096>();
    new_wide<16384>();
}

void containers_work()
{
    std::map<int, std::string> tree;
    std::unordered_map<std::string, std::vector<int>> table;
    for (int i = 0; i < 20000; i++) {
        tree[i * 7919 % 10007] = std::string(static_cast<std::size_t>(i % 200), 'x');
        table[std::to_string(i % 3000)].push_back(i);
        if (i % 3 == 0)
            tree.erase(i % 5000);
    }
    std::size_t n = 0;
    for (const auto &entry : table)
        n += entry.second.size();
    CHECK(n == 20000, "containers: expected 20000 values, found %zu", n);
}

} // namespace

int main(int argc, char **argv)
{
#define C(name)                                                                                    \
    {                                                                                              \
#name, name                                                                                \
    }
    static const check_case cases[] = {
        C(plain_forms),
        C(array_forms),
        C(aligned_forms),
        C(aligned_array_forms),
        C(new_of_nothing_is_unique),
        C(impossible_sizes_throw_bad_alloc),
        C(impossible_sizes_give_null_when_nothrow),
        C(handler_runs_until_it_is_gone),
        C(handler_that_frees_lets_new_succeed),
        C(handler_may_throw),
        C(nothrow_swallows_a_throwing_handler),
        C(bad_alloc_passes_through_threads),
        C(overaligned_types),
        C(containers_work),
    };
    return check_main(argc, argv, CHECK_CASES(cases));
}
