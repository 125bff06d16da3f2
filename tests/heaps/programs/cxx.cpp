// The C++ side of heaps: memory resources, allocators, owners, scopes.
#include <ration/heaps.hpp>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <list>
#include <map>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace
{

int n_failed;

void check(bool condition, const char *what, int line)
{
    if (condition)
        return;
    std::fprintf(stderr, "line %d: not true: %s\n", line, what);
    n_failed++;
}

#define CHECK(...) check((__VA_ARGS__), #__VA_ARGS__, __LINE__)

alignas(64) std::array<char, 262144> buffer;

ration_misuse_kind last_kind;
int n_reports;

void keep(const ration_misuse *misuse)
{
    last_kind = misuse->kind;
    n_reports++;
}

template <class F> bool throws_bad_alloc(F f)
{
    try {
        f();
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

void containers_in(ration_heap &heap)
{
    ration::memory_resource resource(heap);
    {
        std::pmr::vector<std::pmr::string> words(&resource);
        std::pmr::map<int, std::pmr::string> numbers(&resource);
        for (int i = 0; i < 200; i++) {
            words.emplace_back("a word that is too long to be kept inside the string itself");
            numbers[i * 7919 % 211] = "another such string, " + std::to_string(i);
        }
        CHECK(words.size() == 200 && words[199] == words[0]);
        CHECK(numbers.count(7919 % 211) == 1);
        CHECK(ration_heap_owns(&heap, words[5].data()));
        CHECK(ration_heap_check(&heap, nullptr) == 0);
    }
    {
        std::list<int, ration::allocator<int>> list{ration::allocator<int>(heap)};
        for (int i = 0; i < 100; i++)
            list.push_back(i);
        std::list<int, ration::allocator<int>> copy = list;
        CHECK(copy == list && ration_heap_owns(&heap, &copy.front()));
        list.clear();
        list = std::move(copy);
        CHECK(list.back() == 99);
    }
    ration::memory_resource same(heap);
    CHECK(resource == same && !(resource == *std::pmr::new_delete_resource()));
    CHECK(throws_bad_alloc([&] { (void)resource.allocate(std::size_t(1) << 50); }));
    CHECK(
        throws_bad_alloc([&] { (void)ration::allocator<double>(heap).allocate(~std::size_t(0)); }));
}

void kinds()
{
    {
        ration::tlsf tlsf(buffer.data(), buffer.size());
        containers_in(tlsf);
        CHECK(tlsf.stats().live_blocks == 0);
    }
    {
        ration_fit_options best = {};
        best.policy = RATION_FIT_BEST;
        ration::fit fit(buffer.data(), buffer.size(), best);
        containers_in(fit);
        CHECK(fit.stats().live_blocks == 0);
    }
    {
        ration::buddy buddy(buffer.data(), buffer.size());
        containers_in(buddy);
        CHECK(buddy.stats().live_blocks == 0);
    }
    {
        ration::private_heap own("documents", 1 << 20);
        containers_in(own);
        CHECK(own.stats().live_blocks == 0);
        CHECK(own.trim() > 0);
        while (own.alloc(1000) != nullptr) {
        }
        CHECK(own.stats().heap_bytes <= 1 << 20); // the rest goes with the scope
    }
    CHECK(throws_bad_alloc([] { ration::tlsf tlsf(buffer.data(), 8); }));
}

struct particle {
    static int n_alive;
    double position[3];
    explicit particle(double x) : position{x, x, x}
    {
        if (x < 0)
            throw std::invalid_argument("below zero");
        n_alive++;
    }
    ~particle() { n_alive--; }
};

int particle::n_alive;

void pools_and_owners()
{
    ration::pool<particle> pool(3);
    particle *a = pool.create(1.0);
    particle *b = pool.create(2.0);
    bool has_thrown = false;
    try {
        pool.create(-1.0);
    } catch (const std::invalid_argument &) {
        has_thrown = true;
    }
    particle *c = pool.create(3.0);
    CHECK(has_thrown && a != nullptr && b != nullptr && c != nullptr && c->position[2] == 3.0);
    CHECK(pool.create(4.0) == nullptr && particle::n_alive == 3);
    pool.destroy(b);
    pool.destroy(nullptr);
    pool.destroy(a);
    pool.destroy(c);
    CHECK(particle::n_alive == 0 && pool.stats().live_blocks == 0);
    {
        ration::tlsf heap(buffer.data(), buffer.size());
        ration::unique_ptr<particle> owned = ration::make_unique<particle>(heap, 5.0);
        CHECK(particle::n_alive == 1 && ration_heap_owns(&heap.heap(), owned.get()));
        owned.reset();
        CHECK(particle::n_alive == 0 && heap.stats().live_blocks == 0);
        CHECK(throws_bad_alloc([&] { ration::allocator<char>(heap).allocate(1 << 30); }));
    }
    struct alignas(64) wide {
        char bytes[64];
    };
    ration::pool<wide> aligned(10);
    CHECK(reinterpret_cast<std::uintptr_t>(aligned.create()) % 64 == 0);
    static_assert(!std::is_copy_constructible_v<ration::arena> &&
                  !std::is_copy_assignable_v<ration::arena>);
}

void scopes()
{
    ration::arena arena("frame");
    arena.alloc(100);
    {
        ration::arena_scope scope(arena);
        for (int i = 0; i < 5000; i++)
            CHECK(arena.alloc(64) != nullptr);
        {
            ration::arena_scope inner(arena);
            arena.alloc(1000);
        }
        CHECK(arena.stats().live_blocks == 5001);
    }
    CHECK(arena.stats().live_blocks == 1);
    arena.reset();
    CHECK(arena.stats().live_blocks == 0);

    ration::tlsf heap(buffer.data(), buffer.size());
    n_reports = 0;
    {
        ration::frame_scope frame("render", RATION_FRAME_FORBID);
        CHECK(frame.guard(heap));
        heap.alloc(24);
        CHECK(n_reports == 1 && last_kind == RATION_FORBIDDEN_ALLOCATION);
        CHECK(std::strstr(frame.figures().file, "cxx.cpp") != nullptr && frame.figures().line > 0);
    }
    heap.alloc(24);
    CHECK(n_reports == 1);
    {
        ration::frame_scope frame("load", RATION_FRAME_ARENA, &arena.raw());
        frame.guard(heap);
        CHECK(ration_heap_owns(&arena.heap(), heap.alloc(10)));
    }
    CHECK(arena.stats().live_blocks == 0);
}

} // namespace

int main()
{
    ration_misuse_handler(keep);
    kinds();
    pools_and_owners();
    scopes();
    CHECK(n_reports == 1);
    if (n_failed == 0)
        std::puts("heaps in C++: all checks hold");
    return n_failed != 0;
}
