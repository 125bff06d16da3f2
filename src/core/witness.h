/* Whether this program fills its large blocks: the evidence on which large blocks get huge pages.
 *
 * Nobody tells what a program will touch, and a sparse table on huge pages is resident whole. So from time to time one
 * large block of fresh pages is the witness: it keeps small pages, and we look how many of them hold memory: when the
 * next such block is made, and when it is freed or grown. If nearly all do, blocks of up to twice its size are trusted to
 * be filled. If they do not even at its end, no block is trusted until a later witness was filled, and after a few such
 * ends none any more. A block that grows is looked at as well.
 * Blocks of zero memory (calloc) are neither trusted nor witnesses: tables that stay sparse are made so.
 *
 * States of the place for the witness: vacant, busy (somebody looks or moves in), taken.
 *
 * Thread-safe: whoever takes, frees or grows a block owns it, and one exchange decides who may look. All is a hint. */
#ifndef RATION_CORE_WITNESS_H
#define RATION_CORE_WITNESS_H

#include "base/bits.h"

#include <stdbool.h>

/* Smaller blocks hold no chunk for sure (span/huge.h). */
#define WITNESS_BYTES MIB(4)

/* A block of `bytes` >= WITNESS_BYTES was made of fresh pages: asks for huge pages or makes it the witness. */
void witness_fresh(void *block, size_t bytes);

/* A block of `had` bytes is about to grow in place or to move: looks at it if it is the witness, or if it is large and not
 * trusted. Returns whether blocks of new_bytes are trusted now. */
bool witness_grows(const void *block, size_t had, size_t new_bytes);

/* The block grew, and from `had` on its pages are fresh or nearly so; witness_grows said yes. */
void witness_grown(void *block, size_t had, size_t new_bytes);

/* A block is about to be freed or shortened. */
void witness_ends(const void *block);

/* The child has one thread: nobody is looking. */
void witness_fork_child(void);

#endif
