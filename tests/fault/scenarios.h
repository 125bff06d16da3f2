/* What a program does with its heap, in small scenarios that survive any failing system call: a
 * call that gets no memory returns null and ENOMEM, everything held before stays as it was. */
#ifndef RATION_TESTS_FAULT_SCENARIOS_H
#define RATION_TESTS_FAULT_SCENARIOS_H

struct scenario {
    const char *name;
    void (*run)(void);
};

extern const struct scenario scenarios[];
extern const unsigned scenario_count;

/* Everything that the scenario still holds has its contents, and is freed; then nothing is live. */
void scenario_end(void);

#endif
