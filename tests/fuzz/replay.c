/* Runs the kept corpus through the fuzz target, so that what the fuzzer once reached is reached by every compiler.
 *
 * usage: fuzz_replay CORPUS        one input a line, in hexadecimal digits; exit 0 all were run, 2 usage or a damaged line */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { LINE_CHARS = 16384 };

static int digit_of(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

/* False if the line is not whole bytes in digits. */
static int decode(const char *line, uint8_t *bytes, size_t *n)
{
    size_t chars = strcspn(line, "\n");
    for (size_t i = 0; i < chars; i += 2) {
        int high = digit_of(line[i]);
        int low = high >= 0 ? digit_of(line[i + 1]) : -1;
        if (low < 0)
            return 0;
        bytes[i / 2] = (uint8_t)(high << 4 | low);
    }
    *n = chars / 2;
    return line[chars] == '\n';
}

int main(int argc, char **argv)
{
    static char line[LINE_CHARS];
    static uint8_t bytes[LINE_CHARS / 2];
    FILE *file = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (file == NULL) {
        fprintf(stderr, "usage: fuzz_replay CORPUS, a file of inputs in hexadecimal digits\n");
        return 2;
    }
    int count = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        size_t n;
        count++;
        if (!decode(line, bytes, &n)) {
            fprintf(stderr, "%s:%d: expected pairs of hexadecimal digits, at most %d\n", argv[1],
                    count, LINE_CHARS / 2 - 1);
            return 2;
        }
        LLVMFuzzerTestOneInput(bytes, n);
    }
    fclose(file);
    printf("%d inputs\n", count);
    return count > 0 ? 0 : 2;
}
