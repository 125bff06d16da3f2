// A static C++ program: operators new and delete, threads, exceptions, all from the archive.
extern "C" {
#include "work.h"
}

#include <cstdio>
#include <cstdlib>
#include <map>
#include <new>
#include <string>
#include <thread>
#include <vector>

static std::map<int, std::string> before_main = {{1, std::string(100, 'a')}, {2, "b"}};

static int throw_bad_alloc()
{
    try {
        volatile std::size_t too_much = static_cast<std::size_t>(1) << 62;
        ::operator delete(::operator new(too_much));
    } catch (const std::bad_alloc &) {
        return 0;
    }
    return 1;
}

int main()
{
    const functions f = {[](std::size_t n) { return ::operator new(n); }, std::realloc,
                         [](void *p) { ::operator delete(p); }};
    int bad = throw_bad_alloc();
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++)
        threads.emplace_back([&bad] { bad |= throw_bad_alloc(); });
    for (std::thread &thread : threads)
        thread.join();
    bad |= work_run(&f) | (before_main[1].size() != 100);
    std::printf("allocator: %s\n", work_is_libration(&f) ? "libration" : "other");
    return bad;
}
