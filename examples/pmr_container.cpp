// Containers of the standard library in heaps of the program's own: a document in a private heap
// with a limit, and short-lived words in an arena that is rewound at the end of a scope.
#include <ration/heaps.hpp>

#include <cstdio>
#include <map>
#include <string>
#include <vector>

static std::size_t count_words(ration::arena &arena, const char *text)
{
    ration::arena_scope scope(arena); // everything below ends with it
    ration::memory_resource resource(arena);
    std::pmr::map<std::pmr::string, int> counts(&resource);
    std::pmr::string word(&resource);
    for (const char *at = text;; at++) {
        if (*at != ' ' && *at != '\0') {
            word += *at;
            continue;
        }
        counts[word]++;
        word.clear();
        if (*at == '\0')
            return counts.size();
    }
}

int main()
{
    ration::private_heap document("document", 1 << 20);
    ration::memory_resource resource(document);
    std::size_t n_lines = 0;
    try {
        std::pmr::vector<std::pmr::string> lines(&resource);
        while (true) {
            lines.emplace_back(
                "a line that is a little longer than what a string keeps inside itself");
            n_lines = lines.size();
        }
    } catch (const std::bad_alloc &) {
        std::printf("the document is full at %zu lines; the program goes on\n", n_lines);
    }
    ration::arena arena("words");
    std::size_t n_words =
        count_words(arena, "the cat and the dog and the very long-winded centipede");
    std::printf("%zu different words\n", n_words);
    return n_lines > 1000 && n_words == 7 && arena.stats().live_blocks == 0 ? 0 : 1;
}
