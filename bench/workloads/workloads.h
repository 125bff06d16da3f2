/* The workloads by name. Each takes a scale: 1 is a full-size run of about a second. */
#ifndef RATION_BENCH_WORKLOADS_H
#define RATION_BENCH_WORKLOADS_H

#include "common.h"

struct outcome pairs_run(double scale);
struct outcome batches_run(double scale);
struct outcome replace_small_run(double scale);
struct outcome replace_wide_run(double scale);
struct outcome replace_threads_run(double scale);
struct outcome replace_large_run(double scale);
struct outcome server_run(double scale);
struct outcome larson_run(double scale);
struct outcome pipeline_run(double scale);
struct outcome pipeline_wide_run(double scale);
struct outcome phases_run(double scale);
struct outcome pareto_run(double scale);
struct outcome mixed_run(double scale);
struct outcome bursts_run(double scale);
struct outcome lifofifo_run(double scale);
struct outcome buffers_run(double scale);
struct outcome vectors_run(double scale);
struct outcome strings_run(double scale);
struct outcome trees_run(double scale);
struct outcome ageing_run(double scale);
struct outcome bulk_run(double scale);
struct outcome swiss_run(double scale);
struct outcome swiss64_run(double scale);
struct outcome threads_short_run(double scale);
struct outcome start_run(double scale);

#endif
