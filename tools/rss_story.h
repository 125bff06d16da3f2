/*
 * Why a process is as big as it is, in sentences, from its ledger: the largest shares first, each with
 * what it comes from, and one command to type next.
 */
#ifndef RATION_TOOLS_RSS_STORY_H
#define RATION_TOOLS_RSS_STORY_H

#include <ration/stats.h>

enum { most_sentences = 12, sentence_chars = 320 };

struct rss_story {
    char sentences[most_sentences][sentence_chars];
    int n_sentences;
    char next[sentence_chars]; /* a command, and why */
};

/* `who` names the process in commands: its number, or "PID" if it has ended. */
void rss_story_tell(struct rss_story *story, const struct ration_stats *stats, const char *who);

#endif
