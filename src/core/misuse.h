/* Telling what is wrong with a pointer that a call cannot accept. Slow and careful: nothing at the address is read. */
#ifndef RATION_CORE_MISUSE_H
#define RATION_CORE_MISUSE_H

#include "base/compiler.h"

/* The program passed `address` to `function`, and no live block starts there. Returns unless on_error=abort. */
void misuse_report(uintptr_t address, const char *function);

/* The program said `said` bytes of a live block of `has` usable bytes. */
void misuse_report_size(uintptr_t address, size_t has, size_t said, const char *function);

/* The byte at `offset` behind the `n` bytes asked for, of the live block at `address`, is not what was there before. */
void misuse_report_overflow(uintptr_t address, size_t n, size_t offset, const char *function);

/* The byte `distance` bytes before the block at `address` is not what was there before. */
void misuse_report_underflow(uintptr_t address, size_t distance, const char *function);

/* The byte at `offset` of the freed block at `address` was written after it was freed. */
void misuse_report_written(uintptr_t address, size_t size, size_t offset, const char *function);

#endif
