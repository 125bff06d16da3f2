// Frames over the process's malloc, with libration-frame.a in the program: every door to malloc is
// noticed, an arena serves, other threads are left alone, and what was allocated before a frame may
// be freed inside it.
#include <ration/heaps.hpp>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <malloc.h>
#include <string>
#include <thread>
#include <unistd.h>
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

ration_misuse last;
int n_reports;

void keep(const ration_misuse *misuse)
{
    last = *misuse;
    n_reports++;
    free(malloc(10)); // a handler may allocate
}

void *volatile sink;

// Each way in is counted once, with its size.
void counts_every_door()
{
    ration_frame frame;
    ration_frame_begin(&frame, "count", RATION_FRAME_COUNT, nullptr);
    CHECK(ration_frame_cover_malloc(&frame) == 0);
    std::uint64_t expected = 0;
    auto seen = [&](std::size_t bytes, int line) {
        expected++;
        check(frame.n_allocs == expected, "one more allocation is counted", line);
        check(frame.largest_bytes >= bytes, "its size is seen", line);
        frame.largest_bytes = 0;
    };
    void *block = sink = malloc(48);
    seen(48, __LINE__);
    block = sink = realloc(block, 96);
    seen(96, __LINE__);
    free(block);
    free(sink = calloc(10, 7));
    seen(70, __LINE__);
    free(sink = aligned_alloc(64, 128));
    seen(128, __LINE__);
    free(sink = memalign(256, 130));
    seen(130, __LINE__);
    CHECK(posix_memalign(&block, 4096, 100) == 0);
    seen(100, __LINE__);
    CHECK(reinterpret_cast<std::uintptr_t>(block) % 4096 == 0);
    free(block);
    free(sink = reallocarray(nullptr, 5, 9));
    seen(45, __LINE__);
    sink = new long[7];
    seen(56, __LINE__);
    delete[] static_cast<long *>(sink);
    struct alignas(128) wide {
        char bytes[256];
    };
    sink = new wide;
    seen(256, __LINE__);
    delete static_cast<wide *>(sink);
    free(sink = strdup("inside the C library"));
    seen(21, __LINE__);
    {
        std::string text(100, 'x'); // inside the C++ library
        seen(101, __LINE__);
    }
    ration_frame_end(&frame);
    free(sink = malloc(10));
    CHECK(frame.n_allocs == expected);
}

void forbids()
{
    void *before = malloc(100);
    n_reports = 0;
    ration_frame frame;
    ration_frame_begin(&frame, "render", RATION_FRAME_FORBID, nullptr);
    CHECK(ration_frame_cover_malloc(&frame) == 0);
    free(before); // freeing is no allocation
    CHECK(n_reports == 0);
    sink = malloc(48);
    CHECK(n_reports == 1 && last.kind == RATION_FORBIDDEN_ALLOCATION && last.block_bytes == 48);
    CHECK(std::strcmp(last.frame->name, "render") == 0 &&
          std::strcmp(last.operation, "malloc") == 0);
    free(sink);
    std::thread other;
    ration_frame_end(&frame);
    CHECK(sink != nullptr && n_reports == 1);
}

void leaves_other_threads_alone()
{
    ration_frame frame;
    n_reports = 0;
    bool stop = false;
    int n_rounds = 0;
    std::thread other([&] {
        while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
            std::vector<int> numbers(1000);
            sink = numbers.data();
            __atomic_fetch_add(&n_rounds, 1, __ATOMIC_RELAXED);
        }
    });
    ration_frame_begin(&frame, "render", RATION_FRAME_FORBID, nullptr);
    CHECK(ration_frame_cover_malloc(&frame) == 0);
    int from = __atomic_load_n(&n_rounds, __ATOMIC_RELAXED);
    while (__atomic_load_n(&n_rounds, __ATOMIC_RELAXED) < from + 100)
        usleep(100);
    ration_frame_end(&frame);
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    other.join();
    CHECK(n_reports == 0 && frame.n_allocs == 0);
}

void serves_from_an_arena()
{
    ration::arena arena("frame");
    arena.alloc(1);
    arena.reset();
    char *before = static_cast<char *>(malloc(50));
    std::strcpy(before, "older than the frame");
    {
        ration_frame frame;
        ration_frame_begin(&frame, "frame", RATION_FRAME_ARENA, &arena.raw());
        CHECK(ration_frame_cover_malloc(&frame) == 0);
        char *block = static_cast<char *>(malloc(100));
        CHECK(ration_heap_owns(&arena.heap(), block) && malloc_usable_size(block) >= 100);
        std::strcpy(block, "inside");
        block = static_cast<char *>(realloc(block, 5000));
        CHECK(ration_heap_owns(&arena.heap(), block) && std::strcmp(block, "inside") == 0);
        free(block);
        before = static_cast<char *>(realloc(before, 200));
        CHECK(ration_heap_owns(&arena.heap(), before));
        CHECK(std::strcmp(before, "older than the frame") == 0);
        free(before);
        unsigned char *zeroed = static_cast<unsigned char *>(calloc(100, 1));
        CHECK(ration_heap_owns(&arena.heap(), zeroed) && zeroed[0] == 0 && zeroed[99] == 0);
        std::vector<std::string> words(50, std::string(60, 'y'));
        CHECK(ration_heap_owns(&arena.heap(), words.data()));
        ration_frame inner;
        ration_frame_begin(&inner, "inner", RATION_FRAME_COUNT, nullptr);
        CHECK(ration_frame_cover_malloc(&inner) == 0);
        words.clear(); // blocks of the outer frame's arena
        words.shrink_to_fit();
        sink = malloc(10);
        CHECK(inner.n_allocs == 1 && !ration_heap_owns(&arena.heap(), sink));
        free(sink);
        ration_frame_end(&inner);
        words = {};
        ration_frame_end(&frame);
    }
    CHECK(arena.stats().live_blocks == 0);
    sink = malloc(10);
    CHECK(!ration_heap_owns(&arena.heap(), sink));
    free(sink);
}

} // namespace

int main()
{
    ration_misuse_handler(keep);
    counts_every_door();
    forbids();
    leaves_other_threads_alone();
    serves_from_an_arena();
    if (n_failed == 0)
        std::puts("frames over malloc: all checks hold");
    return n_failed != 0;
}
