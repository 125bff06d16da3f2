// Threads whose destructors malloc and free at the very end: pthread keys that set themselves again
// until the last round, and C++ thread_local objects. No crash, no growth.
#include "stress.h"

#include <cstdio>
#include <cstdlib>
#include <pthread.h>
#include <string>
#include <vector>

namespace
{

const int n_keys = 5;
const unsigned n_threads = 15000;
pthread_key_t keys[n_keys];

struct late_value {
    int key;
    int rounds_left;
    void *blocks[4];
};

late_value *new_value(int key, int rounds)
{
    auto *value = static_cast<late_value *>(std::malloc(sizeof(late_value)));
    value->key = key;
    value->rounds_left = rounds;
    for (int i = 0; i < 4; i++)
        value->blocks[i] = stress_new(static_cast<std::size_t>(20 + 700 * i + 13 * key));
    return value;
}

// PTHREAD_DESTRUCTOR_ITERATIONS is 4: three more rounds after the first.
void destroy_value(void *argument)
{
    auto *value = static_cast<late_value *>(argument);
    for (void *block : value->blocks)
        stress_free(block);
    if (value->rounds_left > 0)
        pthread_setspecific(keys[value->key], new_value(value->key, value->rounds_left - 1));
    std::free(value);
}

struct late_object {
    std::vector<std::string> texts;
    void touch() { texts.emplace_back(100, 'x'); }
    ~late_object()
    {
        for (int i = 0; i < 20; i++)
            texts.emplace_back(static_cast<std::size_t>(i * 50), 'y');
        stress_free(stress_new(30000));
    }
};

thread_local late_object object;

void *live(void *left)
{
    stress_free(left);
    for (int i = 0; i < n_keys; i++)
        pthread_setspecific(keys[i], new_value(i, 3));
    object.touch();
    return stress_new(500);
}

} // namespace

int main()
{
    stress_watchdog(90);
    for (pthread_key_t &key : keys)
        pthread_key_create(&key, destroy_value);
    const unsigned total = n_threads * stress_scale();
    std::size_t resident = 0;
    void *left[4] = {};
    for (unsigned i = 0; i < total; i += 4) {
        pthread_t threads[4];
        for (int k = 0; k < 4; k++)
            if (pthread_create(&threads[k], nullptr, live, left[k]) != 0)
                stress_fail("pthread_create number %u failed", i);
        for (int k = 0; k < 4; k++)
            pthread_join(threads[k], &left[k]);
        if (i == total / 10 / 4 * 4)
            resident = stress_resident_bytes();
    }
    const std::size_t after = stress_resident_bytes();
    std::printf("%u threads, resident %zu -> %zu KiB\n", total, resident >> 10, after >> 10);
    // Where the machine is busy threads end one by one, and 4 MiB less is in use. What each left would be 60 MiB.
    if (after > resident + (8 << 20))
        stress_fail("expected resident memory to stay near %zu KiB, got %zu KiB", resident >> 10,
                    after >> 10);
    return 0;
}
