// Allocates in static initialisers of every priority, in an IFUNC-free constructor before main, and
// in destructors after main; prints the same whatever the allocator.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace
{

struct early {
    std::vector<std::string> texts;
    explicit early(int n)
    {
        for (int i = 0; i < n; i++)
            texts.emplace_back(static_cast<std::size_t>(i), 'e');
    }
    ~early()
    {
        std::size_t n = 0;
        for (const std::string &text : texts)
            n += text.size();
        texts.emplace_back(5000, 'x');
        std::fprintf(stdout, "destroyed %zu\n", n);
    }
};

early first __attribute__((init_priority(101))) (300);
early second __attribute__((init_priority(65000))) (700);
std::unique_ptr<early> third = std::make_unique<early>(900);
std::thread started_early([] { std::vector<int> v(100000); });
thread_local std::string own_text(1000, 't');

__attribute__((constructor(102))) void before_main()
{
    std::free(nullptr);
    void *volatile p = std::malloc(100000);
    std::free(p);
    std::atexit([] {
        std::puts("atexit");
        delete[] new int[1000];
    });
}

} // namespace

int main()
{
    started_early.join();
    std::cout << first.texts.size() << ' ' << second.texts.size() << ' ' << third->texts.size()
              << ' ' << own_text.size() << std::endl;
    return 0;
}
