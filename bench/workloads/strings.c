/* Strings: lines of words are joined, split again, and counted in a dictionary that forgets its
 * rare words now and then. */
#include "workloads.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 1 << 16, WORDS_PER_LINE = 12, LINES_TO_FORGET = 20000, WORD_MOST = 64 };

struct entry {
    struct entry *next;
    char *word;
    uint32_t count;
};

struct dictionary {
    struct entry *buckets[BUCKETS];
    struct tally *tally;
};

static void *checked(void *memory)
{
    if (!memory) {
        die("the allocator returned null");
    }
    return memory;
}

/* FNV-1a (Fowler, Noll, Vo). */
static uint32_t hash_word(const char *word)
{
    uint32_t hash = 2166136261u;
    for (; *word; word++) {
        hash = (hash ^ (unsigned char)*word) * 16777619u;
    }
    return hash;
}

/* Writes a word of 2 to 7 syllables; low numbers, the frequent words, are short. */
static void spell(char *word, uint64_t number)
{
    static const char syllables[] = "kaletomirusapinodevubagofizehuwy";
    size_t length = 0;

    do {
        memcpy(word + length, &syllables[(number & 15) * 2], 2);
        length += 2;
        number >>= 4;
    } while (number > 0 && length < WORD_MOST - 2);
    word[length] = '\0';
}

static char *join_line(struct random *random, struct tally *tally)
{
    char *line = checked(calloc(1, 16));
    size_t length = 0, capacity = 16;

    for (unsigned i = 0; i < WORDS_PER_LINE; i++) {
        char word[WORD_MOST];
        uint64_t drawn = random_next(random);
        spell(word, (drawn & 0xffffff) >> (drawn >> 60));
        size_t added = strlen(word);
        if (length + added + 2 > capacity) {
            capacity = 2 * capacity + added;
            line = checked(realloc(line, capacity));
            tally->operations++;
        }
        memcpy(line + length, word, added);
        line[length + added] = ' ';
        length += added + 1;
        line[length] = '\0';
    }
    tally->operations++;
    return line;
}

static void count_word(struct dictionary *dictionary, const char *word)
{
    uint32_t hash = hash_word(word);
    struct entry **head = &dictionary->buckets[hash % BUCKETS];

    dictionary->tally->born += hash;
    for (struct entry *entry = *head; entry; entry = entry->next) {
        if (strcmp(entry->word, word) == 0) {
            entry->count++;
            return;
        }
    }
    struct entry *entry = checked(malloc(sizeof *entry));
    *entry = (struct entry){*head, checked(strdup(word)), 1};
    *head = entry;
    dictionary->tally->operations += 2;
}

static void split_and_count(struct dictionary *dictionary, const char *line)
{
    char *words[WORDS_PER_LINE];
    unsigned n_words = 0;

    for (const char *end; (end = strchr(line, ' ')) != NULL; line = end + 1) {
        words[n_words++] = checked(strndup(line, (size_t)(end - line)));
    }
    for (unsigned i = 0; i < n_words; i++) {
        count_word(dictionary, words[i]);
        free(words[i]);
    }
    dictionary->tally->operations += 2 * n_words;
}

/* Drops the words that were counted at most `rare` times. */
static void forget(struct dictionary *dictionary, uint32_t rare)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (struct entry **link = &dictionary->buckets[i]; *link;) {
            struct entry *entry = *link;
            if (entry->count > rare) {
                link = &entry->next;
                continue;
            }
            *link = entry->next;
            dictionary->tally->died += (uint64_t)hash_word(entry->word) * entry->count;
            free(entry->word);
            free(entry);
            dictionary->tally->operations += 2;
        }
    }
}

struct outcome strings_run(double scale)
{
    static struct dictionary dictionary;
    struct outcome outcome = {0};
    struct random random = {8};
    unsigned n_lines = scaled(180000, scale);

    dictionary.tally = &outcome.tally;
    for (unsigned i = 1; i <= n_lines; i++) {
        char *line = join_line(&random, &outcome.tally);
        split_and_count(&dictionary, line);
        free(line);
        outcome.tally.operations++;
        if (i % LINES_TO_FORGET == 0) {
            forget(&dictionary, 1);
        }
    }
    forget(&dictionary, UINT32_MAX);
    return outcome;
}
